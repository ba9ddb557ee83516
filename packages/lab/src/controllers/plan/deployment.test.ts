import assert from "node:assert/strict";
import type { KubeObject, Node, Pod } from "@ambit/kube";
import { World } from "../simulation.ts";
import { planDeployment } from "./deployment.ts";
import { REVISION, revisionOf, specReplicas } from "./deployment-facts.ts";
import { DEPLOYMENT, NAMESPACE, NODE, POD, REPLICA_SET } from "./kinds.ts";
import type { Deployment, ReplicaSet } from "./model.ts";
import { conditionOf, isActive, isReady } from "./pods.ts";
import { planReplicaSet } from "./replica-set.ts";
import { planSchedule } from "./schedule.ts";

function plans(w: World): () => ReturnType<typeof planDeployment>[] {
  return () => [
    ...w.all<Deployment>(DEPLOYMENT).map((deployment) => planDeployment({ deployment, sets: w.all(REPLICA_SET), pods: w.all(POD), now: w.now })),
    ...w.all<ReplicaSet>(REPLICA_SET).map((set) => planReplicaSet({ set, pods: w.all(POD), now: w.now })),
    ...w.all<Pod>(POD).map((pod) => planSchedule({ pod, pods: w.all(POD), nodes: w.all<Node>(NODE), namespaces: w.all<KubeObject>(NAMESPACE), now: w.now })).slice(0, 1),
    ...w.all<Pod>(POD).filter((p) => p.spec.nodeName === undefined).map((pod) => planSchedule({ pod, pods: w.all(POD), nodes: w.all<Node>(NODE), namespaces: [], now: w.now })).slice(0, 1),
  ];
}

function world(spec: Record<string, unknown> = {}): World {
  const w = new World();
  w.node("node-1");
  w.node("node-2");
  w.put(DEPLOYMENT, {
    metadata: { name: "web" },
    spec: {
      replicas: 3, progressDeadlineSeconds: 600, selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "v1" }] } }, ...spec,
    },
  });
  return w;
}

const setImage = (w: World, image: string): void => w.edit(DEPLOYMENT, "web", (d) => { (d as unknown as Deployment).spec.template.spec.containers[0]!.image = image; });
const status = (w: World) => w.get<Deployment>(DEPLOYMENT, "web").status ?? {};
const reason = (w: World, type: string) => conditionOf(status(w).conditions, type)?.reason;
const sizes = (w: World) => w.all<ReplicaSet>(REPLICA_SET).map((s) => [revisionOf(s), specReplicas(s)]).sort();

