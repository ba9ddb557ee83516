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

/** Types that the proxy asked for, by name. */
export const subscribed = (c: ClientStatus) => Object.entries(c.types).filter(([, s]) => s.mode !== "none").sort(([a], [b]) => (a < b ? -1 : 1));

/** A proxy by its id, or by `name.namespace`, as istioctl is asked; nothing when the asker may not see it. */
export const proxyFor = (clients: readonly ClientStatus[], asker: Asker, text: string): ClientStatus | undefined =>
  clients.find((c) => sees(asker, c) && (c.proxyId === text || c.proxyId.split("~")[2] === text));
