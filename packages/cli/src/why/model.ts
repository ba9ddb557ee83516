// Owns the way from Kubernetes objects to what a ztunnel would know: the control plane's own collections and encoders, then
// ztunnel's own decoder. Nothing here decides.
import { describeProblems, policyKey, type WaypointConfig } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { admit, buildMesh, DEFAULT_SETTINGS, encodeAddress, encodePolicy, placed, sourceOf } from "@ambit/istiod-lite/pure";
import { prepareAddresses, preparePolicies, ProxyState } from "@ambit/ztunnel/pure";

export interface Model { readonly state: ProxyState; readonly waypoints: readonly WaypointConfig[]; readonly problems: readonly string[] }

export function modelOf(objects: readonly KubeObject[]): Model {
  const mesh = buildMesh(DEFAULT_SETTINGS);
  const problems: string[] = [];
  mesh.batch(() => {
    for (const object of objects) {
      const source = sourceOf(object);
      if (source === undefined) continue;
      const admitted = admit(source, placed(object, source));
      if (!admitted.ok) problems.push(`${object.kind} ${object.metadata.namespace ?? ""}/${object.metadata.name}: ${describeProblems(admitted.error)}`);
      // Its shape was just checked.
      else mesh.sources[source].set(admitted.value as never);
    }
  });
  const state = new ProxyState("");
  const policies = preparePolicies({ upserts: mesh.authorizations.list().map((p) => ({ name: policyKey(p), bytes: encodePolicy(p) })), removed: [] });
  const addresses = prepareAddresses({ upserts: mesh.addresses.list().map((a) => ({ name: a.name, bytes: encodeAddress(a) })), removed: [] });
  state.apply(policies.batch);
  state.apply(addresses.batch);
  problems.push(...[...policies.rejects, ...addresses.rejects].map((r) => `${r.path}: ${r.message}`));
  return { state, waypoints: mesh.waypointConfigs.list().map((w) => w.config), problems };
}
