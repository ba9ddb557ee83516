// Owns what an asker may see of connected proxies, in the forms that istioctl reads. Pure.
import type { Identity } from "@ambit/core";
import type { ClientStatus } from "@ambit/xds";

/** Whoever proved to live in the root namespace sees everything, others what is of their namespace (CVE-2026-31838). */
export interface Asker { readonly identity: Pick<Identity, "namespace">; readonly rootNamespace: string }

export const sees = (asker: Asker, client: Pick<ClientStatus, "identity">): boolean =>
  asker.identity.namespace === asker.rootNamespace || client.identity.namespace === asker.identity.namespace;

/** `istio.io/debug/syncz` and `/debug/syncz`: one entry per proxy. */
export interface SyncStatus {
  readonly cluster_id: string;
  readonly proxy: string;
  readonly proxy_type: string;
  readonly istio_version: string;
  readonly resources: Readonly<Record<string, { readonly sent: string; readonly acked: string; readonly lastError?: string }>>;
}

export function syncStatuses(clients: readonly ClientStatus[], asker: Asker, about: { clusterId: string; version: string }): SyncStatus[] {
  return clients.filter((c) => sees(asker, c)).map((c): SyncStatus => ({
    cluster_id: about.clusterId, proxy: c.proxyId, proxy_type: c.role, istio_version: about.version,
    resources: Object.fromEntries(subscribed(c).map(([type, s]) => [type, { sent: s.sentNonce, acked: s.ackedNonce, ...(s.nack === "" ? {} : { lastError: s.nack }) }])),
  }));
}

/** How far a policy has come among the proxies of this replica. */
export interface AppliedPolicy {
  readonly policy: string;
  readonly connected: number;
  /** Hold it as it is served now. */
  readonly applied: number;
  /** Have something unanswered: this policy or another resource of its type. */
  readonly waiting: number;
  readonly refused: number;
  /** Of proxies that the asker may see. */
  readonly refusals: readonly { readonly proxy: string; readonly reason: string }[];
}

/** `policies`: their keys, `namespace/name`; others' namespaces are for the root namespace only. Counts are over all proxies that ask for `type`. */
export function appliedPolicies(policies: readonly string[], type: string, clients: readonly ClientStatus[], asker: Asker): AppliedPolicy[] {
  const asking = clients.flatMap((client) => {
    const s = client.types[type];
    return s === undefined || s.mode === "none" ? [] : [{ client, settled: s.settled, outstanding: new Map(s.outstanding.map((r) => [r.name, r.reason])) }];
  });
  const mine = policies.filter((p) => asker.identity.namespace === asker.rootNamespace || p.startsWith(`${asker.identity.namespace}/`));
  return mine.map((policy) => {
    const refusing = asking.filter((a) => a.outstanding.has(policy));
    const waiting = asking.filter((a) => !a.settled && !a.outstanding.has(policy)).length;
    return {
      policy, applied: asking.length - refusing.length - waiting, connected: asking.length, waiting, refused: refusing.length,
      refusals: refusing.filter((a) => sees(asker, a.client)).map((a) => ({ proxy: a.client.proxyId, reason: a.outstanding.get(policy) ?? "" })),
    };
  });
}

/** Types that the proxy asked for, by name. */
export const subscribed = (c: ClientStatus) => Object.entries(c.types).filter(([, s]) => s.mode !== "none").sort(([a], [b]) => (a < b ? -1 : 1));

/** A proxy by its id, or by `name.namespace`, as istioctl is asked; nothing when the asker may not see it. */
export const proxyFor = (clients: readonly ClientStatus[], asker: Asker, text: string): ClientStatus | undefined =>
  clients.find((c) => sees(asker, c) && (c.proxyId === text || c.proxyId.split("~")[2] === text));
