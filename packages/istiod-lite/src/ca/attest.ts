// Owns the decision which identity a caller gets: its own, or, for a node's ztunnel, that of a pod on the same node. Pure.
import { parseIdentity, type Identity } from "@ambit/core";

/** What a TokenReview says about a caller. Only bound (projected) tokens name a pod. */
export interface Reviewed {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName?: string | undefined;
  readonly podUid?: string | undefined;
}

export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** Empty while unscheduled. */
  readonly nodeName: string;
  readonly phase: string;
}

/** Synchronous look into an informer's store. */
export interface PodLookup {
  pod(namespace: string, name: string): PodFacts | undefined;
  /** Pods bound to the node that run as this service account, in any phase. */
  onNode(nodeName: string, namespace: string, serviceAccount: string): Iterable<PodFacts>;
}

export interface AttestRequest {
  readonly caller: Reviewed;
  /** Metadata `clusterid`; undefined when absent. */
  readonly clusterId: string | undefined;
  /** Request metadata `ImpersonatedIdentity`; undefined when absent. */
  readonly impersonated: string | undefined;
}

export interface AttestRules {
  readonly clusterId: string;
  /** The first is the mesh's own; the others are its aliases. */
  readonly trustDomains: readonly [string, ...string[]];
  /** `namespace/serviceaccount` of the proxies that may speak for pods of their node. */
  readonly trustedNodeAccounts: ReadonlySet<string>;
}

export type Attested =
  | { readonly ok: true; readonly identity: Identity; readonly impersonated: boolean }
  | { readonly ok: false; readonly reason: string };

/** Reasons are for the log only: the client gets one constant text. */
export function attest(request: AttestRequest, rules: AttestRules, pods: PodLookup): Attested {
  const { caller, impersonated } = request;
  if (impersonated === undefined) {
    const identity = { trustDomain: rules.trustDomains[0], namespace: caller.namespace, serviceAccount: caller.serviceAccount };
    return { ok: true, identity, impersonated: false };
  }
  const account = `${caller.namespace}/${caller.serviceAccount}`;
  if (request.clusterId === undefined || request.clusterId === "") return no("impersonation without clusterid metadata");
  if (request.clusterId !== rules.clusterId) return no(`clusterid "${shown(request.clusterId)}" is not this cluster (${rules.clusterId})`);
  if (!rules.trustedNodeAccounts.has(account)) return no(`${account} is not a trusted node account`);
  const wanted = parseIdentity(impersonated);
  if (!wanted.ok) return no(`impersonated identity: ${wanted.error}`);
  if (!rules.trustDomains.includes(wanted.value.trustDomain))
    return no(`impersonated identity: trust domain "${wanted.value.trustDomain}" is not one of this mesh`);
  const node = nodeOf(caller, pods);
  if (!node.ok) return node;
  const { namespace, serviceAccount } = wanted.value;
  for (const pod of pods.onNode(node.name, namespace, serviceAccount))
    if (pod.phase !== "Failed") return { ok: true, identity: wanted.value, impersonated: true };
  return no(`no pod of ${namespace}/${serviceAccount} that could run is on node ${node.name}`);
}

function nodeOf(caller: Reviewed, pods: PodLookup): { ok: true; name: string } | { ok: false; reason: string } {
  const { namespace, podName, podUid } = caller;
  if (podName === undefined || podUid === undefined) return no("the token is not bound to a pod");
  const pod = pods.pod(namespace, podName);
  if (pod === undefined) return no(`the caller's pod ${namespace}/${podName} is not known`);
  if (pod.uid !== podUid) return no(`the caller's pod ${namespace}/${podName} has uid ${pod.uid}, the token says ${podUid}`);
  if (pod.serviceAccount !== caller.serviceAccount)
    return no(`the caller's pod ${namespace}/${podName} runs as ${pod.serviceAccount}, the token says ${caller.serviceAccount}`);
  if (pod.nodeName === "") return no(`the caller's pod ${namespace}/${podName} is on no node`);
  return { ok: true, name: pod.nodeName };
}

const no = (reason: string): { ok: false; reason: string } => ({ ok: false, reason });
const shown = (s: string): string => s.slice(0, 200).replace(/[^\x20-\x7e]/g, "?");
