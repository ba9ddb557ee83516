// Owns running kubectl in a test as a person types it: one line, what it says, how it ends.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Another kubectl than the one on PATH. */
const PROGRAM = process.env["AMBIT_TEST_KUBECTL"] ?? "kubectl";
const LIMIT_MS = 30_000;

export interface Said { readonly code: number | null; readonly out: string; readonly err: string; readonly both: string }
export interface How { readonly input?: string; readonly env?: Readonly<Record<string, string>>; /** Gives it a terminal; what it says is then all output. */ readonly terminal?: boolean }
/** `since`: the minor version of kubectl that learnt it; older ones leave the step out. */
export interface StepOptions extends How { readonly code?: number; readonly since?: number }
export type Step = readonly [line: string, expected: RegExp, options?: StepOptions];

export class Kubectl {
  readonly #kubeconfig: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "ak-"));
  #minor = 0;

  constructor(kubeconfig: string) {
    this.#kubeconfig = kubeconfig;
  }

  /** The minor version of the program that talks to this server (some machines have a kubectl that picks one). */
  async minor(): Promise<number> {
    if (this.#minor === 0) {
      const { clientVersion } = JSON.parse((await this.run("version -o json")).out) as { clientVersion: { minor: string } };
      this.#minor = parseInt(clientVersion.minor, 10);
    }
    return this.#minor;
  }

  /** Writes a file whose path lines and environments can name as `@NAME`. */
  file(name: string, text: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, text, { mode: 0o755 });
    return path;
  }

  read(name: string): string {
    return readFileSync(join(this.#folder, name), "utf8");
  }

  start(line: string, how: How = {}): Conversation {
    const named = (w: string) => w.replace(/^@/, `${this.#folder}/`);
    const args = words(line).map(named);
    const own = Object.fromEntries(Object.entries(how.env ?? {}).map(([name, value]) => [name, named(value)]));
    const env = { ...process.env, HOME: this.#folder, TMPDIR: this.#folder, KUBECONFIG: this.#kubeconfig, ...own };
    const [program, argv] = how.terminal === true ? ["script", ["-qec", [PROGRAM, ...args].map(quoted).join(" "), "/dev/null"]] as const : [PROGRAM, args] as const;
    return new Conversation(line, spawn(program, argv, { env, cwd: this.#folder, stdio: ["pipe", "pipe", "pipe"] }));
  }

  run(line: string, how: How = {}): Promise<Said> {
    const talk = this.start(line, how);
    talk.child.stdin?.end(how.input ?? "");
    return talk.ended();
  }

  /** Every step is tried; what was not as expected is told together. */
  async steps(steps: readonly Step[]): Promise<void> {
    const minor = await this.minor();
    const wrong: string[] = [];
    for (const [line, expected, options = {}] of steps) {
      if ((options.since ?? 0) > minor) continue;
      const said = await this.run(line, options);
      if (!expected.test(said.both) || said.code !== (options.code ?? 0)) wrong.push(`kubectl ${line}\n  did not say ${expected} and exit ${options.code ?? 0}, but (exit ${said.code}):\n${said.both}`);
    }
    if (wrong.length > 0) assert.fail(wrong.join("\n"));
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A kubectl that goes on: what it said so far, and waiting for it to say something. */
export class Conversation {
  readonly child: ChildProcess;
  readonly #line: string;
  readonly #end: Promise<number | null>;
  #out = "";
  #err = "";
  #over = false;
  #heard: () => void = () => undefined;

  constructor(line: string, child: ChildProcess) {
    this.#line = line;
    this.child = child;
    child.stdin?.on("error", () => undefined);
    child.stdout?.on("data", (b: Buffer) => { this.#out += b.toString(); this.#heard(); });
    child.stderr?.on("data", (b: Buffer) => { this.#err += b.toString(); this.#heard(); });
    this.#end = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => { this.#over = true; this.#heard(); resolve(code); });
    });
  }

  get text(): string { return this.#out + this.#err; }

  async says(expected: RegExp, limitMs = LIMIT_MS): Promise<RegExpExecArray> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const found = expected.exec(this.text);
      if (found !== null) return found;
      if (this.#over || Date.now() >= deadline) throw new Error(`kubectl ${this.#line} did not say ${expected}: ${this.text}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.#heard = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  /** Ends it when it goes on too long: then `code` is null. */
  async ended(limitMs = LIMIT_MS): Promise<Said> {
    const timer = setTimeout(() => this.child.kill("SIGKILL"), limitMs);
    const code = await this.#end;
    clearTimeout(timer);
    return { code, out: this.#out, err: this.#err, both: this.text };
  }

  async stop(): Promise<Said> {
    this.child.kill("SIGINT");
    return this.ended();
  }
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Words of a line; '…' and "…" keep blanks. */
export function words(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replace(/'([^']*)'|"([^"]*)"/g, (_, a?: string, b?: string) => a ?? b ?? ""));
}
