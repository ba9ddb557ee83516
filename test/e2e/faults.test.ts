// Every part of the mesh killed once, under 200 new connections a second: nothing in clear, nothing lost for good.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import { chartObjects } from "@ambit/testkit";
import { accountOf, documents, namespaceOf, samplePod, saidBy, saidUntil, serviceOf, type Said } from "./client-log.fixture.ts";
import { isEnrolled, isReady, leaveOut, TestCluster } from "./cluster.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

/** 5 ms between connections: 200 a second. */
const CLIENT = ["client", "--url", "http://server.t:8080/", "--hold", "server.t:9080", "--every", "5", "--marker", "must-not-be-read"];
const RECOVER_MS = 30_000;
/** Each of their starts is a chain of programs: many of them want a machine of their own. */
const REBOOTED = Number(process.env["REBOOT_PODS"] ?? 5);
const TRIED = 3;
/** Kubernetes' timestamps are whole seconds. */
const TIMESTAMP_MS = 1_000;
/** More than one are a soak: about a minute each. */
const REBOOTS = Number(process.env["REBOOTS"] ?? 1);
/** Each pod is a chain of programs to start, on two processors that others use too: 20 took 95 s at a load of 15, 150 s were too few at 30. */
const BACK_MS = 100_000 + REBOOTED * 10_000;
/** A program that starts at once, and talks at once. */
const TALKER = "rm -f /tmp/served; while :; do curl -s -m 2 -H 'x-say: must-not-be-read' -o /tmp/served http://server.t:8080/; sleep 0.5; done";

