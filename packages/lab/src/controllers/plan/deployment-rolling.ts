// Owns the arithmetic of a rollout: how large each ReplicaSet may be next, within maxSurge and maxUnavailable.
import { boundsOf, DESIRED, isRolling, MAX_REPLICAS, specReplicas, sumOf } from "./deployment-facts.ts";
import type { Deployment, ReplicaSet } from "./model.ts";
import { byAge } from "./pods.ts";

export interface Resize { readonly set: ReplicaSet; readonly replicas: number }

const available = (s: ReplicaSet): number => s.status?.availableReplicas ?? 0;

/** Grows the new set first; when it cannot grow, shrinks old ones: broken replicas before healthy ones. */
export function planRolling(d: Deployment, newSet: ReplicaSet, old: readonly ReplicaSet[]): Resize[] {
  const wanted = d.spec.replicas ?? 1;
  const { maxSurge, maxUnavailable } = boundsOf(d);
  const size = specReplicas(newSet);
  if (size > wanted) return [{ set: newSet, replicas: wanted }];
  const room = wanted + maxSurge - sumOf(old, specReplicas) - size;
  const grown = Math.min(size + Math.max(0, room), wanted);
  if (grown > size) return [{ set: newSet, replicas: grown }];
  return shrinkOld(wanted - maxUnavailable, newSet, old);
}

function shrinkOld(minAvailable: number, newSet: ReplicaSet, old: readonly ReplicaSet[]): Resize[] {
  const oldest = [...old].sort(byAge).filter((s) => specReplicas(s) > 0);
  if (oldest.length === 0) return [];
  const total = sumOf([...old, newSet], specReplicas);
  let removable = total - minAvailable - (specReplicas(newSet) - available(newSet));
  if (removable <= 0) return [];
  const sizes = new Map(oldest.map((s) => [s, specReplicas(s)]));
  for (const set of oldest) {
    const broken = Math.min(removable, specReplicas(set) - Math.min(available(set), specReplicas(set)));
    sizes.set(set, specReplicas(set) - broken);
    removable -= broken;
  }
  let spare = sumOf([...old, newSet], available) - minAvailable;
  for (const set of oldest) {
    const now = sizes.get(set) ?? 0;
    const cut = Math.max(0, Math.min(spare, now));
    sizes.set(set, now - cut);
    spare -= cut;
  }
  return [...sizes].filter(([set, replicas]) => replicas !== specReplicas(set)).map(([set, replicas]) => ({ set, replicas }));
}

/** A change of spec.replicas in the middle of a rollout is shared out in proportion to what each set already has. */
export function planProportional(d: Deployment, newSet: ReplicaSet | undefined, old: readonly ReplicaSet[]): Resize[] {
  const wanted = d.spec.replicas ?? 1;
  const all = newSet === undefined ? [...old] : [...old, newSet];
  const active = all.filter((s) => specReplicas(s) > 0).sort(byAge);
  const single = active.length === 0 ? (newSet ?? latest(old)) : active.length === 1 ? active[0] : undefined;
  if (single !== undefined) return specReplicas(single) === wanted ? [] : [{ set: single, replicas: wanted }];
  if (newSet !== undefined && isSaturated(newSet, wanted)) {
    return active.filter((s) => s !== newSet).map((set) => ({ set, replicas: 0 }));
  }
  if (!isRolling(d)) return [];
  const allowed = wanted === 0 ? 0 : wanted + boundsOf(d).maxSurge;
  const toAdd = allowed - sumOf(active, specReplicas);
  if (toAdd === 0) return [];
  return shareOut(allowed, toAdd, active);
}

function shareOut(allowed: number, toAdd: number, active: readonly ReplicaSet[]): Resize[] {
  // Growth goes to the newest of the largest first, shrinking to the oldest of the largest.
  const newestFirst = (a: ReplicaSet, b: ReplicaSet): number => (toAdd > 0 ? byAge(b, a) : byAge(a, b));
  const order = [...active].sort((a, b) => specReplicas(b) - specReplicas(a) || newestFirst(a, b));
  let added = 0;
  const sizes = order.map((set) => {
    const annotated = Number(set.metadata.annotations?.[MAX_REPLICAS] ?? "");
    const before = Number.isSafeInteger(annotated) && annotated > 0 ? annotated : Number(set.metadata.annotations?.[DESIRED]) || allowed;
    const share = Math.round((specReplicas(set) * allowed) / before) - specReplicas(set);
    const left = toAdd - added;
    const bounded = toAdd > 0 ? Math.max(0, Math.min(share, left)) : Math.min(0, Math.max(share, left));
    added += bounded;
    return { set, replicas: specReplicas(set) + bounded };
  });
  return sizes.map((s, i) => ({ set: s.set, replicas: Math.max(0, s.replicas + (i === 0 ? toAdd - added : 0)) }));
}

function latest(sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort(byAge).at(-1);
}

function isSaturated(set: ReplicaSet, wanted: number): boolean {
  return specReplicas(set) === wanted && available(set) === wanted && set.metadata.annotations?.[DESIRED] === String(wanted);
}
