// Owns slow processors: control groups that give each thread put into one a fixed share of a processor, so that few processors can stand for many.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Threads are limited one by one, which only the controller of version 1 does without moving their process. */
const ROOT = "/sys/fs/cgroup/cpu";
const PERIOD_US = 10_000;

export class SlowCores {
  readonly #groups: string[] = [];

  constructor() {
    if (!existsSync(join(ROOT, "cpu.cfs_quota_us"))) throw new Error(`${ROOT}: no controller that limits threads (cgroup v1, cpu)`);
  }

  /** `share` of one processor, 0 to 1. */
  put(tid: number, share: number): void {
    const group = join(ROOT, `ambit-bench-${process.pid}-${this.#groups.length}`);
    mkdirSync(group);
    this.#groups.push(group);
    writeFileSync(join(group, "cpu.cfs_period_us"), String(PERIOD_US));
    writeFileSync(join(group, "cpu.cfs_quota_us"), String(Math.round(PERIOD_US * share)));
    writeFileSync(join(group, "tasks"), String(tid));
  }

  /** Threads that still live go back to the root group. */
  release(): void {
    for (const group of this.#groups.splice(0)) {
      for (const tid of readFileSync(join(group, "tasks"), "utf8").split("\n").filter((t) => t !== "")) writeFileSync(join(ROOT, "tasks"), tid);
      rmdirSync(group);
    }
  }
}

/** Threads of a process whose name the test accepts. */
export function threadsOf(pid: number, named: (name: string) => boolean): number[] {
  return readdirSync(`/proc/${pid}/task`).map(Number).filter((tid) => named(readFileSync(`/proc/${pid}/task/${tid}/comm`, "utf8").trim()));
}
