import assert from "node:assert/strict";
import type { KubeObject, Node, Pod } from "@ambit/kube";
import { World } from "../simulation.ts";
import type { Plan } from "./action.ts";
import { planDaemonSet } from "./daemon-set.ts";
import { intervals, planJob } from "./job.ts";
import { CONTROLLER_REVISION, DAEMON_SET, JOB, NODE, POD, REPLICA_SET, STATEFUL_SET } from "./kinds.ts";
import type { DaemonSet, Job, ReplicaSet, StatefulSet } from "./model.ts";
import { conditionOf, isReady, isTerminating } from "./pods.ts";
import { planReplicaSet, rankForDeletion } from "./replica-set.ts";
import { planSchedule } from "./schedule.ts";
import { planStatefulSet } from "./stateful-set.ts";

const template = (image = "v1", spec: Record<string, unknown> = {}) => ({ metadata: { labels: { app: "x" } }, spec: { containers: [{ name: "c", image }], ...spec } });
const selector = { matchLabels: { app: "x" } };

function plans(w: World): () => Plan[] {
  return () => [
    ...w.all<DaemonSet>(DAEMON_SET).map((set) => planDaemonSet({ set, pods: w.all(POD), nodes: w.all<Node>(NODE), revisions: w.all(CONTROLLER_REVISION), now: w.now })),
    ...w.all<StatefulSet>(STATEFUL_SET).map((set) => planStatefulSet({ set, pods: w.all(POD), revisions: w.all(CONTROLLER_REVISION), now: w.now })),
    ...w.all<Job>(JOB).map((job) => planJob({ job, pods: w.all(POD), now: w.now })),
    ...w.all<ReplicaSet>(REPLICA_SET).map((set) => planReplicaSet({ set, pods: w.all(POD), now: w.now })),
    ...w.all<Pod>(POD).filter((p) => p.spec.nodeName === undefined).map((pod) => planSchedule({ pod, pods: w.all(POD), nodes: w.all<Node>(NODE), namespaces: [], now: w.now })).slice(0, 1),
  ];
}
const live = (w: World): Pod[] => w.all<Pod>(POD).filter((p) => !isTerminating(p));
const image = (p: Pod): unknown => p.spec.containers[0]?.image;
const spec = (o: KubeObject): Record<string, never> & { template: ReturnType<typeof template> } => o["spec"] as never;

