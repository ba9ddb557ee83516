// Owns the programs that the L7 bench starts: each on a processor of its own choice, told what to do over IPC, and gone at the end.
import { spawn, type ChildProcess } from "node:child_process";
import { connect, createServer, type AddressInfo } from "node:net";
import { resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

export { wait };

/** To begin to listen, or to answer. 10,000 connections take a while on a busy machine. */
const PATIENCE_MS = 60_000;
const STOP_MS = 5_000;

export class Program {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;

  private constructor(cpu: number, command: readonly string[], ipc: boolean) {
    this.#child = spawn("taskset", ["-c", String(cpu), ...command], { stdio: ["ignore", "ignore", "inherit", ...(ipc ? ["ipc" as const] : [])] });
    this.#gone = new Promise((resolve) => this.#child.once("exit", () => resolve()));
  }

  static start(cpu: number, command: readonly string[]): Program {
    return new Program(cpu, command, false);
  }

  /** Of this folder. */
  static node(file: string, cpu: number, options: readonly string[] = []): Program {
    return new Program(cpu, [process.execPath, ...options, resolve(import.meta.dirname, file)], true);
  }

  /** `taskset` becomes the program. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  tell(message: object | string): void {
    this.#child.send(message);
  }

  ask(message: object | string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer")), PATIENCE_MS);
      this.#child.once("message", (answer) => { clearTimeout(timer); resolve(answer); });
      void this.#gone.then(() => { clearTimeout(timer); reject(new Error(`the program ended: ${this.#child.spawnargs.join(" ")}`)); });
      this.tell(message);
    });
  }

  async listens(port: number): Promise<void> {
    for (const until = performance.now() + PATIENCE_MS; performance.now() < until && this.#child.exitCode === null; await wait(100)) if (await canConnect(port)) return;
    throw new Error(`nothing listens on ${port}`);
  }

  /** Stands still, with what is under way, until `run`. */
  halt(): void {
    this.#child.kill("SIGSTOP");
  }

  run(): void {
    this.#child.kill("SIGCONT");
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async stop(): Promise<void> {
    const timer = setTimeout(() => this.kill(), STOP_MS);
    this.#child.kill("SIGTERM");
    this.#child.kill("SIGCONT");
    await this.#gone;
    clearTimeout(timer);
  }
}

const canConnect = (port: number): Promise<boolean> => new Promise((resolve) => {
  const socket = connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); });
  socket.once("error", () => resolve(false));
});

/** Held all at once, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve) => { const s = createServer().listen(0, "127.0.0.1", () => resolve(s)); })));
  const ports = servers.map((s) => (s.address() as AddressInfo).port);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}
