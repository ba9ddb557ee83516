// Owns how our entries in a route's `status.parents`, or a policy's `status.ancestors`, are merged with everybody else's. Pure; gateway-conformance.md §8.
import { structuralEqual } from "@ambit/collections";
import type { DesiredCondition, DesiredParent } from "./conditions.ts";

/** As Istio calls itself on routes. */
export const CONTROLLER = "istio.io/gateway-controller";
/** Each list: what its entries call the object that they are about, and how many the CRDs allow. */
export const STATUS_LISTS = { parents: { ref: "parentRef", max: 32 }, ancestors: { ref: "ancestorRef", max: 16 } } as const;
export type StatusList = keyof typeof STATUS_LISTS;

type Entry = Readonly<Record<string, unknown>>;

/**
 * The list to write, or undefined when what stands is already right, or is of a newer generation than we have seen.
 * Others' entries keep their places; ours are updated where they stand, stale ones go, new ones come last.
 */
export function parentsToApply(want: readonly DesiredParent[], standing: readonly Entry[], generation: number | undefined, now: string, list: StatusList = "parents"): Entry[] | undefined {
  const { ref, max } = STATUS_LISTS[list];
  const waiting = new Map(want.map((w) => [refKey(w.parentRef), w]));
  const next: Entry[] = [];
  for (const entry of standing) {
    if (entry["controllerName"] !== CONTROLLER) { next.push(entry); continue; }
    const key = refKey(record(entry[ref]));
    const mine = waiting.get(key);
    if (mine === undefined) continue;
    waiting.delete(key);
    const old = conditionsOf(entry);
    if (old.some((c) => typeof c["observedGeneration"] === "number" && c["observedGeneration"] > (generation ?? 0))) return undefined;
    next.push(merged(ref, mine, old, generation, now));
  }
  for (const w of waiting.values()) if (next.length < max) next.push(merged(ref, w, [], generation, now));
  return structuralEqual(next, standing) ? undefined : next;
}

/** Our types anew, in place; conditions that others put into our entry stay. */
function merged(ref: string, want: DesiredParent, old: readonly Entry[], generation: number | undefined, now: string): Entry {
  const waiting = new Map(want.conditions.map((c) => [c.type, c]));
  const conditions: Entry[] = [];
  for (const o of old) {
    const type = String(o["type"]);
    const c = waiting.get(type);
    waiting.delete(type);
    if (c !== undefined) conditions.push(condition(c, o, generation, now));
    else if (!OURS.includes(type)) conditions.push(o);
  }
  for (const c of waiting.values()) conditions.push(condition(c, undefined, generation, now));
  return { [ref]: want.parentRef, controllerName: CONTROLLER, conditions };
}

/** Every type that we ever write: one that is not wanted any more goes. */
const OURS: readonly string[] = ["Accepted", "ResolvedRefs", "PartiallyInvalid", "ResolvedWaypoints"];

function condition(c: DesiredCondition, old: Entry | undefined, generation: number | undefined, now: string): Entry {
  const next = { type: c.type, status: c.status, reason: c.reason, message: c.message, observedGeneration: generation ?? 0, lastTransitionTime: old?.["status"] === c.status ? old["lastTransitionTime"] ?? now : now };
  // Whatever order its fields came back in, an equal condition is left as it stands.
  return old !== undefined && Object.entries(next).every(([k, v]) => old[k] === v) ? old : next;
}

const record = (v: unknown): Entry => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Entry) : {});
const conditionsOf = (entry: Entry): Entry[] => (Array.isArray(entry["conditions"]) ? entry["conditions"].map(record) : []);
/** What is left out stands for its default, which the API server may have filled in. */
const refKey = (r: Entry): string => JSON.stringify([r["group"] ?? "gateway.networking.k8s.io", r["kind"] ?? "Gateway", r["namespace"] ?? "", r["name"], r["sectionName"] ?? "", r["port"] ?? 0]);
