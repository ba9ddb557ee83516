import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKS, type CheckResult } from "./testing/one-node.ts";

/** The whole run takes about ten seconds on an idle machine; tests of other packages may run beside it. */
const TIMEOUT_MS = 180_000;

describe("a node in namespaces of its own, with a real API server", function () {
  this.timeout(TIMEOUT_MS);
  const results = new Map<string, CheckResult>();
  let state: string;
  let trouble = "";

  before(async function () {
    if (process.getuid?.() !== 0) return this.skip(); // the root file system of containers needs root; the lab itself has its own user namespace
    state = mkdtempSync(join(tmpdir(), "ambit-node-"));
    const child = spawn("unshare", ["--pid", "--mount", "--net", "--fork", "--mount-proc", "--kill-child", process.execPath, join(import.meta.dirname, "testing/one-node.ts"), state], { stdio: ["ignore", "pipe", "pipe"], timeout: TIMEOUT_MS - 5_000, killSignal: "SIGKILL" });
    let out = "";
    child.stdout.on("data", (b: Buffer) => { out += b.toString("utf8"); });
    child.stderr.on("data", (b: Buffer) => { trouble = (trouble + b.toString("utf8")).slice(-4000); });
    await new Promise((resolve) => child.on("close", resolve));
    for (const line of out.split("\n").filter((l) => l.startsWith("{\"check\""))) { const r = JSON.parse(line) as CheckResult; results.set(r.check, r); }
    const log = join(state, "logs", "kubelet.log");
    try { trouble += readFileSync(log, "utf8").split("\n").filter((l) => /"(error|warn)"/.test(l)).slice(-5).join("\n"); } catch { /* it never started */ }
  });
  after(() => {
    if (state !== undefined) rmSync(state, { recursive: true, force: true });
  });

  for (const check of CHECKS) it(check, () => {
    const result = results.get(check);
    assert.ok(result !== undefined, `the run ended before this check: ${trouble}`);
    assert.ok(result.ok, `${result.detail}\n${trouble}`);
  });
});
