// Owns reading a container's log for the API: the last lines, since a time, with time stamps, and following what comes.
import { closeSync, existsSync, fstatSync, openSync, readSync, watch } from "node:fs";
import { dirname } from "node:path";
import { parseLogLine } from "../plan/cri-log.ts";

export interface LogQuery {
  readonly follow: boolean; readonly timestamps: boolean;
  readonly tailLines: number | undefined; readonly sinceMs: number | undefined; readonly limitBytes: number | undefined;
}

const CHUNK_BYTES = 64 * 1024;
/** A log line is cut at 16 KiB; anything longer is not a log. */
const LINE_MAX_BYTES = 1024 * 1024;

/**
 * Yields text for the client. `ended` resolves when the container's run is over: following then stops at the end of the file.
 */
export async function* readContainerLog(file: string, query: LogQuery, ended: Promise<unknown>, signal: AbortSignal): AsyncGenerator<Buffer> {
  let left = query.limitBytes ?? Infinity;
  const out = function* (line: string): Generator<Buffer> {
    const entry = parseLogLine(line);
    if (entry === undefined || left <= 0) return;
    if (query.sinceMs !== undefined && Date.parse(entry.time) < query.sinceMs) return;
    const text = Buffer.from(`${query.timestamps ? `${entry.time} ` : ""}${entry.text}${entry.full ? "\n" : ""}`, "utf8");
    const cut = text.subarray(0, left);
    left -= cut.length;
    yield cut;
  };
  const old = `${file}.1`;
  let current = new LineReader(file);
  try {
    const before: string[] = [];
    if (query.tailLines !== 0) {
      if (existsSync(old)) { const reader = new LineReader(old); before.push(...reader.lines()); reader.close(); }
    }
    const now = [...current.lines()];
    const all = [...before, ...now];
    const wanted = query.tailLines === undefined ? all : query.tailLines === 0 ? [] : tail(all, query.tailLines);
    for (const line of wanted) yield* out(line);
    if (!query.follow) return;
    let over = false;
    let wake = () => {};
    void ended.then(() => { over = true; wake(); });
    const onAbort = () => { over = true; wake(); };
    signal.addEventListener("abort", onAbort, { once: true });
    const watcher = existsSync(dirname(file)) ? watch(dirname(file), () => wake()) : undefined;
    watcher?.on("error", () => wake());
    try {
      for (let last = false; left > 0 && !signal.aborted; ) {
        for (const line of current.lines()) yield* out(line);
        if (current.replaced()) { current.close(); current = new LineReader(file); continue; }
        if (last) return;
        if (over) {
          // The log writer may be a moment behind the end of the process.
          last = true;
          await new Promise<void>((resolve) => { const t = setTimeout(resolve, LAST_LINES_MS); t.unref(); });
          continue;
        }
        await new Promise<void>((resolve) => { wake = resolve; if (over) resolve(); });
      }
    } finally {
      watcher?.close();
      signal.removeEventListener("abort", onAbort);
    }
  } finally {
    current.close();
  }
}
const LAST_LINES_MS = 100;

/** The last `n` complete lines; parts of one line count once. */
function tail(lines: readonly string[], n: number): readonly string[] {
  let from = lines.length;
  for (let count = 0; from > 0; from--) {
    if (parseLogLine(lines[from - 1] ?? "")?.full !== false && ++count > n) break;
  }
  return lines.slice(from);
}

class LineReader {
  readonly #path: string;
  readonly #fd: number | undefined;
  #at = 0;
  #rest = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
    this.#fd = existsSync(path) ? openSync(path, "r") : undefined;
  }

  *lines(): Generator<string> {
    if (this.#fd === undefined) return;
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (let n = readSync(this.#fd, chunk, 0, CHUNK_BYTES, this.#at); n > 0; n = readSync(this.#fd, chunk, 0, CHUNK_BYTES, this.#at)) {
      this.#at += n;
      const data = Buffer.concat([this.#rest, chunk.subarray(0, n)]);
      let from = 0;
      for (let end = data.indexOf(10, from); end >= 0; end = data.indexOf(10, from)) {
        yield data.subarray(from, end).toString("utf8");
        from = end + 1;
      }
      this.#rest = data.length - from > LINE_MAX_BYTES ? Buffer.alloc(0) : Buffer.from(data.subarray(from));
    }
  }

  /** True when the file was rotated away (or has appeared since). */
  replaced(): boolean {
    if (!existsSync(this.#path)) return false;
    if (this.#fd === undefined) return true;
    const fd = openSync(this.#path, "r");
    try {
      return fstatSync(fd).ino !== fstatSync(this.#fd).ino;
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}
