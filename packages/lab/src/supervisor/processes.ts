// Owns long-running child processes of the lab: started, logged to a file, started again when they die.
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { backoffDelay, systemClock, systemRandom, type Timer } from "@ambit/runtime";

export interface ProcessSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly logFile: string;
}

const RESTART_BACKOFF = { initialMs: 200, maxMs: 5_000 };
/** A process that lived this long has recovered: its next restart is quick again. */
const STEADY_MS = 10_000;
/** After SIGTERM; then SIGKILL. */
const STOP_GRACE_MS = 3_000;

export class Supervised {
  readonly spec: ProcessSpec;
  readonly #onExit: (name: string, how: string) => void;
  #child: ChildProcess | undefined;
  #timer: Timer | undefined;
  #attempt = 0;
  #stopping = false;

  constructor(spec: ProcessSpec, onExit: (name: string, how: string) => void) {
    this.spec = spec;
    this.#onExit = onExit;
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const timer = systemClock.after(STOP_GRACE_MS, () => child.kill("SIGKILL"), { hold: true });
      child.once("exit", () => {
        timer.cancel();
        resolve();
      });
      child.kill("SIGTERM");
    });
  }

  #start(): void {
    const [program = "", ...args] = this.spec.command;
    const log = openSync(this.spec.logFile, "a");
    const startedAt = systemClock.monotonic();
    const child = spawn(program, args, { stdio: ["ignore", log, log], env: { ...process.env, ...this.spec.env } });
    closeSync(log);
    this.#child = child;
    const over = (how: string) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      if (this.#stopping) return;
      this.#onExit(this.spec.name, how);
      if (systemClock.monotonic() - startedAt > STEADY_MS) this.#attempt = 0;
      this.#timer = systemClock.after(backoffDelay(RESTART_BACKOFF, this.#attempt++, systemRandom), () => this.#start(), { hold: true });
    };
    child.once("error", (error) => over(error.message));
    child.once("exit", (code, signal) => over(signal ?? `exit ${code}`));
  }
}
