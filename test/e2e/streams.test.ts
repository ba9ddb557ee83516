// Through the mesh a connection behaves as on a plain socket: the same program runs between pods that are and are not enrolled.
import assert from "node:assert/strict";
import { KINDS, type Pod } from "@ambit/kube";
import { documents, namespaceOf } from "./client-log.fixture.ts";
import { TestCluster } from "./cluster.fixture.ts";

const pod = (namespace: string, name: string, node: string, command: readonly string[], restartPolicy = "Always"): string => JSON.stringify({
  apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels: { app: name } },
  spec: { restartPolicy, nodeSelector: { "kubernetes.io/hostname": node }, terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "ambit/sample:lab", command }] },
});

describe("streams between pods", function () {
  this.timeout(120_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestCluster;
  before(async () => {
    lab = await TestCluster.start();
    await lab.apply(documents(namespaceOf("mesh", true), namespaceOf("plain", false), ...["mesh", "plain"].map((ns) => pod(ns, "server", "node-2", lab.program("streams", "serve", "7000")))));
    await lab.ready("mesh", { enrolled: true });
    await lab.ready("plain", { enrolled: false });
  });
  after(() => lab.stop());

  async function check(namespace: string, name: string, number: number): Promise<Record<string, unknown>> {
    const server = await lab.client.get<Pod>(KINDS.pods, namespace, "server");
    const run = `${name}-${number}`;
    await lab.apply(pod(namespace, run, "node-1", lab.program("streams", "check", server.status?.podIP ?? "", "7000", name, String(number)), "Never"));
    await lab.until<Pod>(KINDS.pods, namespace, (pods) => pods.some((p) => p.metadata.name === run && (p.status?.phase === "Succeeded" || p.status?.phase === "Failed")), 60_000);
    const said = (await lab.kubectl("-n", namespace, "logs", run)).trim();
    assert.ok(said.startsWith("{"), `${namespace}/${run} said: ${said}`);
    return JSON.parse(said) as Record<string, unknown>;
  }

  for (const [name, number, what] of [
    ["sink", 64_000_000, "64 MB up, hash back after our half-close"], ["source", 64_000_000, "64 MB down and the end after them"], ["echo", 32_000_000, "32 MB echoed, each way half-closed"],
    ["half", 0, "the server ends first, what we send still arrives"], ["reset", 0, "a reset arrives as a reset"], ["slow", 4_000, "a slow reader stops the writer, nothing is lost"], ["many", 1_000, "1,000 connections at once"],
  ] as const) it(`${what}: in the mesh as without`, async () => {
    const [mesh, plain] = [await check("mesh", name, number), await check("plain", name, number)];
    assert.equal(plain["ok"], true, `without the mesh: ${JSON.stringify(plain)}`);
    assert.equal(mesh["ok"], true, `in the mesh: ${JSON.stringify(mesh)}`);
    // 4 MiB stream window, sockets and copy buffers of three processes: far below what a reader that never reads could cost.
    if (name === "slow") assert.ok((mesh["stalledAt"] as number) < 64 * 1024 * 1024, `the writer was stopped at ${String(mesh["stalledAt"])} bytes`);
  });
});
