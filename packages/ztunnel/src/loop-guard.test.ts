import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HELD_EXIT_CODE } from "@ambit/linux";

/** A child that hangs for ever would be left behind. */
const PATIENCE_MS = 20_000;

describe("a ztunnel whose event loop hangs", function () {
  this.timeout(30_000);
  const CASES: readonly (readonly [string, string, RegExp, Readonly<Record<string, string>>])[] = [
    ["the only thread", "main", /^main$/, {}],
    ["a traffic thread", "traffic", /^traffic-[01]$/, { ZTUNNEL_WORKER_THREADS: "2" }],
  ];
  for (const [what, hang, thread, more] of CASES) it(`${what}: it says so, and ends for another to start`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "zt-hang-"));
    const file = join(dir, "hang");
    const preload = `${new URL("./hang.fixture.ts", import.meta.url).href}?${new URLSearchParams({ thread: hang, file }).toString()}`;
    const env = {
      PATH: process.env["PATH"] ?? "", AMBIT_WATCHDOG: "1s", INPOD_UDS: join(dir, "no.sock"), XDS_ADDRESS: "http://127.0.0.1:1",
      AMBIT_ADMIN_PORT: "0", AMBIT_STATS_PORT: "0", AMBIT_READINESS_PORT: "0", ...more,
    };
    const child = spawn(process.execPath, ["--import", preload, join(import.meta.dirname, "main.ts")], { env, stdio: ["ignore", "pipe", "inherit"] });
    const closed = once(child, "close");
    const patience = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    try {
      const lines: Record<string, unknown>[] = [];
      for await (const line of createInterface(child.stdout)) {
        lines.push(JSON.parse(line) as Record<string, unknown>);
        if (lines.at(-1)?.["msg"] === "listening") writeFileSync(file, "");
      }
      assert.deepEqual(await closed, [HELD_EXIT_CODE, null], JSON.stringify(lines.at(-1)));
      // The main thread may still speak after a traffic thread's words.
      const last = lines.find((l) => l["scope"] === "loop" && l["level"] === "error") ?? {};
      assert.deepEqual([last["ran_ms"], last["work"]], [1000, "something that has no name"]);
      assert.match(String(last["msg"]), /never came round/);
      assert.match(String(last["thread"]), thread);
    } finally {
      clearTimeout(patience);
      if (child.exitCode === null && child.kill("SIGKILL")) await closed;
      rmSync(dir, { recursive: true });
    }
  });
});
