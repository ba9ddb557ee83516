import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKS, type CheckResult } from "./testing/one-node.ts";

/** A run takes about six seconds on an idle machine; tests of other packages may run beside it. */
const TIMEOUT_MS = 180_000;
const SCRIPT = join(import.meta.dirname, "testing/one-node.ts");
const NAMESPACES = ["--pid", "--mount", "--net", "--fork", "--mount-proc", "--kill-child"];
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
const root = process.getuid?.() === 0;

interface Variant { readonly name: string; readonly argv: readonly string[]; readonly skip?: string }
const readable = () => spawnSync(NOBODY[0] ?? "", [...NOBODY.slice(1), "test", "-r", SCRIPT]).status === 0;
const variants: Variant[] = [
  { name: "as root", argv: ["unshare", ...NAMESPACES], ...(root ? {} : { skip: "we are not root" }) },
  { name: "without root, in a user namespace", argv: [...(root ? NOBODY : []), "unshare", "--user", "--map-root-user", ...NAMESPACES], ...(root && !readable() ? { skip: "other users cannot read this folder" } : {}) },
];

for (const variant of variants) {
  describe(`a node in namespaces of its own, with a real API server, ${variant.name}`, function () {
    this.timeout(TIMEOUT_MS);
    const results = new Map<string, CheckResult>();
    let state: string | undefined;
    let trouble = "";

    before(async function () {
      if (variant.skip !== undefined) return this.skip();
      state = mkdtempSync(join(tmpdir(), "ambit-node-"));
      chmodSync(state, 0o777);
      const [file = "", ...args] = variant.argv;
      const child = spawn(file, [...args, process.execPath, SCRIPT, state], { stdio: ["ignore", "pipe", "pipe"], timeout: TIMEOUT_MS - 5_000, killSignal: "SIGKILL", env: { ...process.env, HOME: state } });
      let out = "";
      child.stdout.on("data", (b: Buffer) => { out += b.toString("utf8"); });
      child.stderr.on("data", (b: Buffer) => { trouble = (trouble + b.toString("utf8")).slice(-4000); });
      await new Promise((resolve) => child.on("close", resolve));
      for (const line of out.split("\n").filter((l) => l.startsWith('{"check"'))) {
        const result = JSON.parse(line) as CheckResult;
        results.set(result.check, result);
      }
      try {
        trouble += readFileSync(join(state, "logs", "kubelet.log"), "utf8").split("\n").filter((l) => /"(error|warn)"/.test(l)).slice(-5).join("\n");
      } catch { /* the kubelet was never started: stderr says why */ }
    });
    after(() => {
      if (state !== undefined) rmSync(state, { recursive: true, force: true });
    });

    for (const check of CHECKS) {
      it(check, () => {
        const result = results.get(check);
        assert.ok(result !== undefined, `the run ended before this check: ${trouble}`);
        assert.ok(result.ok, `${result.detail}\n${trouble}`);
      });
    }
  });
}
