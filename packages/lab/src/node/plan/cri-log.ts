// Owns the format of container logs on disk: `TIME stdout|stderr F|P TEXT`, one line each (CRI).

/** Longer lines are cut into partial entries, as containerd does. */
export const LINE_MAX_BYTES = 16 * 1024;

export type LogStream = "stdout" | "stderr";
export interface LogEntry { readonly time: string; readonly stream: LogStream; readonly full: boolean; readonly text: string }

const NEWLINE = 10;

/** Cuts a stream of bytes into entries; keeps an unfinished line for the next call. */
export class LogSplitter {
  readonly #stream: LogStream;
  #rest: Uint8Array<ArrayBufferLike> = new Uint8Array(0);

  constructor(stream: LogStream) {
    this.#stream = stream;
  }

  push(bytes: Uint8Array, time: string): Uint8Array[] {
    const out: Uint8Array[] = [];
    const data = this.#rest.length === 0 ? bytes : concat([this.#rest, bytes]);
    let from = 0;
    for (;;) {
      const end = data.indexOf(NEWLINE, from);
      const stop = end < 0 ? data.length : end;
      while (stop - from > LINE_MAX_BYTES) {
        out.push(entry(time, this.#stream, "P", data.subarray(from, from + LINE_MAX_BYTES)));
        from += LINE_MAX_BYTES;
      }
      if (end < 0) break;
      out.push(entry(time, this.#stream, "F", data.subarray(from, end)));
      from = end + 1;
    }
    this.#rest = data.slice(from);
    return out;
  }

  /** What is left when the stream ends, as a partial entry. */
  end(time: string): Uint8Array[] {
    const rest = this.#rest;
    this.#rest = new Uint8Array(0);
    return rest.length === 0 ? [] : [entry(time, this.#stream, "P", rest)];
  }
}

const encoder = new TextEncoder();
const entry = (time: string, stream: LogStream, tag: "F" | "P", text: Uint8Array): Uint8Array => concat([encoder.encode(`${time} ${stream} ${tag} `), text, Uint8Array.of(NEWLINE)]);

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) { out.set(p, at); at += p.length; }
  return out;
}

/** One line of a log file (without its newline); undefined when it is not in the format. */
export function parseLogLine(line: string): LogEntry | undefined {
  const m = /^(\S+) (stdout|stderr) ([FP])(?: ([\s\S]*))?$/.exec(line);
  return m === null ? undefined : { time: m[1] ?? "", stream: m[2] as LogStream, full: m[3] === "F", text: m[4] ?? "" };
}
