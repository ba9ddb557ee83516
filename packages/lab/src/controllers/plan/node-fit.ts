// Owns whether a pod may run on a node: one reason per filter that says no, in upstream's words.
import type { Node, Pod } from "@ambit/kube";
import { matchesExpression, isSubset, type Labels } from "./labels.ts";
import type { SelectorExpression, Taint, Toleration } from "./model.ts";
import { conditionOf, isFinished } from "./pods.ts";

export interface NodeSelectorTerm { matchExpressions?: SelectorExpression[]; matchFields?: SelectorExpression[] }
export interface NodeAffinity {
  requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: NodeSelectorTerm[] };
  preferredDuringSchedulingIgnoredDuringExecution?: { weight: number; preference: NodeSelectorTerm }[];
}
export interface Affinity { nodeAffinity?: NodeAffinity; podAffinity?: PodTerms; podAntiAffinity?: PodTerms }
export interface PodTerms { requiredDuringSchedulingIgnoredDuringExecution?: PodAffinityTerm[] }
export interface PodAffinityTerm {
  topologyKey: string; namespaces?: string[];
  labelSelector?: { matchLabels?: Record<string, string>; matchExpressions?: SelectorExpression[] };
  namespaceSelector?: { matchLabels?: Record<string, string>; matchExpressions?: SelectorExpression[] };
}

export const affinityOf = (pod: Pod): Affinity => (pod.spec["affinity"] ?? {}) as Affinity;
export const tolerationsOf = (pod: Pod): Toleration[] => (pod.spec["tolerations"] ?? []) as Toleration[];
export const taintsOf = (node: Node): Taint[] => (node.spec?.taints ?? []) as Taint[];

export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect !== undefined && toleration.effect !== "" && toleration.effect !== taint.effect) return false;
  if ((toleration.key ?? "") !== "" && toleration.key !== taint.key) return false;
  const operator = toleration.operator ?? "Equal";
  if (operator === "Exists") return true;
  return operator === "Equal" && (toleration.key ?? "") !== "" && (toleration.value ?? "") === (taint.value ?? "");
}

export function untolerated(taints: readonly Taint[], tolerations: readonly Toleration[], effects: readonly string[]): Taint | undefined {
  return taints.find((taint) => effects.includes(taint.effect) && !tolerations.some((t) => tolerates(t, taint)));
}

function labelsOf(node: Node): Labels {
  return node.metadata.labels ?? {};
}

/** A term with neither expressions nor fields matches no node (upstream). */
export function matchesTerm(term: NodeSelectorTerm, node: Node): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  return expressions.every((e) => matchesExpression(e, labelsOf(node)))
    && fields.every((f) => f.key === "metadata.name" && matchesExpression(f, { "metadata.name": node.metadata.name }));
}

export function matchesNodeSelection(pod: Pod, node: Node): boolean {
  const selector = (pod.spec["nodeSelector"] ?? {}) as Labels;
  if (!isSubset(selector, labelsOf(node))) return false;
  const required = affinityOf(pod).nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || (required.nodeSelectorTerms ?? []).some((term) => matchesTerm(term, node));
}

export function isNodeReady(node: Node): boolean {
  return conditionOf(node.status?.conditions, "Ready")?.status === "True";
}

interface HostPort { readonly ip: string; readonly port: number; readonly protocol: string }

export function hostPortsOf(pod: Pod): HostPort[] {
  return pod.spec.containers.flatMap((c) => (c["ports"] as { hostPort?: number; hostIP?: string; protocol?: string }[] | undefined) ?? [])
    .filter((p) => (p.hostPort ?? 0) > 0)
    .map((p) => ({ ip: p.hostIP || "0.0.0.0", port: p.hostPort ?? 0, protocol: p.protocol ?? "TCP" }));
}