describe("kill -9 of each part under 200 new connections a second", function () {
  this.timeout(400_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestCluster;
  let began: string;
  before(async () => {
    began = new Date().toISOString();
    lab = await TestCluster.start();
    await lab.apply(documents(namespaceOf("t", true), accountOf("client"), accountOf("server"), serviceOf("server"), samplePod({ name: "server", account: "server", node: "node-2", args: ["serve", "--name", "server"] })));
    await lab.ready("t", { enrolled: true, count: 1 });
    await lab.apply(samplePod({ name: "client", account: "client", node: "node-1", args: CLIENT }));
    await lab.ready("t", { enrolled: true, count: 2 });
    await saidUntil(lab, "t", "client", (said) => said.filter((s) => s.ok === true).length > 100);
  });
  after(() => lab.stop());

  const requests = (said: readonly Said[], since: number) => said.filter((s) => s.kind === "request" && s.t > since);
  /** Said after `since`, and begun after it too: what an earlier fault still holds up is not this one's. */
  const begun = (said: readonly Said[], since: number) => requests(said, since).filter((s) => s.t - (s.ms ?? 0) > since);
  /** Served again without a failure for a second. */
  const recovered = (since: number) => saidUntil(lab, "t", "client", (said) => {
    const last = requests(said, since).filter((s) => s.t > (said.at(-1)?.t ?? 0) - 1_000);
    return (said.at(-1)?.t ?? 0) > since + 1_500 && last.length > 50 && last.every((s) => s.ok === true);
  }, RECOVER_MS);

  /** Does this while the link of node-1 is watched: nothing of what clients say may be seen there. Also returns the octets of its traffic. */
  async function unreadable<T>(work: () => Promise<T>): Promise<T & { readonly octets: number }> {
    const [program = "", ...args] = await lab.listen();
    const tcpdump = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const seen: Buffer[] = [];
    tcpdump.stdout.on("data", (b: Buffer) => seen.push(b));
    let result: T;
    try {
      await once(tcpdump.stderr, "data");
      result = await work();
    } finally {
      tcpdump.kill("SIGTERM");
      await once(tcpdump, "close");
    }
    const octets = Buffer.concat(seen);
    assert.ok(octets.length > 100_000, "the link was watched");
    assert.ok(!octets.includes("must-not-be-read"), "nothing was readable on the link");
    return { ...result, octets: octets.length };
  }

  /** The agent's DaemonSet on one node, or on all again. */
  async function agentOnlyOn(node: string | undefined): Promise<void> {
    const agents = "daemonset/istio-cni-node";
    if (node === undefined) return void await lab.kubectl("-n", "istio-system", "patch", agents, "--type=json", "-p", '[{"op":"remove","path":"/spec/template/spec/nodeSelector/kubernetes.io~1hostname"}]');
    await lab.kubectl("-n", "istio-system", "patch", agents, "--type=merge", "-p", JSON.stringify({ spec: { template: { spec: { nodeSelector: { "kubernetes.io/hostname": node } } } } }));
    await lab.until<Pod>(KINDS.pods, "istio-system", (pods) => pods.filter((p) => p.metadata.labels?.["k8s-app"] === "istio-cni-node").every((p) => p.spec.nodeName === node && p.metadata.deletionTimestamp === undefined));
  }

  it("before anything is killed: no part of the mesh has warned of anything", async () => {
    const lines: string[] = [];
    for (const pod of (await lab.client.list<Pod>(KINDS.pods, "istio-system")).items) {
      const text = await lab.kubectl("-n", "istio-system", "logs", `--since-time=${began}`, pod.metadata.name);
      lines.push(...text.split("\n").filter((line) => /"level":"(warn|error)"/.test(line)));
    }
    assert.deepEqual(lines, []);
  });

  for (const [name, part] of [["istiod-lite", "istiod-lite"], ["the node agent", "cni"], ["the API server", "apiserver"], ["the controllers", "controllers"], ["the kubelets", "kubelet"]] as const)
    it(`${name}: connections between known workloads go on, and it comes back`, async function () {
      if (lab.notLab !== undefined && (part === "apiserver" || part === "controllers")) leaveOut(this, lab.notLab);
      const at = await lab.kill(part);
      const said = await recovered(at);
      assert.deepEqual(requests(said, at).filter((s) => s.ok !== true), [], "no request failed");
      assert.deepEqual(said.filter((s) => s.t > at && s.event === "closed"), [], "no held connection was cut");
      await lab.ready("istio-system", { limitMs: RECOVER_MS });
      await lab.ready("kube-system", { limitMs: RECOVER_MS });
    });

  it("a ztunnel: its pods' connections are refused, never sent in clear, and work again when it is back", async () => {
    const { at, said } = await unreadable(async () => {
      const killed = await lab.kill("ztunnel");
      return { at: killed, said: await recovered(killed) };
    });
    assert.ok(requests(said, at).some((s) => s.ok === false), "requests were refused meanwhile");
    await lab.ready("istio-system", { limitMs: RECOVER_MS });
  });

  it("three graceful restarts of every ztunnel, one after the other, refuse no connection", async () => {
    const at = Date.now();
    for (let i = 0; i < 3; i++) {
      await lab.kubectl("-n", "istio-system", "rollout", "restart", "daemonset/ztunnel");
      await lab.kubectl("-n", "istio-system", "rollout", "status", "daemonset/ztunnel", "--timeout=90s");
    }
    const done = Date.now();
    const said = await recovered(done);
    // A question about a name that died with the ztunnel of the test before is asked again after 5 s, and its request gives up then.
    assert.deepEqual(begun(said, at).filter((s) => s.ok !== true).slice(0, 5), [], "no request failed");
    assert.ok(begun(said, at).length > 500);
    // "rollout status" is content with a predecessor that is still there.
    const ztunnels = (pods: readonly Pod[]): readonly Pod[] => pods.filter((p) => p.metadata.labels?.["app"] === "ztunnel");
    const last = await lab.until<Pod>(KINDS.pods, "istio-system", (pods) => ztunnels(pods).length === 2 && ztunnels(pods).every((p) => isReady(p) && p.metadata.deletionTimestamp === undefined));
    for (const pod of ztunnels(last))
      assert.match(await lab.kubectl("-n", "istio-system", "logs", pod.metadata.name), /"listeners taken over"/, "the last one has its predecessor's sockets");
  });

  it("afterwards policy is still enforced", async () => {
    await lab.apply(JSON.stringify({ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "nobody", namespace: "t" }, spec: {} }));
    const at = Date.now();
    await saidUntil(lab, "t", "client", (said) => requests(said, at).some((s) => s.ok === false));
    await lab.kubectl("-n", "t", "delete", "authorizationpolicy", "nobody");
    await recovered(Date.now());
    assert.ok((await saidBy(lab, "t", "client")).length > 0);
  });

  it("a node with the startup taint gets a pod of the mesh only once its agent is there", async function () {
    if (!(lab instanceof TestLab)) return leaveOut(this, "nodes of this cluster are not the test's to taint");
    for (const rights of chartObjects("istiod-lite", { istiod: { untaintNodes: true } }).filter((o) => o.metadata.name.startsWith("istiod-node-untaint"))) await lab.apply(JSON.stringify(rights));
    await lab.kubectl("-n", "istio-system", "set", "env", "deployment/istiod", "PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS=true");
    await lab.kubectl("-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=60s");
    await agentOnlyOn("node-2");
    await lab.kubectl("taint", "node", "node-1", "cni.istio.io/not-ready=:NoSchedule");
    await lab.apply(samplePod({ name: "late", account: "client", node: "node-1", args: ["serve"] }));
    const why = (pod: Pod | undefined): string | undefined => (pod?.status?.["conditions"] as { type: string; reason?: string }[] | undefined)?.find((c) => c.type === "PodScheduled")?.reason;
    const late = (pods: readonly Pod[]): Pod | undefined => pods.find((p) => p.metadata.name === "late");
    await lab.until<Pod>(KINDS.pods, "t", (pods) => why(late(pods)) === "Unschedulable");
    await agentOnlyOn(undefined);
    await lab.until<Pod>(KINDS.pods, "t", (pods) => pods.some((p) => p.metadata.name === "late" && isReady(p) && isEnrolled(p)), 60_000);
    assert.doesNotMatch(await lab.kubectl("get", "node", "node-1", "-o", "jsonpath={.spec.taints}"), /not-ready/);
    await lab.kubectl("-n", "t", "delete", "pod", "late", "--wait=true");
  });

  it(`a node reboots with ${REBOOTED} enrolled pods and its agent comes late: each waits and comes back enrolled, none ever speaks in clear${REBOOTS > 1 ? `, ${REBOOTS} times` : ""}`, async function () {
    this.timeout(400_000 * REBOOTS);
    // Of a soak the first failure is what counts.
    if (REBOOTS > 1) this.retries(0);
    if (!(lab instanceof TestLab)) return leaveOut(this, "a node of this cluster cannot be rebooted from a test");
    const powered = lab;
    await lab.apply(JSON.stringify({
      apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "many", namespace: "t" },
      spec: { replicas: REBOOTED, selector: { matchLabels: { app: "many" } }, template: { metadata: { labels: { app: "many" } }, spec: {
        serviceAccountName: "client", nodeSelector: { "kubernetes.io/hostname": "node-1" }, terminationGracePeriodSeconds: 0,
        containers: [{ name: "c", image: "ambit/sample:lab", command: ["sh", "-c", TALKER] }],
      } } },
    }));
    await lab.ready("t", { enrolled: true, count: REBOOTED + 2, limitMs: 120_000 });
    for (let n = 1; n <= REBOOTS; n++) {
      const began = Date.now();
      const { octets } = await reboot(powered).catch(async (error: unknown) => {
        if (REBOOTS > 1) console.log(await lab.kubectl("get", "pods", "-A", "-o", "wide"), await lab.kubectl("-n", "t", "get", "events", "--sort-by=.lastTimestamp"));
        throw error;
      });
      if (REBOOTS > 1) console.log(`      reboot ${n}: all back after ${((Date.now() - began) / 1000).toFixed(0)} s, ${(octets / 1e6).toFixed(1)} MB on the link, none of it in clear`);
    }
  });

  async function reboot(powered: TestLab): Promise<{ readonly octets: number }> {
    const runs = (pods: readonly Pod[]) => new Map(pods.map((p) => [p.metadata.name, (p.status?.["containerStatuses"] as { restartCount: number }[] | undefined)?.[0]?.restartCount ?? 0]));
    const first = runs((await lab.client.list<Pod>(KINDS.pods, "t")).items);
    return await unreadable(async () => {
      await agentOnlyOn("node-2");
      const at = Date.now();
      await powered.reboot("node-1");
      // Some were tried, and wait. Each further try takes the kubelet longer: no need to have all of them.
      await lab.until<KubeObject>(KINDS.events, "t", (events) => new Set(events.filter((e) => e["reason"] === "FailedCreatePodSandBox" && Date.parse(String(e["lastTimestamp"])) >= at - TIMESTAMP_MS).map((e) => (e["involvedObject"] as { name?: string }).name)).size >= TRIED, 90_000);
      await agentOnlyOn(undefined);
      await lab.until<Pod>(KINDS.pods, "t", (pods) => {
        const now = runs(pods);
        return pods.length === REBOOTED + 2 && pods.every((p) => isReady(p) && isEnrolled(p) && (p.spec.nodeName === "node-2" || (now.get(p.metadata.name) ?? 0) > (first.get(p.metadata.name) ?? 0)));
      }, BACK_MS);
      await recovered(at);
      // Each has talked since: what it may have said in clear was on the link.
      for (const name of first.keys()) if (name.startsWith("many")) await lab.kubectl("-n", "t", "exec", name, "--", "sh", "-c", "until [ -s /tmp/served ]; do sleep 0.2; done");
    });
  }
});
