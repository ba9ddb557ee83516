// The end of `pnpm test:kube`: the mesh goes, and cluster, nodes and pods are what they were.
import assert from "node:assert/strict";
import { saidUntil } from "../e2e/client-log.fixture.ts";
import { leaveOut } from "../e2e/cluster.fixture.ts";
import { TOOLS_NAMESPACE, TestKube } from "../e2e/kube.fixture.ts";
import { BYSTANDERS } from "./bystanders.fixture.ts";
import { uninstall } from "./installation.fixture.ts";
import { KUBECONFIG, NO_PICTURES, remembered } from "./run.fixture.ts";
import { assertSame, pictureOfCluster, pictureOfNode, pictureOfPod } from "./snapshot.fixture.ts";

/** Controllers clear up behind what was deleted: API groups, chains of Services, mounts of pods. */
const SETTLE_MS = 60_000;
const LOOK_EVERY_MS = 2_000;

describe("the end of an installation on Kubernetes", function () {
  this.timeout(300_000);
  let kube: TestKube;
  before(async () => { kube = await TestKube.open(KUBECONFIG); });
  after(() => kube.stop(BYSTANDERS, TOOLS_NAMESPACE));

  it("goes", () => uninstall(kube));
  it("leaves the cluster with the objects it had", function () {
    if (NO_PICTURES !== undefined) leaveOut(this, NO_PICTURES);
    return settled(async () => assertSame("the cluster", remembered.cluster, await pictureOfCluster(kube, (o) => o.metadata.namespace === TOOLS_NAMESPACE)));
  });
  it("leaves nodes as they were: links, addresses, routes, rules, settings, files, mounts", function () {
    if (NO_PICTURES !== undefined) leaveOut(this, NO_PICTURES);
    return settled(async () => {
      assert.ok(remembered.nodes.size > 0);
      for (const [node, before] of remembered.nodes) assertSame(node, before, await pictureOfNode(kube, node));
    });
  });
  it("leaves pods' networks as they were", () => settled(async () => {
    assert.ok(remembered.pods.size > 0);
    for (const [pod, before] of remembered.pods) assertSame(pod, before, await pictureOfPod(kube, BYSTANDERS, pod));
  }));
  it("and they talk on, without it", async () => {
    const now = Date.now();
    await saidUntil(kube, BYSTANDERS, "client", (said) => said.filter((s) => s.t > now && s.ok === true).length > 10 && said.filter((s) => s.t > now && s.ok === false).length === 0);
  });

  async function settled(check: () => Promise<void>): Promise<void> {
    const end = Date.now() + SETTLE_MS;
    for (;;) {
      try {
        return await check();
      } catch (error) {
        if (Date.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      }
    }
  }
});