function clash(a: HostPort, b: HostPort): boolean {
  return a.port === b.port && a.protocol === b.protocol && (a.ip === b.ip || a.ip === "0.0.0.0" || b.ip === "0.0.0.0");
}

/** `64Mi`, `100m`, `2`, `1e3` as a number of base units; undefined when malformed. */
export function quantity(text: unknown): number | undefined {
  const match = /^(\d+(?:\.\d*)?|\.\d+)(?:(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?\d+))?$/.exec(String(text));
  if (match === null) return undefined;
  const number = Number(match[1]);
  if (match[3] !== undefined) return number * 10 ** Number(match[3]);
  const unit = match[2] ?? "";
  if (unit === "m") return number / 1000;
  const power = "kMGTPE".toUpperCase().indexOf(unit.charAt(0).toUpperCase()) + 1;
  return unit === "" ? number : number * (unit.endsWith("i") ? 1024 : 1000) ** power;
}

/** What the pod asks for: the sum of its containers, or its largest init container (sidecars count as containers). */
export function requestsOf(pod: Pod): Map<string, number> {
  const total = new Map<string, number>([["pods", 1]]);
  const of = (c: Record<string, unknown>): [string, number][] => {
    const { requests = {} } = (c["resources"] ?? {}) as { requests?: Record<string, unknown> };
    return Object.entries(requests).map(([name, value]) => [name, quantity(value) ?? 0]);
  };
  const inits = pod.spec.initContainers ?? [];
  for (const container of [...pod.spec.containers, ...inits.filter((c) => c.restartPolicy === "Always")]) {
    for (const [name, amount] of of(container)) total.set(name, (total.get(name) ?? 0) + amount);
  }
  for (const init of inits) for (const [name, amount] of of(init)) total.set(name, Math.max(total.get(name) ?? 0, amount));
  return total;
}

function tooSmall(pod: Pod, node: Node, there: readonly Pod[]): string | undefined {
  const allocatable = (node.status?.["allocatable"] ?? {}) as Record<string, unknown>;
  for (const [resource, asked] of requestsOf(pod)) {
    if (asked === 0) continue;
    const has = quantity(allocatable[resource]);
    // A node that does not state its pods, cpu or memory does not bound them.
    if (has === undefined && ["pods", "cpu", "memory", "ephemeral-storage"].includes(resource)) continue;
    const used = there.reduce((sum, p) => sum + (requestsOf(p).get(resource) ?? 0), 0);
    if (used + asked <= (has ?? 0)) continue;
    return resource === "pods" ? "Too many pods" : `Insufficient ${resource}`;
  }
  return undefined;
}

/** Why the pod cannot run there, or undefined when it can; `there` are the pods bound to the node. */
export function misfit(pod: Pod, node: Node, there: readonly Pod[]): string | undefined {
  const tolerations = tolerationsOf(pod);
  if (node.metadata.deletionTimestamp !== undefined) return "node(s) were being deleted";
  if (node.spec?.["unschedulable"] === true
    && !tolerations.some((t) => tolerates(t, { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" }))) {
    return "node(s) were unschedulable";
  }
  if (!matchesNodeSelection(pod, node)) return "node(s) didn't match Pod's node affinity/selector";
  const taint = untolerated(taintsOf(node), tolerations, ["NoSchedule", "NoExecute"]);
  if (taint !== undefined) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ""}}`;
  // The taint says so a moment later; until then the condition itself must do.
  if (!isNodeReady(node) && !tolerations.some((t) => tolerates(t, { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" })
    || tolerates(t, { key: "node.kubernetes.io/not-ready", effect: "NoExecute" }))) return "node(s) were not ready";
  const running = there.filter((p) => !isFinished(p));
  const wanted = hostPortsOf(pod);
  if (wanted.length > 0 && running.flatMap(hostPortsOf).some((used) => wanted.some((w) => clash(w, used)))) {
    return "node(s) didn't have free ports for the requested pod ports";
  }
  return tooSmall(pod, node, running);
}
