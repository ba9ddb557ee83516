// Owns running a further process inside a container that runs: its namespaces, root, user, environment and folder.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { PassThrough, type Readable, type Writable } from "node:stream";
import { SYSTEM_PATH, tryCommand } from "./command.ts";
import type { Container } from "./container.ts";
import { processArgv, quote } from "./plan/init-script.ts";

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
const NAMESPACES = ["--mount", "--uts", "--ipc", "--pid"];
/** The bound on what is kept of a probe's or hook's output. */
const CAPTURE_MAX_BYTES = 64 * 1024;

/** Throws when the container does not run. Exit code 126 or 127 = the command could not be started, as in a shell. */
export function execIn(container: Container, loader: string, options: ExecOptions): ExecSession {
  const pid = container.pid;
  if (pid === undefined || container.exit !== undefined) throw new Error(`container "${container.record.name}" is not running`);
  if (options.command.length === 0) throw new Error("no command to run");
  const { process: p } = container.record;
  const env = options.tty === true ? { TERM: "xterm", ...p.env } : p.env;
  const inner = ["nsenter", `--target=${pid}`, ...NAMESPACES, "--net", "--", ...processArgv(loader, { ...p, env, argv: options.command })];
  // script(1) is the one program of a minimal system that makes a terminal.
  const argv = options.tty === true ? ["script", "--quiet", "--return", "--echo", "always", "--command", `exec ${inner.map(quote).join(" ")}`, "/dev/null"] : inner;
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { detached: true, stdio: ["pipe", "pipe", "pipe"], env: { PATH: SYSTEM_PATH, SHELL: "/bin/sh" }, cwd: "/" });
  child.stdin.on("error", () => undefined); // the command may end without reading
  if (options.stdin === undefined) child.stdin.end();
  else options.stdin.pipe(child.stdin);
  if (options.stdout === undefined) child.stdout.resume();
  else child.stdout.pipe(options.stdout, { end: false });
  if (options.stderr === undefined) child.stderr.resume();
  else child.stderr.pipe(options.stderr, { end: false });
  const kill = () => { if (child.pid !== undefined) try { process.kill(-child.pid, "SIGKILL"); } catch { /* gone already */ } };
  options.signal?.addEventListener("abort", kill, { once: true });
  const done = new Promise<{ exitCode: number }>((resolve, reject) => {
    child.on("error", (cause) => reject(new Error(`cannot run ${file}`, { cause })));
    child.on("close", (code) => {
      options.signal?.removeEventListener("abort", kill);
      options.stdin?.unpipe(child.stdin);
      resolve({ exitCode: code ?? 137 });
    });
  });
  return {
    done,
    async resize(columns, rows) {
      const tty = options.tty === true && child.pid !== undefined ? terminalOf(child.pid) : undefined;
      if (tty !== undefined) await tryCommand(["stty", "-F", tty, "cols", String(Math.trunc(columns)), "rows", String(Math.trunc(rows))]);
    },
  };
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

/** The terminal that script(1) gave its child. */
function terminalOf(script: number): string | undefined {
  for (const pid of readdirSync("/proc").filter((n) => /^\d+$/.test(n))) {
    try {
      if (readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ")[1] !== String(script)) continue;
      const tty = readlinkSync(`/proc/${pid}/fd/0`);
      if (tty.startsWith("/dev/pts/")) return tty;
    } catch { /* a process that ended meanwhile */ }
  }
  return undefined;
}
