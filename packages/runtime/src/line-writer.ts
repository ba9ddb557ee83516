// Owns how log lines reach stdout: those of one turn of the event loop in one system call.

let waiting = "";
let watched = false;

/** Lines that wait are written when this turn's events were handled, and before the process exits in any orderly way. */
export function writeLine(line: string): void {
  if (waiting === "") setImmediate(flush);
  waiting += line;
  if (watched) return;
  watched = true;
  process.on("exit", flush);
}

function flush(): void {
  const lines = waiting;
  waiting = "";
  if (lines !== "") process.stdout.write(lines);
}
