// Owns the end of an event-loop turn: work of everybody who wrote in this turn is flushed together, once.

let tasks: (() => void)[] = [];
let scheduled = false;

/** Runs `task` when the I/O events of this turn were handled; a task added by a task runs in the same round. */
export function atEndOfTurn(task: () => void): void {
  tasks.push(task);
  if (scheduled) return;
  scheduled = true;
  setImmediate(run);
}

function run(): void {
  try {
    for (let i = 0; i < tasks.length; i++) tasks[i]?.();
  } finally {
    tasks = [];
    scheduled = false;
  }
}
