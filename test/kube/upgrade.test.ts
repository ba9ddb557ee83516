// From one version to the next under load: every part of the mesh is replaced, and no request fails.
import assert from "node:assert/strict";
import { KINDS, type Pod } from "@ambit/kube";
import { ambitLater } from "../e2e/cli.fixture.ts";
import { accountOf, documents, namespaceOf, samplePod, saidUntil, serviceOf, type Said } from "../e2e/client-log.fixture.ts";
import { TestKube } from "../e2e/kube.fixture.ts";
import { upgrade } from "./installation.fixture.ts";
import { KUBECONFIG, TAGS } from "./run.fixture.ts";

/** Milliseconds between connections: 20 a second each. */
const EVERY = "50";
/** Without a waypoint, and with one. */
const NAMESPACES = ["layer4", "layer7"] as const;
const PARTS = ["istiod", "istio-cni-node", "ztunnel"];

describe("an upgrade on Kubernetes under load", function () {
  this.timeout(600_000);
  let kube: TestKube;
  let began: number;
  before(async () => {
    kube = await TestKube.open(KUBECONFIG);
    for (const ns of NAMESPACES) {
      await kube.apply(documents(namespaceOf(ns, true), accountOf("client", ns), accountOf("server", ns), serviceOf("server", ns), samplePod({ name: "server", namespace: ns, account: "server", node: "node-2", args: ["serve", "--name", "server"] })));
      await kube.ready(ns, { enrolled: true, count: 1, limitMs: 60_000 });
    }
    const applied = await ambitLater(["waypoint", "apply", "-n", "layer7", "--enroll-namespace", "--wait", ...kube.cliOptions]);
    assert.equal(applied.code, 0, applied.err);
    for (const ns of NAMESPACES) await kube.apply(samplePod({ name: "client", namespace: ns, account: "client", node: "node-1", args: ["client", "--url", `http://server.${ns}:8080/`, "--every", EVERY] }));
    for (const ns of NAMESPACES) await saidUntil(kube, ns, "client", (said) => said.filter((s) => s.ok === true).length > 200, 60_000);
    began = Date.now();
  });
  after(() => kube?.stop());

  it("every part runs the next version, the waypoint too", async () => {
    await upgrade(kube, TAGS.next);
    await kube.until<Pod>(KINDS.pods, "layer7", (pods) => pods.some((p) => imageOf(p) === `ambit/waypoint:${TAGS.next}`) && pods.every((p) => !imageOf(p).startsWith("ambit/waypoint") || imageOf(p).endsWith(`:${TAGS.next}`)), 120_000);
    const pods = await kube.until<Pod>(KINDS.pods, "istio-system", (all) => all.every((p) => imageOf(p).endsWith(`:${TAGS.next}`)), 120_000);
    for (const part of PARTS) assert.ok(pods.some((p) => p.metadata.name.startsWith(part)), part);
  });
  for (const ns of NAMESPACES) it(`${ns}: no request failed meanwhile`, async () => {
    const done = Date.now() + 5_000;
    const said = await saidUntil(kube, ns, "client", (all) => (all.at(-1)?.t ?? 0) > done, 60_000);
    const since = said.filter((s: Said) => s.kind === "request" && s.t > began);
    process.stdout.write(`      ${since.length} requests, the slowest took ${Math.max(...since.map((s) => (s as Said & { ms?: number }).ms ?? 0)).toFixed(0)} ms\n`);
    assert.deepEqual(since.filter((s) => s.ok !== true).slice(0, 10), []);
    assert.ok(since.length > 300);
  });
});

const imageOf = (p: Pod): string => (p.spec.containers[0] as { image?: string } | undefined)?.image ?? "";
