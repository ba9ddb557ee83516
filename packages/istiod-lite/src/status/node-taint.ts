// Owns lifting the startup taint from nodes whose agent is ready, as istiod does when asked to; whoever makes the nodes sets it. Leader only.
import type { Collection } from "@ambit/collections";
import { isNotFound, KINDS, KubeError, type KubeClient, type KubeObject, type Node, type Pod } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import { createWorker, type Worker } from "./worker.ts";

/** The agent's pods, in its namespace. */
const AGENT = { label: "k8s-app", value: "istio-cni-node" };
/** JSON patch whose test failed. */
const UNPROCESSABLE = 422;

type Taints = NonNullable<NonNullable<Node["spec"]>["taints"]>;

/** The node that this pod readies. Undefined: it is no agent's, or not ready. */
export function readyAgentNode(pod: Pod, agentNamespace: string): string | undefined {
  if (pod.metadata.namespace !== agentNamespace || pod.metadata.labels?.[AGENT.label] !== AGENT.value || pod.metadata.deletionTimestamp !== undefined) return undefined;
  return pod.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true ? pod.spec.nodeName : undefined;
}

/** A JSON patch that holds only on the taints that were read. Undefined: there is nothing to lift. */
export function untaint(node: Node, taint: string): readonly object[] | undefined {
  const taints: Taints = node.spec?.taints ?? [];
  if (!taints.some((t) => t.key === taint)) return undefined;
  return [{ op: "test", path: "/spec/taints", value: taints }, { op: "replace", path: "/spec/taints", value: taints.filter((t) => t.key !== taint) }];
}

export function keepNodesUntainted(o: { client: Pick<KubeClient, "patch">; nodes: Collection<KubeObject>; pods: Collection<Pod>; agentNamespace: string; taint: string; clock: Clock; log: Logger }): Worker & { keys(): string[] } {
  const worker = createWorker({
    name: "node taints", clock: o.clock, log: o.log,
    reconcile: async (name) => {
      const node = o.nodes.get(name) as Node | undefined;
      const patch = node === undefined ? undefined : untaint(node, o.taint);
      // A tainted node is rare: looking through the pods then costs less than an index does always.
      if (patch === undefined || !o.pods.list().some((p) => readyAgentNode(p, o.agentNamespace) === name)) return;
      try {
        await o.client.patch(KINDS.nodes, undefined, name, patch, { type: "json" });
        o.log.info("node's startup taint lifted", { node: name, taint: o.taint });
      } catch (error) {
        // Somebody changed the taints in between: the new node is on its way here.
        if (!isNotFound(error) && !(error instanceof KubeError && error.status === UNPROCESSABLE)) throw error;
      }
    },
  });
  o.nodes.onChange((changes) => { for (const c of changes) if (c.after !== undefined) worker.add(c.key); });
  o.pods.onChange((changes) => {
    for (const { after } of changes) {
      const node = after === undefined ? undefined : readyAgentNode(after, o.agentNamespace);
      if (node !== undefined) worker.add(node);
    }
  });
  return { ...worker, keys: () => o.nodes.keys() };
}
