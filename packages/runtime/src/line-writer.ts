// Owns how log lines reach stdout: those of one turn of the event loop in one system call.
import { LineBuffer } from "./line-buffer.ts";
import type { LineSink } from "./line-sink.ts";
import { stdoutSink } from "./log-sink.ts";

const waiting = new LineBuffer((lines) => (sink ??= stdoutSink()).write(lines));
let scheduled = false;
let watched = false;
let sink: LineSink | undefined;

/** Lines that wait are written when this turn's events were handled, and before the process exits in any orderly way. */
export function writeLine(line: string): void {
  waiting.text(line);
  lineOutput.end();
}

/** The same for a line that comes in parts, its newline included: they wait together with those of `writeLine`. Parts of one line belong to one turn. */
export const lineOutput = {
  text: (text: string): void => waiting.text(text),
  octets: (octets: Uint8Array): void => waiting.octets(octets),
  /** A line ends here. */
  end(): void {
    waiting.end();
    if (scheduled) return;
    scheduled = true;
    setImmediate(endTurn);
    if (watched) return;
    watched = true;
    process.on("exit", () => {
      waiting.flush();
      sink?.finish();
    });
  },
};

function endTurn(): void {
  scheduled = false;
  waiting.flush();
}
