// Owns the way from Kubernetes objects to what a ztunnel would know: the control plane's own collections and encoders, then
// ztunnel's own decoder. Nothing here decides.
import { describeProblems, policyKey } from "@ambit/core";
import { KINDS, type Kind, type KubeObject } from "@ambit/kube";
import { admit, buildMesh, encodeAddress, encodePolicy, type SourceName } from "@ambit/istiod-lite/pure";
import { prepareAddresses, preparePolicies, ProxyState } from "@ambit/ztunnel/pure";

/** What shapes the mesh at L4: every source of the control plane, so that `why` cannot know less than istiod-lite does. */
export const MESH_KINDS: Readonly<Record<SourceName, Kind>> = {
  pods: KINDS.pods, services: KINDS.services, namespaces: KINDS.namespaces, nodes: KINDS.nodes, endpointSlices: KINDS.endpointSlices,
  gateways: KINDS.gateways, gatewayClasses: KINDS.gatewayClasses, authorizationPolicies: KINDS.authorizationPolicies,
  peerAuthentications: KINDS.peerAuthentications, serviceEntries: KINDS.serviceEntries, workloadEntries: KINDS.workloadEntries,
};
/** By group and kind: others have a Service and a Gateway, too. */
const SOURCE_OF = new Map(Object.entries(MESH_KINDS).map(([source, kind]) => [`${kind.group}/${kind.kind}`, source as SourceName]));
const SETTINGS = { rootNamespace: "istio-system", trustDomain: "cluster.local", clusterId: "Kubernetes", clusterDomain: "cluster.local" };

export interface Model { readonly state: ProxyState; readonly problems: readonly string[] }

export function modelOf(objects: readonly KubeObject[]): Model {
  const mesh = buildMesh(SETTINGS);
  const problems: string[] = [];
  mesh.batch(() => {
    for (const object of objects) {
      const group = object.apiVersion?.includes("/") === true ? (object.apiVersion.split("/")[0] ?? "") : "";
      const source = SOURCE_OF.get(`${group}/${object.kind ?? ""}`);
      if (source === undefined) continue;
      const admitted = admit(source, placed(object, MESH_KINDS[source]));
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
  return { state, problems };
}

/** Objects in files may leave the namespace out; kubectl would put them into default. */
const placed = (object: KubeObject, kind: Kind): KubeObject =>
  !kind.namespaced || (object.metadata.namespace ?? "") !== "" ? object : { ...object, metadata: { ...object.metadata, namespace: "default" } };
