// Owns how log lines reach stdout: those of one turn of the event loop in one system call.
import type { LineSink } from "./line-sink.ts";
import { stdoutSink } from "./log-sink.ts";

/** Characters that wait at most: a turn with more of them is written in several calls, so that a burst costs no memory to speak of. */
const WAITING_MAX = 256 * 1024;

let waiting = "";
let scheduled = false;
let watched = false;
let sink: LineSink | undefined;

/** Lines that wait are written when this turn's events were handled, and before the process exits in any orderly way. */
export function writeLine(line: string): void {
  if (!scheduled) {
    scheduled = true;
    setImmediate(endTurn);
  }
  waiting += line;
  if (waiting.length > WAITING_MAX) flush();
  if (watched) return;
  watched = true;
  process.on("exit", () => {
    flush();
    sink?.finish();
  });
}

function endTurn(): void {
  scheduled = false;
  flush();
}

function flush(): void {
  const lines = waiting;
  waiting = "";
  if (lines !== "") (sink ??= stdoutSink()).write(lines);
}
