// Owns running `ambit` in a test as a person does.
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";

export const CLI = join(import.meta.dirname, "../../packages/cli/src/main.ts");

export interface Ran { readonly code: number | null; readonly out: string; readonly err: string }
export interface RunOptions { readonly env?: Readonly<Record<string, string>>; readonly as?: { readonly uid: number }; readonly cwd?: string; readonly input?: string }

function command(args: readonly string[], o: RunOptions): [string, string[], { env: NodeJS.ProcessEnv; cwd?: string }] {
  const node = [process.execPath, CLI, ...args];
  const argv = o.as === undefined ? node : ["setpriv", "--reuid", String(o.as.uid), "--regid", String(o.as.uid), "--clear-groups", ...node];
  const { KUBECONFIG: _, ...env } = process.env;
  return [argv[0] ?? "", argv.slice(1), { env: { ...env, ...o.env }, ...(o.cwd === undefined ? {} : { cwd: o.cwd }) }];
}

export function ambit(args: readonly string[], o: RunOptions = {}): Ran {
  const [program, argv, options] = command(args, o);
  const done = spawnSync(program, argv, { ...options, encoding: "utf8", input: o.input ?? "", maxBuffer: 64 * 1024 * 1024 });
  return { code: done.status, out: done.stdout, err: done.stderr };
}

/** The same beside other work. */
export function ambitLater(args: readonly string[], o: RunOptions = {}): Promise<Ran> {
  const [program, argv, options] = command(args, o);
  return new Promise((resolve, reject) => {
    const child = spawn(program, argv, { ...options, stdio: ["pipe", "pipe", "pipe"] });
    let out = "";
    let err = "";
    child.stdout.on("data", (b: Buffer) => { out += b.toString(); });
    child.stderr.on("data", (b: Buffer) => { err += b.toString(); });
    child.once("error", reject).once("close", (code) => resolve({ code, out, err }));
    child.stdin.end(o.input ?? "");
  });
}
