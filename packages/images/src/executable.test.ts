import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundle } from "./bundle.ts";
import { singleExecutable, withNote } from "./executable.ts";

const REPO = join(import.meta.dirname, "../../..");

describe("the CNI plugin as one executable", function () {
  this.timeout(20_000);
  let dir: string;
  before(() => { dir = mkdtempSync(join(tmpdir(), "ambit-sea-")); });
  after(() => rmSync(dir, { recursive: true }));

  it("answers the runtime, without Node's own arguments and settings, and is the same when built again", async () => {
    const { files } = await bundle(REPO, { plugin: "packages/cni/src/plugin/main.ts" }, true);
    const make = () => singleExecutable(readFileSync(process.execPath), files["plugin.cjs"] ?? new Uint8Array());
    const made = make();
    assert.ok(made.equals(make()));
    const file = join(dir, "istio-cni");
    writeFileSync(file, made, { mode: 0o755 });
    const run = (env: Record<string, string>, input = "") => spawnSync(file, ["--eval", "1"], { env, input, encoding: "utf8" });
    assert.deepEqual(JSON.parse(run({ CNI_COMMAND: "VERSION" }).stdout), { cniVersion: "1.0.0", supportedVersions: ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] });
    const added = run({ CNI_COMMAND: "ADD", CNI_ARGS: "" }, JSON.stringify({ cniVersion: "1.0.0", prevResult: { ips: [] } }));
    assert.deepEqual([added.status, JSON.parse(added.stdout), added.stderr], [0, { ips: [] }, ""]);
    const wrong = run({ CNI_COMMAND: "ADD" }, "{");
    assert.deepEqual([wrong.status, (JSON.parse(wrong.stdout) as { code: number }).code], [1, 6]);
  });
  it("refuses a Node that it does not understand", () => assert.throws(() => withNote(readFileSync("/bin/ls"), Buffer.from("x")), /not shaped/));
});
