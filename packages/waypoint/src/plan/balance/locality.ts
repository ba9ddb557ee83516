// Owns how near an endpoint has to be (Istio localityLbSetting, Kubernetes trafficDistribution), seen from the client and not from us.
import { nearest, pickWeighted, type Candidate, type LoadBalancing, type LocalityBalancing, type Place } from "@ambit/core";

/** Of the healthy and the ejected members of one group: how much of the load it can still take is 1.4 times its share (Envoy). */
const OVERPROVISIONING = 1.4;

export interface LocalityHints {
  /** undefined: nobody knows where the client is, everything is equally far. */
  readonly client: Place | undefined;
  readonly ejected: (uid: string) => boolean;
  readonly labelsOf: (uid: string) => Readonly<Record<string, string>>;
  readonly clientLabels: Readonly<Record<string, string>>;
}

/** The candidates of the locality that this request goes to, ejected ones included. */
export function chooseLocality<C extends Candidate>(candidates: readonly C[], rule: LocalityBalancing | undefined, service: LoadBalancing | undefined, hints: LocalityHints, random: () => number): readonly C[] {
  const { client } = hints;
  if (client === undefined || candidates.length < 2) return candidates;
  if (rule === undefined) return nearest(candidates, service, client);
  const distribute = rule.distribute.find((d) => localityMatches(d.from, client));
  if (distribute !== undefined) {
    const shares = Object.entries(distribute.to).map(([to, weight]) => ({ weight, members: candidates.filter((c) => localityMatches(to, c.workload)) })).filter((s) => s.members.length > 0);
    return pickWeighted(shares, (s) => s.weight, random)?.members ?? [];
  }
  return spill(groupByPriority(candidates, rule, client, hints), hints, random);
}

/** `region/zone/subzone`; a part that is `*` or missing matches any. */
export function localityMatches(pattern: string, { locality }: Pick<Place, "locality">): boolean {
  const parts = [locality.region, locality.zone, locality.subzone];
  return pattern === "*" || pattern.split("/").every((p, i) => p === "*" || p === parts[i]);
}

function groupByPriority<C extends Candidate>(candidates: readonly C[], rule: LocalityBalancing, client: Place, hints: LocalityHints): C[][] {
  const groups: C[][] = [];
  for (const candidate of candidates) {
    const priority = rule.failoverPriority.length > 0 ? byLabels(candidate, rule.failoverPriority, client, hints) : byRegion(candidate, rule, client);
    (groups[priority] ??= []).push(candidate);
  }
  return groups.filter((g) => g !== undefined);
}

/** The number of labels, from the first that differs on: the n-th counts only if all before it match. */
function byLabels({ workload }: Candidate, labels: readonly string[], client: Place, hints: LocalityHints): number {
  const own = hints.labelsOf(workload.uid);
  const first = labels.findIndex((label) => {
    const [name = "", wanted] = label.split("=");
    const seen = topology(name, workload) ?? own[name];
    return wanted === undefined ? seen === undefined || seen !== (topology(name, client) ?? hints.clientLabels[name]) : seen !== wanted;
  });
  return first < 0 ? 0 : labels.length - first;
}

function topology(label: string, { locality, network, clusterId }: Place): string | undefined {
  switch (label) {
    case "topology.istio.io/network": return network;
    case "topology.istio.io/cluster": return clusterId;
    case "topology.kubernetes.io/region": return locality.region;
    case "topology.kubernetes.io/zone": return locality.zone;
    case "topology.istio.io/subzone": return locality.subzone;
    default: return undefined;
  }
}

/** Same subzone, zone, region; then the region that `failover` names; then the rest. */
function byRegion({ workload: { locality } }: Candidate, rule: LocalityBalancing, { locality: own }: Place): number {
  if (locality.region === own.region) {
    if (locality.zone !== own.zone) return 2;
    return locality.subzone === own.subzone ? 0 : 1;
  }
  const next = rule.failover.find((f) => f.from === own.region)?.to;
  return next === undefined || next === locality.region ? 3 : 4;
}

/** The nearest group takes all while enough of it is well; what it cannot take goes on to the next. */
function spill<C extends Candidate>(groups: readonly C[][], { ejected }: LocalityHints, random: () => number): readonly C[] {
  let at = random();
  for (const group of groups) {
    const well = group.filter((c) => !ejected(c.workload.uid)).length;
    const share = Math.min(1, (OVERPROVISIONING * well) / group.length);
    if (at < share) return group;
    at -= share;
  }
  // Not enough is well anywhere: the nearest group that has somebody.
  return groups.find((g) => g.some((c) => !ejected(c.workload.uid))) ?? groups[0] ?? [];
}
