// Owns running a short-lived helper program: bounded in time and output, failing with the program's own words.
import { spawn } from "node:child_process";

export interface CommandOptions { readonly input?: string; readonly env?: Readonly<Record<string, string>>; readonly timeoutMs?: number; readonly cwd?: string }
export interface CommandResult { readonly code: number; readonly stdout: string; readonly stderr: string }

/** A helper that takes longer is stuck. */
const TIMEOUT_MS = 30_000;
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;
export const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Resolves with the exit code whatever it is; rejects when the program cannot run or is killed. */
export function tryCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file = "", ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { PATH: SYSTEM_PATH, ...options.env }, stdio: ["pipe", "pipe", "pipe"], timeout: options.timeoutMs ?? TIMEOUT_MS, killSignal: "SIGKILL", ...(options.cwd === undefined ? {} : { cwd: options.cwd }) });
    const out: Buffer[] = [];
    const errors: Buffer[] = [];
    let size = 0;
    const keep = (list: Buffer[]) => (b: Buffer) => { size += b.length; if (size <= OUTPUT_MAX_BYTES) list.push(b); };
    child.stdout.on("data", keep(out));
    child.stderr.on("data", keep(errors));
    child.stdin.on("error", () => undefined); // a program that does not read its input may end first
    child.on("error", (cause) => reject(new Error(`cannot run ${file}`, { cause })));
    child.on("close", (code, signal) => {
      if (code === null) reject(new Error(`${argv.slice(0, 3).join(" ")} was ended by ${signal ?? "a signal"}${signal === "SIGKILL" ? ` after ${options.timeoutMs ?? TIMEOUT_MS} ms` : ""}`));
      else resolve({ code, stdout: Buffer.concat(out).toString("utf8"), stderr: Buffer.concat(errors).toString("utf8") });
    });
    child.stdin.end(options.input ?? "");
  });
}

/** Stdout of a command that must succeed. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await tryCommand(argv, options);
  if (code !== 0) throw new Error(`${argv.slice(0, 4).join(" ")} failed (exit ${code}): ${(stderr.trim() || stdout.trim()).slice(-1000)}`);
  return stdout;
}
