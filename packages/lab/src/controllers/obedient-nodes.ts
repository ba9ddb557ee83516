// Owns stand-ins for kubelets in tests: bound pods run and become ready, deleted ones go. Not used by the product.
import { isNotFound, KINDS, Reflector, type Condition, type KubeClient, type Pod } from "@ambit/kube";

export interface ObedientNodes {
  /** Pods for which this says false stay unready; a phase ends them. */
  fate: (pod: Pod) => "run" | "unready" | "Succeeded" | "Failed";
  stop(): Promise<void>;
}

export async function startObedientNodes(client: KubeClient, names: readonly string[]): Promise<ObedientNodes> {
  for (const name of names) {
    await client.create(KINDS.nodes, undefined, { apiVersion: "v1", kind: "Node", metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } } });
    const conditions: Condition[] = [{ type: "Ready", status: "True", reason: "KubeletReady", message: "", lastTransitionTime: new Date().toISOString() }];
    await client.patch(KINDS.nodes, undefined, name, { status: { conditions } }, { subresource: "status" });
  }
  const nodes: ObedientNodes = { fate: () => "run", stop: async () => { await pods.stop(); await Promise.allSettled(tasks); } };
  const tasks = new Set<Promise<void>>();
  let serial = 0;
  const obey = async (pod: Pod): Promise<void> => {
    const { namespace, name, uid } = pod.metadata;
    if (pod.metadata.deletionTimestamp !== undefined) {
      await client.delete(KINDS.pods, namespace, name, { gracePeriodSeconds: 0, preconditions: { uid } });
      return;
    }
    const fate = nodes.fate(pod);
    if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return;
    const ready: Condition = { type: "Ready", status: fate === "run" ? "True" : "False", lastTransitionTime: new Date().toISOString() };
    const done = fate === "Succeeded" || fate === "Failed";
    if (!done && pod.status?.phase === "Running" && pod.status.conditions?.some((c) => c.type === "Ready" && c.status === ready.status)) return;
    const ip = pod.status?.podIP ?? `10.244.1.${(++serial % 250) + 1}`;
    await client.patch(KINDS.pods, namespace, name, { status: { phase: done ? fate : "Running", podIP: ip, podIPs: [{ ip }], conditions: [ready] } }, { subresource: "status" });
  };
  const act = (pod: Pod): void => {
    if (pod.spec.nodeName === undefined || !names.includes(pod.spec.nodeName)) return;
    // A pod that went in the meantime needs nothing more.
    const task = obey(pod).catch((error: unknown) => { if (!isNotFound(error)) throw error; }).finally(() => tasks.delete(task));
    tasks.add(task);
  };
  const pods = new Reflector<Pod>(client, KINDS.pods).handle({ onAdd: act, onUpdate: act }).start();
  await pods.whenSynced();
  return nodes;
}
