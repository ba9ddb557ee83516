// Owns the knowledge which policies nobody enforces at the moment: those that select no enrolled workload. Counted from changes, said when it settles.
import type { Policy, Workload } from "@ambit/core";
import { policyKey } from "@ambit/core";
import type { Clock, Timer } from "@ambit/runtime";
import type { Address } from "../collections/addresses.ts";
import type { Mesh } from "../collections/graph.ts";

/** Restarts and rollouts take the last pod away for a moment: that is not worth a write to every policy. */
export const SETTLE_MS = 5_000;

/** Keeps `mesh.idlePolicies` true; returns how it ends. */
export function trackEnforcement(mesh: Mesh, clock: Pick<Clock, "after">): () => void {
  const enrolled = new Map<string, number>();
  let timer: Timer | undefined;
  const count = (address: Address | undefined, by: 1 | -1): boolean => {
    if (address?.kind !== "workload" || address.workload.protocol !== "hbone") return false;
    for (const key of reachedBy(address.workload)) {
      const next = (enrolled.get(key) ?? 0) + by;
      if (next === 0) enrolled.delete(key);
      else enrolled.set(key, next);
    }
    return true;
  };
  const settle = (): void => {
    timer = undefined;
    mesh.batch(() => {
      for (const policy of mesh.authorizations.list()) {
        const key = policyKey(policy);
        const idle = !enrolled.has(reachOf(policy));
        if (idle === (mesh.idlePolicies.get(key) !== undefined)) continue;
        if (idle) mesh.idlePolicies.set({ key });
        else mesh.idlePolicies.delete(key);
      }
      for (const key of mesh.idlePolicies.keys()) if (mesh.authorizations.get(key) === undefined) mesh.idlePolicies.delete(key);
    });
  };
  const later = (): void => { timer ??= clock.after(SETTLE_MS, settle); };
  for (const address of mesh.addresses.list()) count(address, 1);
  const ends = [
    mesh.addresses.onChange((changes) => {
      let touched = false;
      for (const { before, after } of changes) {
        touched = count(before, -1) || touched;
        touched = count(after, 1) || touched;
      }
      if (touched) later();
    }),
    mesh.authorizations.onChange(later),
  ];
  later();
  return () => {
    timer?.cancel();
    for (const end of ends) end();
  };
}

const reachOf = (p: Policy): string => (p.scope === "workload" ? policyKey(p) : p.scope === "namespace" ? `namespace ${p.namespace}` : "mesh");
const reachedBy = (w: Workload): readonly string[] => [...w.authorizationPolicies, `namespace ${w.namespace}`, "mesh"];
