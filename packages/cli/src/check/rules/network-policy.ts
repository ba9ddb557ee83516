// Decides what Kubernetes NetworkPolicies let through (networking.k8s.io/v1 semantics), from the objects alone.
import { cidrContains, parseCidr, parseIp } from "@ambit/core";
import type { KubeObject, Pod } from "@ambit/kube";
import { labelsOf, list, record, text } from "../model/facts.ts";
import { selects, type Labels } from "./selectors.ts";

export type Direction = "Ingress" | "Egress";
/** One end of a connection; an address alone is something outside the cluster, or the node. */
export interface Peer { readonly ip: string; readonly pod?: { readonly namespace: string; readonly labels: Labels; readonly namespaceLabels: Labels } }
/** `any`: whether any TCP port at all is let through. */
type Port = number | "any";

/** Policies that select the pod in a direction; none: everything goes. */
export function policiesFor(policies: readonly KubeObject[], pod: Pod, direction: Direction): KubeObject[] {
  return policies.filter((p) => {
    const spec = record(p["spec"]);
    const types = spec["policyTypes"] === undefined ? (spec["egress"] === undefined ? ["Ingress"] : ["Ingress", "Egress"]) : list(spec["policyTypes"]);
    return p.metadata.namespace === pod.metadata.namespace && types.includes(direction) && selects(spec["podSelector"], labelsOf(pod));
  });
}

/** Whether the policies that select a pod (its `selecting`, not empty) let TCP to `port` of `server` through between it and `peer`. */
export function letsThrough(selecting: readonly KubeObject[], direction: Direction, peer: Peer, port: Port, server: Pod | undefined): boolean {
  return selecting.some((policy) => rulesOf(policy, direction).some((rule) => {
    const peers = list(record(rule)[direction === "Ingress" ? "from" : "to"]);
    return (peers.length === 0 || peers.some((p) => isPeer(p, policy.metadata.namespace ?? "", peer))) && portFits(list(record(rule)["ports"]), port, server);
  }));
}

const rulesOf = (policy: KubeObject, direction: Direction): readonly unknown[] => list(record(policy["spec"])[direction.toLowerCase()]);

function isPeer(wanted: unknown, namespace: string, peer: Peer): boolean {
  const { podSelector, namespaceSelector, ipBlock } = record(wanted);
  if (ipBlock !== undefined) {
    const inside = (cidr: unknown): boolean => {
      const block = parseCidr(text(cidr));
      const ip = parseIp(peer.ip);
      return block.ok && ip.ok && cidrContains(block.value, ip.value);
    };
    return inside(record(ipBlock)["cidr"]) && !list(record(ipBlock)["except"]).some(inside);
  }
  if (peer.pod === undefined || (podSelector === undefined && namespaceSelector === undefined)) return false;
  const there = namespaceSelector === undefined ? peer.pod.namespace === namespace : selects(namespaceSelector, peer.pod.namespaceLabels);
  return there && (podSelector === undefined || selects(podSelector, peer.pod.labels));
}

function portFits(ports: readonly unknown[], port: Port, server: Pod | undefined): boolean {
  if (ports.length === 0) return true;
  return ports.some((p) => {
    const { protocol, port: wanted, endPort } = record(p);
    if (protocol !== undefined && protocol !== "TCP") return false;
    if (wanted === undefined || port === "any") return true;
    if (typeof wanted === "number") return typeof endPort === "number" ? wanted <= port && port <= endPort : wanted === port;
    return (server?.spec.containers ?? []).some((c) => (c.ports ?? []).some((x) => x.name === wanted && x.containerPort === port));
  });
}
