// Owns where log lines end up: stdout, whatever becomes of it. A full disk or a reader that went away costs lines, never the process.
import { fstatSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { isMainThread } from "node:worker_threads";

const STDOUT = 1;

/** `write` takes some of the octets and says how many, or throws as write(2) fails. What could not be written is counted, and said with the next lines that can. */
export function lossySink(write: (bytes: Uint8Array) => number): (lines: string) => void {
  let lost = 0;
  let why = "";
  return (lines) => {
    const said = lost === 0 ? "" : `${JSON.stringify({ level: "warn", scope: "log", msg: "log lines were lost", lines: lost, error: why })}\n`;
    let rest: Uint8Array = Buffer.from(said + lines);
    try {
      while (rest.length > 0) rest = rest.subarray(write(rest));
      lost = 0;
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
      lost += lineCount(lines);
    }
  };
}

/** Files are written to directly: Node's stream on them is over for good after one error. Pipes and terminals keep their stream, which does not block on the latter. */
export function stdoutSink(): (lines: string) => void {
  if (isFile()) return lossySink((bytes) => writeSync(STDOUT, bytes));
  // Nobody reads any more: there is nobody to tell.
  if (isMainThread) process.stdout.on("error", () => undefined);
  return (lines) => void process.stdout.write(lines);
}

function isFile(): boolean {
  try {
    const stdout = fstatSync(STDOUT);
    return stdout.isFile() || (stdout.isCharacterDevice() && !isatty(STDOUT));
  } catch {
    return false; // closed before we began
  }
}

const lineCount = (text: string): number => text.split("\n").length - 1;
