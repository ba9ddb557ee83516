import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Progress } from "@ambit/cli/progress";
import { runTour, TOUR_NAMESPACE } from "@ambit/cli/tour";
import { TestKube } from "./kube.fixture.ts";

const CLI = join(import.meta.dirname, "../../packages/cli/src/main.ts");
const KUBECONFIG = process.env["AMBIT_E2E_KUBECONFIG"];

describe("the tour", function () {
  this.timeout(KUBECONFIG === undefined ? 180_000 : 300_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  if (KUBECONFIG === undefined) it("proves every claim and leaves nothing behind", () => {
    const folder = mkdtempSync(join(tmpdir(), "at-"));
    const state = join(folder, "s");
    const done = spawnSync(process.execPath, [CLI, "lab", "up", "--tour", "--exit", "--port", "0", "--state", state], { encoding: "utf8" });
    assert.equal(done.status, 0, `${done.stdout}${done.stderr}`);
    assert.match(done.stdout, /every step proved its claim/);
    assert.ok(!existsSync(state), "the state folder is gone");
    rmSync(folder, { recursive: true });
  });
  else it("proves every claim on Kubernetes", async () => {
    const kube = await TestKube.open(KUBECONFIG);
    try {
      const proved = await runTour({ client: kube.client, listen: await kube.listen(), progress: new Progress(), signal: new AbortController().signal });
      assert.ok(proved, "a step did not prove its claim");
    } finally {
      await kube.stop(TOUR_NAMESPACE);
    }
  });
});
