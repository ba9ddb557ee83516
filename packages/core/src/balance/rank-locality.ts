// Owns locality preference: which candidates are as near to the client as a service asks.
import type { BalanceScope, LoadBalancing, Workload } from "../workload/workload.ts";
import type { Candidate } from "./eligible.ts";

/** What of a workload its nearness is judged by. */
export type Place = Pick<Workload, "locality" | "node" | "clusterId" | "network">;

export function sameScope(scope: BalanceScope, a: Place, b: Place): boolean {
  switch (scope) {
    case "region": return a.locality.region === b.locality.region;
    case "zone": return a.locality.zone === b.locality.zone;
    case "subzone": return a.locality.subzone === b.locality.subzone;
    case "node": return a.node === b.node;
    case "cluster": return a.clusterId === b.clusterId;
    case "network": return a.network === b.network;
  }
}

/**
 * Number of leading scopes that match. A leading `network` is special: its match outranks all the other scopes together, and
 * its mismatch does not end the comparison, so that locality still orders the endpoints of other networks among themselves.
 */
export function rankLocality(preference: readonly BalanceScope[], client: Place, workload: Place): number {
  let rank = 0;
  for (const [i, scope] of preference.entries()) {
    const same = sameScope(scope, client, workload);
    if (i === 0 && scope === "network") rank += same ? preference.length : 0;
    else if (same) rank += 1;
    else break;
  }
  return rank;
}

/** strict: only full matches. failover: the best rank there is. Otherwise everyone. */
export function nearest<C extends Candidate>(candidates: readonly C[], balancing: LoadBalancing | undefined, client: Place): readonly C[] {
  if (balancing === undefined || balancing.mode === "standard" || balancing.mode === "passthrough") return candidates;
  const { routingPreference: preference } = balancing;
  if (balancing.mode === "strict")
    return candidates.filter((c) => preference.every((scope) => sameScope(scope, client, c.workload)));
  let best = -1;
  let kept: C[] = [];
  for (const candidate of candidates) {
    const rank = rankLocality(preference, client, candidate.workload);
    if (rank > best) [best, kept] = [rank, [candidate]];
    else if (rank === best) kept.push(candidate);
  }
  return kept;
}