describe("planDaemonSet", () => {
  const world = (more: Record<string, unknown> = {}): World => {
    const w = new World();
    for (const name of ["a", "b", "c"]) w.node(name);
    w.put(DAEMON_SET, { metadata: { name: "d" }, spec: { selector, template: template(), ...more } });
    return w;
  };
  const nodes = (w: World): (string | undefined)[] => live(w).map((p) => p.spec.nodeName).sort();

  it("runs one pod on every node, also on nodes that are not ready or cordoned, and follows nodes", () => {
    const w = world();
    w.edit(NODE, "b", (n) => { Object.assign(n, { spec: { unschedulable: true, taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoExecute" }] }, status: { conditions: [{ type: "Ready", status: "False" }] } }); });
    w.settle(plans(w));
    assert.deepEqual(nodes(w), ["a", "b", "c"]);
    const status = w.get<DaemonSet>(DAEMON_SET, "d").status;
    assert.deepEqual([status?.["desiredNumberScheduled"], status?.["numberReady"], status?.["updatedNumberScheduled"]], [3, 3, 3]);
    w.node("e");
    w.edit(NODE, "a", (n) => { Object.assign(n, { spec: { taints: [{ key: "mine", effect: "NoExecute" }] } }); });
    w.settle(plans(w));
    assert.deepEqual(nodes(w), ["b", "c", "e"]);
  });

  it("obeys the template's node selector", () => {
    const w = world({ template: template("v1", { nodeSelector: { "kubernetes.io/hostname": "b" } }) });
    w.settle(plans(w));
    assert.deepEqual(nodes(w), ["b"]);
  });

  const strategies: [string, Record<string, unknown>, number, number][] = [
    ["one node at a time by default", {}, 2, 3],
    ["two at a time with maxUnavailable 2", { maxUnavailable: 2 }, 1, 3],
    ["without a gap when surging", { maxSurge: 1, maxUnavailable: 0 }, 3, 4],
  ];
  for (const [name, rollingUpdate, leastReady, mostPods] of strategies) {
    it(`updates ${name}`, () => {
      const w = world({ updateStrategy: { type: "RollingUpdate", rollingUpdate } });
      w.settle(plans(w));
      w.edit(DAEMON_SET, "d", (d) => { spec(d).template = template("v2") as never; });
      w.settle(plans(w), () => {
        assert.ok(live(w).filter(isReady).length >= leastReady, `${live(w).filter(isReady).length} ready`);
        assert.ok(live(w).length <= mostPods, `${live(w).length} pods`);
      });
      assert.deepEqual(nodes(w), ["a", "b", "c"]);
      assert.ok(live(w).every((p) => image(p) === "v2"));
      assert.deepEqual(w.all<KubeObject & { revision: number }>(CONTROLLER_REVISION).map((r) => r.revision), [1, 2]);
    });
  }

  it("OnDelete waits for the user, and a rollback makes the old revision the newest", () => {
    const w = world({ updateStrategy: { type: "OnDelete" } });
    w.settle(plans(w));
    w.edit(DAEMON_SET, "d", (d) => { spec(d).template = template("v2") as never; });
    w.settle(plans(w));
    assert.ok(live(w).every((p) => image(p) === "v1"));
    w.edit(DAEMON_SET, "d", (d) => { spec(d).template = template("v1") as never; });
    w.settle(plans(w));
    assert.deepEqual(w.all<KubeObject & { revision: number }>(CONTROLLER_REVISION).map((r) => r.revision).sort(), [2, 3]);
  });

  it("replaces a failed pod", () => {
    const w = world();
    w.settle(plans(w));
    const victim = live(w)[0]?.metadata.name ?? "";
    w.edit(POD, victim, (p) => { Object.assign(p, { status: { phase: "Failed" } }); });
    w.settle(plans(w));
    assert.equal(w.find(POD, victim), undefined);
    assert.deepEqual(nodes(w), ["a", "b", "c"]);
  });
});

describe("planStatefulSet", () => {
  const world = (more: Record<string, unknown> = {}): World => {
    const w = new World();
    w.node("a");
    w.put(STATEFUL_SET, { metadata: { name: "db" }, spec: { replicas: 3, serviceName: "db", selector, template: template(), ...more } });
    return w;
  };
  const names = (w: World): string[] => live(w).map((p) => p.metadata.name).sort();

  it("makes pods in order with stable names, each after its predecessor is ready", () => {
    const w = world();
    w.healthy = (p) => p.metadata.name !== "db-1";
    w.settle(plans(w));
    assert.deepEqual(names(w), ["db-0", "db-1"]);
    w.healthy = () => true;
    w.settle(plans(w));
    assert.deepEqual(names(w), ["db-0", "db-1", "db-2"]);
    assert.deepEqual([live(w)[0]?.spec["hostname"], live(w)[0]?.spec["subdomain"]], ["db-0", "db"]);
    w.edit(STATEFUL_SET, "db", (s) => { (s as unknown as StatefulSet).spec.replicas = 1; });
    w.settle(plans(w));
    assert.deepEqual(names(w), ["db-0"]);
    assert.deepEqual(w.log.filter((l) => l.startsWith("delete Pod")), ["delete Pod db-2", "delete Pod db-1"]);
  });

  it("Parallel waits for nobody", () => {
    const w = world({ podManagementPolicy: "Parallel" });
    w.healthy = () => false;
    w.settle(plans(w));
    assert.equal(names(w).length, 3);
  });

  it("updates from the top, one at a time, down to the partition", () => {
    const w = world({ updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 1 } } });
    w.settle(plans(w));
    w.edit(STATEFUL_SET, "db", (s) => { spec(s).template = template("v2") as never; });
    w.settle(plans(w), () => assert.ok(live(w).filter(isReady).length >= 2));
    assert.deepEqual(live(w).sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)).map(image), ["v1", "v2", "v2"]);
    w.apply({ actions: [{ do: "delete", kind: POD, object: w.get(POD, "db-0") }] });
    w.settle(plans(w));
    assert.equal(image(w.get(POD, "db-0")), "v1", "below the partition the old template comes back");
    w.edit(STATEFUL_SET, "db", (s) => { delete (s as unknown as StatefulSet).spec.updateStrategy; });
    w.settle(plans(w));
    assert.ok(live(w).every((p) => image(p) === "v2"));
    const { status } = w.get<StatefulSet>(STATEFUL_SET, "db");
    assert.equal(status?.currentRevision, status?.updateRevision);
  });

  it("repairs a rollout that never came up", () => {
    const w = world({ replicas: 2 });
    w.settle(plans(w));
    w.healthy = (p) => image(p) !== "broken";
    w.edit(STATEFUL_SET, "db", (s) => { spec(s).template = template("broken") as never; });
    w.settle(plans(w));
    w.edit(STATEFUL_SET, "db", (s) => { spec(s).template = template("v3") as never; });
    w.settle(plans(w));
    assert.ok(live(w).every((p) => image(p) === "v3" && isReady(p)));
  });

  it("says that it cannot provide volumes instead of ignoring them", () => {
    const w = world({ volumeClaimTemplates: [{ metadata: { name: "data" } }] });
    w.settle(plans(w));
    assert.equal(names(w).length, 0);
    assert.match(w.events.join(), /VolumesUnsupported/);
  });
});

describe("planJob", () => {
  const world = (more: Record<string, unknown> = {}): World => {
    const w = new World();
    w.node("a");
    w.put(JOB, { metadata: { name: "j" }, spec: { selector, backoffLimit: 6, completions: 1, parallelism: 1, template: template("v1", { restartPolicy: "Never" }), ...more } });
    return w;
  };
  const job = (w: World): Job => w.get<Job>(JOB, "j");
  const ended = (w: World): string | undefined => job(w).status?.conditions?.find((c) => ["Complete", "Failed"].includes(c.type))?.reason;

  it("runs to completion, never more than parallelism at once", () => {
    const w = world({ completions: 5, parallelism: 2 });
    w.ends = () => "Succeeded";
    w.settle(plans(w), () => assert.ok(w.all<Pod>(POD).filter((p) => p.status?.phase !== "Succeeded").length <= 2));
    assert.equal(w.all(POD).length, 5);
    assert.deepEqual([ended(w), job(w).status?.succeeded, job(w).status?.active], ["CompletionsReached", 5, undefined]);
  });

  it("backs off between failures and gives up at the limit", () => {
    const w = world({ backoffLimit: 2 });
    w.ends = () => "Failed";
    w.settle(plans(w));
    assert.equal(w.all(POD).length, 1, "the second try waits ten seconds");
    w.now += 10_001;
    w.settle(plans(w));
    assert.equal(w.all(POD).length, 2);
    w.now += 20_001;
    w.settle(plans(w));
    assert.deepEqual([w.all(POD).length, ended(w), job(w).status?.failed], [3, "BackoffLimitExceeded", 3]);
  });

  it("ends at its deadline and takes its pods along", () => {
    const w = world({ activeDeadlineSeconds: 30 });
    w.settle(plans(w));
    w.now += 30_001;
    w.settle(plans(w));
    assert.deepEqual([ended(w), w.all(POD).length], ["DeadlineExceeded", 0]);
  });

  it("suspends and resumes", () => {
    const w = world({ suspend: true });
    w.settle(plans(w));
    assert.deepEqual([w.all(POD).length, conditionOf(job(w).status?.conditions, "Suspended")?.status], [0, "True"]);
    w.edit(JOB, "j", (j) => { (j as unknown as Job).spec.suspend = false; });
    w.ends = () => "Succeeded";
    w.settle(plans(w));
    assert.equal(ended(w), "CompletionsReached");
  });

  it("gives Indexed pods every index once", () => {
    const w = world({ completions: 3, parallelism: 2, completionMode: "Indexed" });
    w.ends = () => "Succeeded";
    w.settle(plans(w));
    assert.deepEqual(w.all<Pod>(POD).map((p) => p.metadata.annotations?.["batch.kubernetes.io/job-completion-index"]).sort(), ["0", "1", "2"]);
    assert.equal(job(w).status?.completedIndexes, "0-2");
    assert.deepEqual(w.all<Pod>(POD)[0]?.spec.containers[0]?.["env"], [{ name: "JOB_COMPLETION_INDEX", value: "0" }]);
    assert.equal(intervals([5, 1, 3, 4]), "1,3-5");
  });

  it("is removed after its time to live", () => {
    const w = world({ ttlSecondsAfterFinished: 60 });
    w.ends = () => "Succeeded";
    w.settle(plans(w));
    assert.equal(planJob({ job: job(w), pods: [], now: w.now + 10_000 }).againInMs, 50_000);
    assert.deepEqual(planJob({ job: job(w), pods: [], now: w.now + 61_000 }).actions.map((a) => a.do), ["delete"]);
  });

  it("refuses what it does not support", () => {
    const w = world({ podFailurePolicy: { rules: [] } });
    w.settle(plans(w));
    assert.equal(w.all(POD).length, 0);
    assert.match(w.events.join(), /PodFailurePolicyUnsupported/);
  });
});

describe("planReplicaSet", () => {
  it("removes the least useful pod first", () => {
    const p = (name: string, more: Record<string, unknown>): Pod => ({ metadata: { name, ...(more["metadata"] as object | undefined) }, spec: { nodeName: "a", containers: [] }, status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] }, ...more } as Pod);
    const order = [
      p("unassigned", { metadata: { name: "unassigned" }, spec: { containers: [] }, status: { phase: "Pending" } }),
      p("pending", { metadata: { name: "pending" }, status: { phase: "Pending" } }),
      p("unready", { metadata: { name: "unready" }, status: { phase: "Running" } }),
      p("cheap", { metadata: { name: "cheap", annotations: { "controller.kubernetes.io/pod-deletion-cost": "-5" } } }),
      p("crowded", { metadata: { name: "crowded" } }),
      p("alone", { metadata: { name: "alone" }, spec: { nodeName: "b", containers: [] } }),
    ];
    assert.deepEqual(rankForDeletion([...order].reverse(), order).map((x) => x.metadata.name), order.map((x) => x.metadata.name));
  });

  it("releases pods that stop matching, replaces them, and keeps a failure until the number is right", () => {
    const w = new World();
    w.node("a");
    w.put(REPLICA_SET, { metadata: { name: "r" }, spec: { replicas: 2, selector, template: template() } });
    w.settle(plans(w));
    const [first] = live(w);
    w.edit(POD, first?.metadata.name ?? "", (p) => { p.metadata.labels = { app: "debug" }; });
    w.settle(plans(w));
    assert.equal(live(w).length, 3);
    assert.equal(w.get(POD, first?.metadata.name ?? "").metadata.ownerReferences?.length, 0);
    const set = { ...w.get<ReplicaSet>(REPLICA_SET, "r") };
    const failing = planReplicaSet({ set: { ...set, spec: { ...set.spec, replicas: 9 } }, pods: w.all(POD), failure: "quota", now: w.now });
    const status = failing.actions.find((a) => a.do === "replace");
    assert.ok(status?.do === "replace");
    assert.equal((status.object as ReplicaSet).status?.conditions?.[0]?.reason, "FailedCreate");
  });
});