describe("planDeployment", () => {
  it("brings up the replicas, spread over the nodes, and says so", () => {
    const w = world();
    w.settle(plans(w));
    const pods = w.all<Pod>(POD);
    assert.deepEqual(pods.map((p) => p.spec.nodeName).sort(), ["node-1", "node-1", "node-2"]);
    assert.equal(reason(w, "Progressing"), "NewReplicaSetAvailable");
    assert.equal(reason(w, "Available"), "MinimumReplicasAvailable");
    assert.deepEqual([status(w).replicas, status(w).updatedReplicas, status(w).readyReplicas, status(w).unavailableReplicas], [3, 3, 3, undefined]);
    assert.equal(w.get(DEPLOYMENT, "web").metadata.annotations?.[REVISION], "1");
    assert.ok(pods.every((p) => p.metadata.labels?.["pod-template-hash"] !== undefined));
  });

  it("scales without a new revision, and does nothing when settled", () => {
    const w = world();
    w.settle(plans(w));
    w.edit(DEPLOYMENT, "web", (d) => { (d as unknown as Deployment).spec.replicas = 5; });
    w.settle(plans(w));
    assert.deepEqual(sizes(w), [[1, 5]]);
    w.edit(DEPLOYMENT, "web", (d) => { (d as unknown as Deployment).spec.replicas = 0; });
    w.settle(plans(w));
    assert.equal(w.all(POD).length, 0);
    assert.deepEqual(plans(w)().flatMap((p) => p.actions), []);
  });

  it("rolls a template change without going below maxUnavailable or above maxSurge", () => {
    const w = world({ replicas: 4, strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } });
    w.settle(plans(w));
    setImage(w, "v2");
    w.settle(plans(w), () => {
      const active = w.all<Pod>(POD).filter(isActive);
      assert.ok(active.length <= 5, `at most 5 pods, not ${active.length}`);
      assert.ok(active.filter(isReady).length >= 3, `at least 3 ready, not ${active.filter(isReady).length}`);
    });
    assert.deepEqual(sizes(w), [[1, 0], [2, 4]]);
    assert.ok(w.all<Pod>(POD).every((p) => p.spec.containers[0]?.image === "v2"));
    assert.equal(reason(w, "Progressing"), "NewReplicaSetAvailable");
  });

  it("reuses the old ReplicaSet on a rollback and gives it the newest revision", () => {
    const w = world();
    w.settle(plans(w));
    setImage(w, "v2");
    w.settle(plans(w));
    setImage(w, "v1");
    w.settle(plans(w));
    assert.deepEqual(sizes(w), [[2, 0], [3, 3]]);
    assert.equal(w.get(DEPLOYMENT, "web").metadata.annotations?.[REVISION], "3");
  });

  it("keeps enough old pods when the new ones never become ready, and reports the deadline", () => {
    const w = world();
    w.settle(plans(w));
    w.healthy = (p) => p.spec.containers[0]?.image !== "broken";
    setImage(w, "broken");
    w.settle(plans(w));
    assert.equal(w.all<Pod>(POD).filter(isReady).length, 3);
    assert.equal(reason(w, "Available"), "MinimumReplicasAvailable");
    w.now += 601_000;
    w.settle(plans(w));
    assert.equal(reason(w, "Progressing"), "ProgressDeadlineExceeded");
    setImage(w, "v3");
    w.settle(plans(w));
    assert.equal(reason(w, "Progressing"), "NewReplicaSetAvailable");
  });

  it("Recreate ends every old pod before it starts a new one", () => {
    const w = world({ strategy: { type: "Recreate" } });
    w.settle(plans(w));
    setImage(w, "v2");
    w.settle(plans(w), () => {
      const images = new Set(w.all<Pod>(POD).map((p) => p.spec.containers[0]?.image));
      assert.ok(images.size <= 1, "old and new pods never live together");
    });
    assert.deepEqual(sizes(w), [[1, 0], [2, 3]]);
  });

  it("does not roll while paused, but scales", () => {
    const w = world();
    w.settle(plans(w));
    w.edit(DEPLOYMENT, "web", (d) => { (d as unknown as Deployment).spec.paused = true; });
    setImage(w, "v2");
    w.edit(DEPLOYMENT, "web", (d) => { (d as unknown as Deployment).spec.replicas = 4; });
    w.settle(plans(w));
    assert.deepEqual(sizes(w), [[1, 4]]);
    assert.equal(reason(w, "Progressing"), "DeploymentPaused");
    w.edit(DEPLOYMENT, "web", (d) => { delete (d as unknown as Deployment).spec.paused; });
    w.settle(plans(w));
    assert.deepEqual(sizes(w), [[1, 0], [2, 4]]);
  });

  it("trims ReplicaSets beyond the history limit", () => {
    const w = world({ revisionHistoryLimit: 1 });
    for (const image of ["v1", "v2", "v3", "v4"]) {
      setImage(w, image);
      w.settle(plans(w));
    }
    assert.deepEqual(sizes(w), [[3, 0], [4, 3]]);
  });

  it("adopts a matching orphan ReplicaSet instead of making a second one", () => {
    const w = world();
    w.settle(plans(w));
    w.edit(REPLICA_SET, w.all(REPLICA_SET)[0]!.metadata.name, (s) => { delete s.metadata.ownerReferences; });
    w.settle(plans(w));
    assert.equal(w.all(REPLICA_SET).length, 1);
    assert.equal(w.all(REPLICA_SET)[0]?.metadata.ownerReferences?.[0]?.kind, "Deployment");
    assert.equal(w.all(POD).length, 3);
  });

  it("refuses to select everything", () => {
    const w = world({ selector: {} });
    w.settle(plans(w));
    assert.equal(w.all(REPLICA_SET).length, 0);
    assert.match(w.events.join(), /SelectingAll/);
  });
});
