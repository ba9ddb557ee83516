// Decides what NetworkPolicies take from the mesh: its tunnels on port 15008, and the kubelet's probes.
import type { KubeObject, Pod } from "@ambit/kube";
import { finding, names, type Finding } from "../model/finding.ts";
import { isCaptured, isRunning, isWaypointPod, keyOf, labelsOf, TUNNEL_PORT, type Facts } from "../model/facts.ts";
import { probePorts, probeSource } from "./enrolment.ts";
import { letsThrough, policiesFor, type Direction, type Peer } from "./network-policy.ts";
import { hasLabels } from "./selectors.ts";

/** Pods with the same policies are one case. */
interface Group { readonly policies: readonly KubeObject[]; readonly pods: Pod[] }
interface End { readonly pod: Pod; readonly peer: Peer }

export function judgeNetworks(f: Facts): Finding[] {
  if (f.objects.networkPolicies.length === 0) return [];
  const spaces = new Map(f.objects.namespaces.map((n) => [n.metadata.name, labelsOf(n)]));
  const ends = f.objects.pods.filter((p) => isRunning(p) && (isCaptured(p) || isWaypointPod(p)))
    .map((pod): End => ({ pod, peer: { ip: pod.status?.podIP ?? "", pod: { namespace: pod.metadata.namespace ?? "", labels: labelsOf(pod), namespaceLabels: spaces.get(pod.metadata.namespace ?? "") ?? {} } } }));
  const inward = groupsOf(f, ends, "Ingress");
  return [...inward.flatMap((g) => blocked(f, g, ends, "Ingress")), ...groupsOf(f, ends, "Egress").flatMap((g) => blocked(f, g, ends, "Egress")), ...inward.flatMap((g) => probes(f, g))];
}

function groupsOf(f: Facts, ends: readonly End[], direction: Direction): Group[] {
  const groups = new Map<string, Group>();
  for (const { pod } of ends) {
    const policies = policiesFor(f.objects.networkPolicies, pod, direction);
    if (policies.length === 0) continue;
    const key = policies.map(keyOf).sort().join();
    const group = groups.get(key) ?? { policies, pods: [] };
    group.pods.push(pod);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function blocked(f: Facts, { policies, pods }: Group, ends: readonly End[], direction: Direction): Finding[] {
  const [first] = pods;
  if (first === undefined) return [];
  const where = names(policies.map((p) => `NetworkPolicy ${keyOf(p)}`));
  const whom = names(pods.map(keyOf));
  const inward = direction === "Ingress";
  const cut = ends.find(({ pod, peer }) => pod !== first && letsThrough(policies, direction, peer, "any", inward ? first : pod) && !letsThrough(policies, direction, peer, TUNNEL_PORT, inward ? first : pod));
  const [policy] = policies;
  const rule = inward ? `{"ingress":[{"from":[…],"ports":[{"port":${TUNNEL_PORT},"protocol":"TCP"}]}]}` : `{"egress":[{"to":[…],"ports":[{"port":${TUNNEL_PORT},"protocol":"TCP"}]}]}`;
  if (cut !== undefined)
    return [finding("AMB0501", where, inward ? `${keyOf(cut.pod)} may talk to ${whom}, but not on port ${TUNNEL_PORT}, where the mesh's tunnels arrive: connections time out` : `${whom} may talk to ${keyOf(cut.pod)}, but not on port ${TUNNEL_PORT}, which the mesh's tunnels go to: connections time out`,
      `add port ${TUNNEL_PORT}/TCP to the same peers in ${policy?.metadata.name}: ${rule}; who may reach which port of the application is then for an AuthorizationPolicy`)];
  // Denied to everybody, and yet something is meant to reach them.
  if (!inward || ends.some(({ peer }) => letsThrough(policies, direction, peer, "any", first))) return [];
  const serving = f.objects.services.find((s) => s.metadata.namespace === first.metadata.namespace && s.spec.selector !== undefined && Object.keys(s.spec.selector).length > 0 && hasLabels(s.spec.selector, labelsOf(first)));
  return serving === undefined ? [] : [finding("AMB0501", where, `nobody of the mesh may reach ${whom} on any port, though Service ${keyOf(serving)} leads there`, `if that is not meant, allow port ${TUNNEL_PORT}/TCP from its clients: ${rule}`, "Warning")];
}

function probes(f: Facts, { policies, pods }: Group): Finding[] {
  const ip = probeSource(f);
  const failing = pods.filter((p) => isCaptured(p) && probePorts(p).some((port) => !letsThrough(policies, "Ingress", { ip }, port, p)));
  if (failing.length === 0) return [];
  return [finding("AMB0502", names(failing.map((p) => `Pod ${keyOf(p)}`)), `the kubelet's probes of enrolled pods come from ${ip}, which ${names(policies.map((p) => `NetworkPolicy ${keyOf(p)}`))} leaves out: where the network enforces that, probes fail`,
    `allow it: {"ingress":[{"from":[{"ipBlock":{"cidr":"${ip}/32"}}]}]}`)];
}
