// Owns where log lines end up: stdout, whatever becomes of it. A full disk, or a reader that is slow or went away, costs lines, never the process.
import { fstatSync, writeSync } from "node:fs";
import type { Writable } from "node:stream";
import { isatty } from "node:tty";
import { isMainThread } from "node:worker_threads";
import { lineCount, lossLine, WAITING_MAX, type LineSink } from "./line-sink.ts";
import { PipeSink, reopenPipe } from "./pipe-sink.ts";

const STDOUT = 1;

/** `write` takes some of the octets and says how many, or throws as write(2) fails. What could not be written is counted, and said with the next lines that can. */
export function lossySink(write: (bytes: Uint8Array) => number): (lines: Uint8Array) => void {
  let lost = 0;
  let why = "";
  return (lines) => {
    let rest = lost === 0 ? lines : Buffer.concat([Buffer.from(lossLine(lost, why)), lines]);
    try {
      while (rest.length > 0) rest = rest.subarray(write(rest));
      lost = 0;
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
      lost += lineCount(lines);
    }
  };
}

/** A stream of Node's queues without a bound: here it has one. */
export function streamSink(stream: Pick<Writable, "write" | "writableLength" | "on">): LineSink {
  let lost = 0;
  const say = (): void => {
    if (lost === 0) return;
    const said = lossLine(lost, "stdout is not read");
    lost = 0;
    stream.write(said);
  };
  stream.on("drain", say);
  return {
    write: (lines) => {
      if (lost > 0 || stream.writableLength + lines.length > WAITING_MAX) lost += lineCount(lines);
      else stream.write(Buffer.from(lines)); // a copy: it may wait
    },
    finish: () => undefined,
  };
}

/** Files are written to directly: Node's stream on them is over for good after one error. Terminals and sockets keep their stream; so do threads, whose lines come to the main thread. */
export function stdoutSink(): LineSink {
  if (isFile()) return { write: lossySink((bytes) => writeSync(STDOUT, bytes)), finish: () => undefined };
  const pipe = isMainThread ? reopenPipe(STDOUT) : undefined;
  if (pipe !== undefined) return new PipeSink((bytes) => writeSync(pipe, bytes));
  // Nobody reads any more: there is nobody to tell.
  if (isMainThread) process.stdout.on("error", () => undefined);
  return streamSink(process.stdout);
}

function isFile(): boolean {
  try {
    const stdout = fstatSync(STDOUT);
    return stdout.isFile() || (stdout.isCharacterDevice() && !isatty(STDOUT));
  } catch {
    return false; // closed before we began
  }
}
