import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CLI = join(import.meta.dirname, "../../packages/cli/src/main.ts");

describe("the tour", function () {
  this.timeout(180_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  it("proves every claim and leaves nothing behind", () => {
    const folder = mkdtempSync(join(tmpdir(), "at-"));
    const state = join(folder, "s");
    const done = spawnSync(process.execPath, [CLI, "lab", "up", "--tour", "--exit", "--port", "0", "--state", state], { encoding: "utf8" });
    assert.equal(done.status, 0, `${done.stdout}${done.stderr}`);
    assert.match(done.stdout, /every step proved its claim/);
    assert.ok(!existsSync(state), "the state folder is gone");
    rmSync(folder, { recursive: true });
  });
});
