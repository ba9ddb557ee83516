// Owns a terminal for a command in a container: a pty of the container's own devpts, so that it has a name in there.
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync } from "node:fs";
import { ReadStream } from "node:tty";
import { openPty } from "@ambit/linux";

/** Output that is still in the terminal when the command ends; background jobs that keep it open are not waited for. */
const DRAIN_MS = 500;

export interface Terminal {
  readonly child: ChildProcess;
  /** What is typed goes in, what is shown comes out. */
  readonly stream: ReadStream;
  /** Settles when the command ended and its output was read. */
  readonly done: Promise<{ exitCode: number }>;
  resize(columns: number, rows: number): void;
}

/** `pid`: a process inside the container. `argv` finds the terminal on its descriptors 0 to 2. Throws when there is none to be had. */
export function spawnInTerminal(pid: number, argv: readonly string[], options: { readonly env: NodeJS.ProcessEnv; readonly cwd: string }): Terminal {
  const pty = openPty(`/proc/${pid}/root/dev/pts/ptmx`);
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { ...options, detached: true, stdio: [pty.peer, pty.peer, pty.peer] });
  closeSync(pty.peer);
  const stream = new ReadStream(pty.master);
  // EIO is how the kernel says that nobody has the other end any more.
  stream.on("error", () => stream.destroy());
  let open = true;
  const closed = new Promise<void>((resolve) => stream.on("close", () => { open = false; resolve(); }));
  const exited = new Promise<number>((resolve, reject) => {
    child.on("error", (cause) => { stream.destroy(); reject(new Error(`cannot run ${file}`, { cause })); });
    child.on("exit", (code) => resolve(code ?? 137));
  });
  const done = exited.then(async (exitCode) => {
    const timer = setTimeout(() => stream.destroy(), DRAIN_MS);
    await closed;
    clearTimeout(timer);
    return { exitCode };
  });
  return { child, stream, done, resize: (columns, rows) => { if (open) pty.resize(columns, rows); } };
}
