// Owns required pod affinity and anti-affinity: which topology domains a pod must share or avoid.
import type { KubeObject, Node, Pod } from "@ambit/kube";
import { matchesSelector } from "./labels.ts";
import { affinityOf, type PodAffinityTerm } from "./node-fit.ts";
import { isFinished } from "./pods.ts";

export interface Topology { misfit(node: Node): string | undefined }

interface Inputs { readonly pod: Pod; readonly nodes: readonly Node[]; readonly namespaces: readonly KubeObject[] }

export function planTopology({ pod, nodes, namespaces }: Inputs, byNode: ReadonlyMap<string, readonly Pod[]>): Topology {
  const together = affinityOf(pod).podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const apart = affinityOf(pod).podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const placed = nodes.flatMap((node) => (byNode.get(node.metadata.name) ?? []).filter((p) => !isFinished(p)).map((p) => ({ node, p })));
  const selects = (term: PodAffinityTerm, owner: Pod, other: Pod): boolean =>
    selectsNamespace(term, owner, other.metadata.namespace ?? "", namespaces) && matchesSelector(term.labelSelector, other.metadata.labels);
  const domainsOf = (term: PodAffinityTerm): Set<string> =>
    new Set(placed.filter(({ p }) => selects(term, pod, p)).map(({ node }) => node.metadata.labels?.[term.topologyKey]).filter((d) => d !== undefined));
  const wanted = together.map((term) => ({ term, domains: domainsOf(term) }));
  const avoided = apart.map((term) => ({ term, domains: domainsOf(term) }));
  // The first pod of a group that wants its own kind nearby may start anywhere.
  const first = wanted.every(({ term, domains }) => domains.size === 0 && selects(term, pod, pod));
  const repelled = placed.flatMap(({ node, p }) =>
    (affinityOf(p).podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [])
      .filter((term) => selects(term, p, pod))
      .map((term) => ({ key: term.topologyKey, domain: node.metadata.labels?.[term.topologyKey] })));
  return {
    misfit(node) {
      const labels = node.metadata.labels ?? {};
      const near = wanted.every(({ term, domains }) => {
        const domain = labels[term.topologyKey];
        return domain !== undefined && (first || domains.has(domain));
      });
      if (!near) return "node(s) didn't match pod affinity rules";
      if (avoided.some(({ term, domains }) => domains.has(labels[term.topologyKey] ?? "\0"))) return "node(s) didn't match pod anti-affinity rules";
      if (repelled.some(({ key, domain }) => domain !== undefined && labels[key] === domain)) {
        return "node(s) didn't satisfy existing pods anti-affinity rules";
      }
      return undefined;
    },
  };
}

function selectsNamespace(term: PodAffinityTerm, owner: Pod, namespace: string, namespaces: readonly KubeObject[]): boolean {
  if ((term.namespaces ?? []).includes(namespace)) return true;
  if (term.namespaceSelector !== undefined) {
    return matchesSelector(term.namespaceSelector, namespaces.find((n) => n.metadata.name === namespace)?.metadata.labels);
  }
  return (term.namespaces ?? []).length === 0 && namespace === owner.metadata.namespace;
}
