// Owns running a further process inside a container that runs: its namespaces, root, user, environment and folder.
import { spawn, type ChildProcess } from "node:child_process";
import { PassThrough, type Readable, type Writable } from "node:stream";
import { SYSTEM_PATH } from "./command.ts";
import type { Container } from "./container.ts";
import { processArgv } from "./plan/init-script.ts";
import { spawnInTerminal, type Terminal } from "./streaming/terminal.ts";

export interface ExecOptions {
  readonly command: readonly string[];
  /** A terminal of its own: stderr is then part of stdout. */
  readonly tty?: boolean;
  readonly stdin?: Readable;
  readonly stdout?: Writable;
  readonly stderr?: Writable;
  /** Ends the command with SIGKILL. */
  readonly signal?: AbortSignal;
}
export interface ExecSession {
  readonly done: Promise<{ readonly exitCode: number }>;
  /** Only with `tty`. */
  resize(columns: number, rows: number): Promise<void>;
}
const NAMESPACES = ["--uts", "--ipc", "--pid", "--net"];
/** The bound on what is kept of a probe's or hook's output. */
const CAPTURE_MAX_BYTES = 64 * 1024;

/** Throws when the container does not run. Exit code 126 or 127 = the command could not be started, as in a shell. */
export function execIn(container: Container, loader: string, options: ExecOptions): ExecSession {
  const pid = container.pid;
  if (pid === undefined || container.exit !== undefined) throw new Error(`container "${container.record.name}" is not running`);
  if (options.command.length === 0) throw new Error("no command to run");
  const { process: p } = container.record;
  const env = options.tty === true ? { TERM: "xterm", ...p.env } : p.env;
  const enter = ["nsenter", `--target=${pid}`];
  const command = processArgv(loader, { ...p, env, argv: options.command });
  const spawned = { env: { PATH: SYSTEM_PATH, SHELL: "/bin/sh" }, cwd: "/" };
  // The session must begin inside the pid namespace, for its ids to mean something there, but with the machine's own setsid.
  const session = [...enter, ...NAMESPACES, "--", "setsid", "--ctty", "--wait", ...enter, "--mount", "--", ...command];
  if (options.tty === true) return execInTerminal(spawnInTerminal(pid, session, spawned), options);
  const [file = "", ...args] = [...enter, ...NAMESPACES, "--mount", "--", ...command];
  const child = spawn(file, args, { ...spawned, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => undefined); // the command may end without reading
  if (options.stdin === undefined) child.stdin.end();
  else options.stdin.pipe(child.stdin);
  if (options.stdout === undefined) child.stdout.resume();
  else child.stdout.pipe(options.stdout, { end: false });
  if (options.stderr === undefined) child.stderr.resume();
  else child.stderr.pipe(options.stderr, { end: false });
  const stop = killOnAbort(child, options.signal);
  const done = new Promise<{ exitCode: number }>((resolve, reject) => {
    child.on("error", (cause) => reject(new Error(`cannot run ${file}`, { cause })));
    child.on("close", (code) => {
      stop();
      options.stdin?.unpipe(child.stdin);
      resolve({ exitCode: code ?? 137 });
    });
  });
  return { done, resize: async () => undefined };
}

function execInTerminal(terminal: Terminal, options: ExecOptions): ExecSession {
  const { stream, child } = terminal;
  options.stdin?.pipe(stream, { end: false });
  if (options.stdout === undefined) stream.resume();
  else stream.pipe(options.stdout, { end: false });
  const stop = killOnAbort(child, options.signal, () => stream.destroy());
  const done = terminal.done.finally(() => { stop(); options.stdin?.unpipe(stream); });
  return { done, resize: async (columns, rows) => terminal.resize(columns, rows) };
}

/** Kills the command's whole process group; returns what ends the watch. A terminal that goes away hangs up on its session. */
function killOnAbort(child: ChildProcess, signal: AbortSignal | undefined, hangUp: () => void = () => undefined): () => void {
  const kill = () => { hangUp(); if (child.pid !== undefined) try { process.kill(-child.pid, "SIGKILL"); } catch { child.kill("SIGKILL"); } };
  signal?.addEventListener("abort", kill, { once: true });
  return () => signal?.removeEventListener("abort", kill);
}

/** Runs to the end with its output captured; kills it after `timeoutMs`. */
export async function captureIn(container: Container, loader: string, command: readonly string[], timeoutMs: number): Promise<{ exitCode: number; output: string }> {
  const sink = new PassThrough();
  let output = "";
  sink.on("data", (b: Buffer) => { if (output.length < CAPTURE_MAX_BYTES) output += b.toString("utf8"); });
  const limit = AbortSignal.timeout(Math.max(1, timeoutMs));
  const { exitCode } = await execIn(container, loader, { command, stdout: sink, stderr: sink, signal: limit }).done;
  if (limit.aborted) return { exitCode: 124, output: `command timed out: "${command.join(" ")}" timed out after ${timeoutMs} ms` };
  return { exitCode, output };
}
