// Owns running the scheduler's plan, one pod after the other, remembering its bindings until the watch shows them.
import type { KubeObject, Node, Pod } from "@ambit/kube";
import type { ControllerEnv } from "./engine/env.ts";
import { keyOf } from "./engine/cache.ts";
import { isEqual } from "./plan/equal.ts";
import { NAMESPACE, NODE, POD } from "./plan/kinds.ts";
import { isFinished } from "./plan/pods.ts";
import { isSchedulable, planSchedule, SCHEDULER_NAME } from "./plan/schedule.ts";

/** Two decisions at the same time could put two pods where one fits. */
const WORKERS = 1;

export function runScheduler(env: ControllerEnv): void {
  const pods = env.cache<Pod>(POD);
  const nodes = env.cache<Node>(NODE);
  const namespaces = env.cache<KubeObject>(NAMESPACE);
  const applier = env.applier(SCHEDULER_NAME);
  const bound = new Map<string, string>();
  const placed = (pod: Pod): Pod => {
    const node = pod.spec.nodeName ?? bound.get(pod.metadata.uid ?? "");
    return node === undefined || node === pod.spec.nodeName ? pod : { ...pod, spec: { ...pod.spec, nodeName: node } };
  };
  const queue = env.queue("scheduler", WORKERS, async (key) => {
    const pod = pods.at(key);
    if (pod === undefined || bound.has(pod.metadata.uid ?? "") || !isSchedulable(pod)) return undefined;
    const facts = { pod, nodes: nodes.all(), pods: pods.all().map(placed), namespaces: namespaces.all(), now: env.clock.now() };
    const plan = planSchedule(facts);
    const again = await applier.run(plan);
    // The watch may have been faster than the answer.
    const now = pods.at(key);
    for (const action of plan.actions) {
      if (action.do === "bind" && now?.metadata.uid === pod.metadata.uid && now?.spec.nodeName === undefined) bound.set(pod.metadata.uid ?? "", action.node);
    }
    return again;
  });
  const retryPending = (): void => {
    for (const pod of pods.all()) if (isSchedulable(pod)) queue.add(keyOf(pod));
  };
  pods.listen((change) => {
    const { object } = change;
    if (change.type === "drop" || object.spec.nodeName !== undefined) bound.delete(object.metadata.uid ?? "");
    if (change.type === "put" && isSchedulable(object)) queue.add(keyOf(object));
    const old = change.type === "put" ? change.old : undefined;
    const freed = change.type === "drop" || (old !== undefined && !isFinished(old) && isFinished(object));
    const arrived = change.type === "put" && object.spec.nodeName !== undefined && old?.spec.nodeName === undefined;
    if ((freed && object.spec.nodeName !== undefined) || arrived) retryPending();
  });
  nodes.listen((change) => {
    const old = change.type === "put" ? change.old : undefined;
    if (old !== undefined && isEqual(relevant(old), relevant(change.object as Node))) return;
    retryPending();
  });
}

/** What of a node the filters read; heartbeats change nothing here. */
function relevant(node: Node): unknown {
  return {
    spec: node.spec, labels: node.metadata.labels, allocatable: node.status?.["allocatable"],
    ready: node.status?.conditions?.find((c) => c.type === "Ready")?.status, gone: node.metadata.deletionTimestamp,
  };
}
