// What takes minutes: 200 pods on two nodes, and 10 GB through one stream. `pnpm soak`; figures go to docs/performance.md.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KINDS, type Pod } from "@ambit/kube";
import { documents, namespaceOf, saidBy, samplePod, serviceOf, type Said } from "../e2e/client-log.fixture.ts";
import { isEnrolled, isReady } from "../e2e/cluster.fixture.ts";
import { TestLab } from "../e2e/lab.fixture.ts";

const PROGRAM = join(import.meta.dirname, "../e2e/programs/streams.ts");
const PODS = 200;
const RESTARTS = 10;
const RESTART_EVERY_MS = 60_000;
/** A client at 200 a second fills a log file of 10 MB in minutes. */
const LOOK_EVERY_MS = 5_000;
const BULK_BYTES = 10_000_000_000;
/** A tunnel's windows and the copy buffers of a handful of chunks, with the garbage collector's slack. */
const GROWTH_MAX_MB = 160;

describe("soak", function () {
  this.timeout(1_500_000);
  let lab: TestLab;
  before(async () => { lab = await TestLab.start(); });
  after(() => lab.stop());

  it(`${PODS} pods on two nodes come up and are enrolled`, async () => {
    await lab.apply(namespaceOf("many", false));
    const begin = Date.now();
    await lab.apply(JSON.stringify({
      apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "idle", namespace: "many" },
      spec: { replicas: PODS, selector: { matchLabels: { app: "idle" } }, template: { metadata: { labels: { app: "idle" } }, spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "ambit/sample:lab", command: ["sleep", "infinity"] }] } } },
    }));
    await lab.until<Pod>(KINDS.pods, "many", (pods) => pods.length === PODS && pods.every(isReady), 300_000);
    const up = Date.now() - begin;
    const label = Date.now();
    await lab.kubectl("label", "namespace", "many", "istio.io/dataplane-mode=ambient");
    await lab.until<Pod>(KINDS.pods, "many", (pods) => pods.length === PODS && pods.every(isEnrolled), 120_000);
    const enrolled = Date.now() - label;
    const again = Date.now();
    await lab.kubectl("-n", "many", "rollout", "restart", "deployment/idle");
    await lab.kubectl("-n", "many", "rollout", "status", "deployment/idle", "--timeout=300s");
    await lab.until<Pod>(KINDS.pods, "many", (pods) => pods.length === PODS && pods.every((p) => isReady(p) && isEnrolled(p)), 300_000);
    console.log(JSON.stringify({ pods: PODS, up_s: up / 1000, all_enrolled_s: enrolled / 1000, restarted_enrolled_s: (Date.now() - again) / 1000, ztunnel_mb: rss(lab, "ztunnel/src/main.ts") }));
    await lab.kubectl("delete", "namespace", "many", "--timeout=120s");
  });

  it(`${RESTARTS} graceful restarts of every ztunnel, one a minute, at 200 new connections a second: none is refused`, async () => {
    await lab.apply(documents(namespaceOf("life", true), serviceOf("server", "life"), samplePod({ name: "server", namespace: "life", node: "node-2", args: ["serve"] })));
    await lab.ready("life", { enrolled: true });
    await lab.apply(samplePod({ name: "client", namespace: "life", node: "node-1", args: ["client", "--url", "http://server.life:8080/", "--every", "5"] }));
    await lab.ready("life", { enrolled: true, count: 2 });
    // The kubelet rotates logs: they are read as they come, with an overlap, and told apart by their numbers.
    const begun = Date.now();
    const said = new Map<number, Said>();
    const look = async (sinceMs: number): Promise<void> => {
      for (const s of await saidBy(lab, "life", "client", sinceMs)) if (s.n !== undefined) said.set(s.n, s);
    };
    for (let i = 0; i < RESTARTS; i++) {
      const begin = Date.now();
      await lab.kubectl("-n", "istio-system", "rollout", "restart", "daemonset/ztunnel");
      while (Date.now() - begin < RESTART_EVERY_MS) {
        const since = Date.now() - 2 * LOOK_EVERY_MS;
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
        await look(since);
      }
      console.log(`      restart ${i + 1}: ${said.size} connections, ${[...said.values()].filter((s) => s.ok !== true).length} failed`);
    }
    const seconds = (Date.now() - begun) / 1000;
    await look(Date.now() - 3 * LOOK_EVERY_MS);
    const all = [...said.values()].filter((s) => s.t > begun);
    const numbers = all.map((s) => s.n ?? 0).sort((a, b) => a - b);
    const unheard = (numbers.at(-1) ?? 0) - (numbers[0] ?? 0) + 1 - numbers.length;
    const bad = all.filter((s) => s.ok !== true);
    const took = all.map((s) => s.ms ?? 0).sort((a, b) => a - b);
    const at = (share: number): number => took[Math.floor(took.length * share)] ?? 0;
    const perSecond = all.length / seconds;
    console.log(JSON.stringify({ restarts: RESTARTS, connections: all.length, per_second: Math.round(perSecond), failed: bad.length, unheard, ms: { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: took.at(-1) } }));
    assert.deepEqual(bad.slice(0, 5), []);
    // The last ones are still under way when the log is read.
    assert.ok(unheard < 100, `${unheard} connections were begun and nothing was said of them`);
    assert.ok(perSecond > 195, `${perSecond.toFixed(0)} connections a second were made, 200 are asked for`);
    await lab.kubectl("delete", "namespace", "life", "--timeout=60s");
  });

  it("10 GB through one stream, memory bounded", async () => {
    const pod = (name: string, node: string, args: readonly string[]) => JSON.stringify({
      apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "bulk" },
      spec: { restartPolicy: "Never", nodeSelector: { "kubernetes.io/hostname": node }, terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "ambit/sample:lab", command: [process.execPath, PROGRAM, ...args] }] },
    });
    await lab.apply(documents(namespaceOf("bulk", true), pod("server", "node-2", ["serve", "7000"])));
    const [server] = await lab.ready("bulk", { enrolled: true });
    const before = rss(lab, "ztunnel/src/main.ts");
    await lab.apply(pod("reader", "node-1", ["check", server?.status?.podIP ?? "", "7000", "source", String(BULK_BYTES)]));
    let peak = before;
    const watch = setInterval(() => { peak = rss(lab, "ztunnel/src/main.ts").map((mb, i) => Math.max(mb, peak[i] ?? 0)); }, 250);
    await lab.until<Pod>(KINDS.pods, "bulk", (pods) => pods.some((p) => p.metadata.name === "reader" && (p.status?.phase === "Succeeded" || p.status?.phase === "Failed")), 600_000);
    clearInterval(watch);
    const said = JSON.parse(await lab.kubectl("-n", "bulk", "logs", "reader")) as { ok: boolean; got: number; seconds: number };
    console.log(JSON.stringify({ ...said, gbit_s: (said.got * 8) / 1e9 / said.seconds, ztunnel_mb_before: before, ztunnel_mb_peak: peak }));
    assert.equal(said.got, BULK_BYTES);
    peak.forEach((mb, i) => assert.ok(mb - (before[i] ?? 0) < GROWTH_MAX_MB, `ztunnel ${i} grew from ${before[i]} to ${mb} MB`));
  });
});

/** Resident megabytes of each process that runs `part`. */
function rss(lab: TestLab, part: string): number[] {
  return lab.pids(part).flatMap((pid) => {
    try {
      const kb = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
      return kb === undefined ? [] : [Math.round(Number(kb) / 1024)];
    } catch {
      return [];
    }
  });
}
