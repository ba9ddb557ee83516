// Owns the downward API: what a pod may learn of itself, as text.
import type { ContainerSpec, NodePod, ResourceFieldRef } from "./pod-spec.ts";

export interface NodeFacts {
  readonly nodeName: string; readonly hostIP: string; readonly podIP: string;
  readonly cpuMillis: number; readonly memoryBytes: number;
}

/** Undefined when the path is not one of the supported ones. */
export function fieldValue(pod: NodePod, fieldPath: string, node: NodeFacts): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(fieldPath);
  if (keyed !== null) return pod.metadata[keyed[1] as "labels" | "annotations"]?.[keyed[2] ?? ""] ?? "";
  switch (fieldPath) {
    case "metadata.name": return pod.metadata.name;
    case "metadata.namespace": return pod.metadata.namespace ?? "";
    case "metadata.uid": return pod.metadata.uid ?? "";
    case "metadata.labels": return lines(pod.metadata.labels);
    case "metadata.annotations": return lines(pod.metadata.annotations);
    case "spec.nodeName": return node.nodeName;
    case "spec.serviceAccountName": return pod.spec.serviceAccountName ?? "default";
    case "status.hostIP": case "status.hostIPs": return node.hostIP;
    case "status.podIP": case "status.podIPs": return node.podIP;
    default: return undefined;
  }
}

/** One `key="value"` a line, sorted, quoted as Go does for plain text. */
function lines(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join("\n");
}

export function resourceValue(pod: NodePod, container: ContainerSpec, ref: ResourceFieldRef, node: NodeFacts): string | undefined {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const of = ref.containerName === undefined || ref.containerName === "" ? container : all.find((c) => c.name === ref.containerName);
  const [kind, resource] = ref.resource.split(".", 2);
  if (of === undefined || resource === undefined || (kind !== "limits" && kind !== "requests")) return undefined;
  const written = of.resources?.[kind]?.[resource];
  const fallback = kind === "requests" ? 0 : resource === "cpu" ? node.cpuMillis / 1000 : resource === "memory" ? node.memoryBytes : 0;
  const amount = written === undefined ? fallback : parseQuantity(String(written));
  const divisor = ref.divisor === undefined || String(ref.divisor) === "0" ? 1 : parseQuantity(String(ref.divisor));
  if (amount === undefined || divisor === undefined || divisor <= 0) return undefined;
  return String(Math.ceil(amount / divisor));
}

const SUFFIX: Readonly<Record<string, number>> = {
  "": 1, n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60,
};

/** A Kubernetes quantity as a number; undefined when malformed. */
export function parseQuantity(text: string): number | undefined {
  const m = /^([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:[eE]([+-]?\d+)|([a-zA-Z]{0,2}))$/.exec(text);
  if (m === null) return undefined;
  const scale = m[2] !== undefined ? 10 ** Number(m[2]) : SUFFIX[m[3] ?? ""];
  return scale === undefined ? undefined : Number(m[1]) * scale;
}

/** Guaranteed, Burstable or BestEffort, by requests and limits of cpu and memory. */
export function qosClass(pod: NodePod): string {
  let any = false;
  let guaranteed = true;
  for (const c of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
    for (const r of ["cpu", "memory"]) {
      const limit = c.resources?.limits?.[r];
      const request = c.resources?.requests?.[r] ?? limit;
      if (limit !== undefined || request !== undefined) any = true;
      if (limit === undefined || parseQuantity(String(limit)) !== parseQuantity(String(request))) guaranteed = false;
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}
