// Owns the suite of every process that ends itself when the event loop of one of its threads never comes round again.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A child that hangs for ever would be left behind. */
const PATIENCE_MS = 20_000;

export interface HangingLoop {
  /** The case's name. */
  readonly what: string;
  readonly hangs: "main" | "traffic";
  /** How the process calls the thread. */
  readonly thread: RegExp;
  readonly env?: Readonly<Record<string, string>>;
}

/** `main`: the program, which says "listening" once it serves. `env`: what makes it serve alone on this machine, on any ports. */
export function hangingLoopCompliance(name: string, main: string, env: Readonly<Record<string, string>>, cases: readonly HangingLoop[]): void {
  describe(`a ${name} whose event loop hangs`, function () {
    this.timeout(30_000);
    for (const c of cases) it(`${c.what}: it says so, and ends for another to start`, async () => {
      const dir = mkdtempSync(join(tmpdir(), "hang-"));
      const file = join(dir, "hang");
      const preload = `${new URL("./hang.ts", import.meta.url).href}?${new URLSearchParams({ thread: c.hangs, file }).toString()}`;
      const child = spawn(process.execPath, ["--import", preload, main], { env: { PATH: process.env["PATH"] ?? "", AMBIT_WATCHDOG: "1s", ...env, ...c.env }, cwd: dir, stdio: ["ignore", "pipe", "inherit"] });
      const closed = once(child, "close");
      const patience = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
      try {
        const lines: Record<string, unknown>[] = [];
        for await (const line of createInterface(child.stdout)) {
          lines.push(JSON.parse(line) as Record<string, unknown>);
          if (lines.at(-1)?.["msg"] === "listening") writeFileSync(file, "");
        }
        assert.deepEqual(await closed, [61, null], JSON.stringify(lines.at(-1)));
        // The main thread may still speak after a traffic thread's words.
        const last = lines.find((l) => l["scope"] === "loop" && l["level"] === "error") ?? {};
        assert.deepEqual([last["ran_ms"], last["work"]], [1000, "something that has no name"]);
        assert.match(String(last["msg"]), /never came round/);
        assert.match(String(last["thread"]), c.thread);
      } finally {
        clearTimeout(patience);
        if (child.exitCode === null && child.kill("SIGKILL")) await closed;
        rmSync(dir, { recursive: true });
      }
    });
  });
}
