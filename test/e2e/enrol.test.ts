// Joining and leaving the mesh again and again, under 200 new connections a second, as the client sees it; what pods say of
// themselves meanwhile; and rules that somebody deletes.
import assert from "node:assert/strict";
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import { accountOf, documents, namespaceOf, samplePod, saidUntil, serviceOf, type Said } from "./client-log.fixture.ts";
import { isEnrolled, isReady, TestCluster } from "./cluster.fixture.ts";

const CLIENT = ["client", "--url", "http://server.t:8080/", "--hold", "server.t:9080", "--every", "5"];
const ROUNDS = 10;
/** Longer than the client's own limit for a request: what hangs is seen as a failure. */
const SETTLE_MS = 1_000;
/** Verified every second in this test. */
const REPAIR_MS = 15_000;

const conditionOf = (p: Pod) => p.status?.conditions?.find((c) => c.type === "MeshEnrolled");

describe("joining and leaving under 200 new connections a second", function () {
  this.timeout(300_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestCluster;
  let rounds: { joined: number; left: number; gone: number }[];
  let started: number;
  before(async () => {
    lab = await TestCluster.start();
    await lab.apply(documents(namespaceOf("t", false), accountOf("client"), accountOf("server"), serviceOf("server"), samplePod({ name: "server", account: "server", node: "node-2", args: ["serve", "--name", "server"] })));
    await lab.ready("t", { count: 1 });
    await lab.apply(samplePod({ name: "client", account: "client", node: "node-1", args: CLIENT }));
    await lab.ready("t", { count: 2 });
    await said((all) => requests(all, 0).filter((s) => s.ok === true).length > 100);
    started = Date.now();
    rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const joined = Date.now();
      await label("ambient");
      await lab.ready("t", { enrolled: true, count: 2 });
      await quietUntil(Date.now() + SETTLE_MS);
      const left = Date.now();
      await label("none");
      await lab.until<Pod>(KINDS.pods, "t", (pods) => pods.every((p) => !isEnrolled(p) && conditionOf(p) === undefined));
      const gone = Date.now();
      rounds.push({ joined, left, gone });
      await quietUntil(gone + SETTLE_MS);
    }
  });
  after(() => lab.stop());

  const said = (test: (all: Said[]) => boolean, limitMs?: number) => saidUntil(lab, "t", "client", test, limitMs);
  const requests = (all: readonly Said[], since: number) => all.filter((s) => s.kind === "request" && s.t >= since);
  const quietUntil = (t: number) => said((all) => (all.at(-1)?.t ?? 0) > t);
  const label = (mode: "ambient" | "none") => lab.client.patch(KINDS.namespaces, undefined, "t", { metadata: { labels: { "istio.io/dataplane-mode": mode } } });

  it(`${ROUNDS} times in and out: no new connection fails`, async () => {
    const all = await said(() => true);
    const of = requests(all, started);
    const bad = of.filter((s) => s.ok !== true).map((s) => {
      const round = rounds.findLast((r) => r.joined <= s.t);
      return { error: s.error, status: s.status, afterJoin: s.t - (round?.joined ?? 0), afterLeave: s.t - (round?.left ?? 0), afterGone: s.t - (round?.gone ?? 0) };
    });
    assert.deepEqual(bad, [], `${bad.length} of ${of.length} failed`);
    assert.ok(of.length > 1_000, `${of.length} connections were made`);
  });

  it("a connection from before lives through joining, and ends with leaving at the latest", async () => {
    const all = await said(() => true);
    const ends = all.filter((s) => s.event === "closed" && s.t > started);
    for (const { joined, left, gone } of rounds) {
      assert.deepEqual(ends.filter((s) => s.t >= joined && s.t < left), [], "none was cut while joining");
      assert.ok(ends.filter((s) => s.t >= left && s.t <= gone + SETTLE_MS).length <= 1, "leaving ends it at most once");
    }
  });

  it("a pod says what is: enrolled when it is captured, nothing when it left", async () => {
    await label("ambient");
    const pods = await lab.ready("t", { enrolled: true, count: 2 });
    for (const pod of pods) assert.deepEqual({ status: conditionOf(pod)?.status, reason: conditionOf(pod)?.reason }, { status: "True", reason: "Captured" });
  });

  it("rules that somebody deletes in a pod come back, and are counted", async () => {
    const verifyEvery = (interval: string | null) => lab.client.patch(KINDS.configMaps, "istio-system", "istio-cni-config", { data: { AMBIT_VERIFY_INTERVAL: interval } });
    await verifyEvery("1s");
    await restartAgents();
    const server = await lab.client.get<Pod>(KINDS.pods, "t", "server");
    const list = () => lab.inPodNetwork(server, "nft", "-s", "list", "table", "inet", "istio-ambient-nat");
    const standing = await list();
    await lab.inPodNetwork(server, "nft", "delete", "table", "inet", "istio-ambient-nat");
    const metrics = () => lab.run("node-2", "curl", "-s", "http://127.0.0.1:15014/metrics");
    const deadline = Date.now() + REPAIR_MS;
    while (!/ambit_cni_rules_drift_total\{where="pod"\} [1-9]/.test(await metrics())) assert.ok(Date.now() < deadline, "the change was found");
    assert.equal(await list(), standing);
    await verifyEvery(null);
  });

  it("agent down: a pod outside the mesh starts, one inside waits and says why, and starts when the agent is back", async () => {
    await lab.kubectl("-n", "istio-system", "patch", "daemonset", "istio-cni-node", "--type=merge", "-p", JSON.stringify({ spec: { template: { spec: { nodeSelector: { "kubernetes.io/hostname": "node-1" } } } } }));
    await lab.until<Pod>(KINDS.pods, "istio-system", (pods) => pods.filter((p) => p.metadata.labels?.["k8s-app"] === "istio-cni-node").every((p) => p.spec.nodeName === "node-1" && p.metadata.deletionTimestamp === undefined));
    const at = Date.now();
    await lab.apply(documents(namespaceOf("outside", false), accountOf("a", "outside"), samplePod({ name: "inside", account: "server", node: "node-2", args: ["serve"] }), samplePod({ name: "outside", namespace: "outside", account: "a", node: "node-2", args: ["serve"] })));
    await lab.ready("outside", { count: 1 });
    assert.ok(Date.now() - at < 5_000, "an unlabelled pod does not wait");
    await lab.until<KubeObject>(KINDS.events, "t", (events) => events.some((e) => /istio-cni-node\) does not answer/.test(String(e["message"])) && (e["involvedObject"] as { name?: string }).name === "inside"));
    await lab.kubectl("-n", "istio-system", "patch", "daemonset", "istio-cni-node", "--type=json", "-p", '[{"op":"remove","path":"/spec/template/spec/nodeSelector/kubernetes.io~1hostname"}]');
    await lab.ready("t", { enrolled: true, count: 3, limitMs: 60_000 });
  });

  const restartAgents = async () => {
    await lab.kill("cni");
    await lab.until<Pod>(KINDS.pods, "istio-system", (pods) => pods.filter((p) => p.metadata.labels?.["k8s-app"] === "istio-cni-node").every((p) => !isReady(p)) || pods.some((p) => (p.status?.["containerStatuses"] as { restartCount?: number }[] | undefined)?.some((c) => (c.restartCount ?? 0) > 0) === true));
    await lab.ready("istio-system");
  };
});
