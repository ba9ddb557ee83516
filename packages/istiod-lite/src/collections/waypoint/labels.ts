// Owns the labels of workloads that waypoints need beside addresses: only those that some subset, source match or failover order asks for.
import type { Collection, Context, Index } from "@ambit/collections";
import type { RequestMatch, ServiceRoutes, TrafficPolicy, TrafficSettings, WorkloadUid } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import type { EntryInfo } from "../service-entries.ts";
import type { LabelMap, Settings } from "../settings.ts";
import type { DestinationRuleInfo } from "./destination-rule.ts";
import type { VirtualServiceInfo } from "./virtual-service.ts";

/** `label=value` where one value is asked for, `label` where values are compared with each other. */
export interface LabelDemand { readonly key: string; readonly ask: string }
export interface Asked { readonly key: string }
export interface LabelledWorkload { readonly key: WorkloadUid; readonly labels: LabelMap }

const pairs = (labels: LabelMap): string[] => Object.entries(labels).map(([k, v]) => `${k}=${v}`);
const priorities = (t: TrafficSettings): string[] => (t.locality?.failoverPriority ?? []).filter((p) => !p.startsWith("topology."));

export const demandsOfRule = (r: DestinationRuleInfo): LabelDemand[] => demands(`DestinationRule ${r.key}`, r.traffic === undefined ? [] : policyAsks({ ...r.traffic, service: "", origin: r.key }));
export const demandsOfVirtualService = (v: VirtualServiceInfo): LabelDemand[] =>
  demands(`VirtualService ${v.key}`, [...v.http.map((h) => h.route.match), ...v.tls.map((t) => t.route), ...v.tcp.map((t) => t.route)].flatMap((m) => pairs(m.sourceLabels)));
const demands = (from: string, asks: readonly string[]): LabelDemand[] => [...new Set(asks)].map((ask) => ({ key: `${from} ${ask}`, ask }));

/** What the settings of one destination ask of its members (and `failoverPriority` also of clients). */
export const policyAsks = (p: TrafficPolicy): string[] =>
  [...[...p.subsets.values()].flatMap((s) => [...pairs(s.labels), ...priorities(s.settings)]), ...priorities(p.settings), ...[...p.ports.values()].flatMap(priorities)];

/** What routes ask of clients. */
export function sourceAsks(routes: Iterable<ServiceRoutes>): Set<string> {
  const out = new Set<string>();
  const add = (m: Pick<RequestMatch, "sourceLabels">): void => { for (const p of pairs(m.sourceLabels)) out.add(p); };
  for (const r of routes)
    for (const ports of [r.producer, ...r.consumers.values()])
      for (const p of ports.values()) for (const route of p.routes) add("match" in route ? route.match : route);
  return out;
}

const asksOf = (labels: LabelMap): string[] => Object.entries(labels).flatMap(([k, v]) => [k, `${k}=${v}`]);
export const askIndex = (w: LabelledWorkload): string[] => asksOf(w.labels);

/** undefined: nobody asks for any label it has. */
function labelled(ctx: Context, asked: Collection<Asked>, uid: WorkloadUid, labels: LabelMap): LabelledWorkload | undefined {
  const own = new Set(asksOf(labels));
  const keep = ctx.fetch(asked, { where: (a) => own.has(a.key) }).map((a) => a.key.split("=", 1)[0] ?? "");
  return keep.length === 0 ? undefined : { key: uid, labels: Object.fromEntries([...new Set(keep)].sort().map((k) => [k, labels[k] ?? ""])) };
}

const strings = (v: unknown): LabelMap => (typeof v === "object" && v !== null && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).filter((e): e is [string, string] => typeof e[1] === "string")) : {});

export const podLabels = (settings: Settings, asked: Collection<Asked>) => (ctx: Context, o: KubeObject): LabelledWorkload | undefined =>
  labelled(ctx, asked, `${settings.clusterId}//Pod/${o.metadata.namespace ?? ""}/${o.metadata.name}`, o.metadata.labels ?? {});

export const workloadEntryLabels = (settings: Settings, asked: Collection<Asked>) => (ctx: Context, o: KubeObject): LabelledWorkload | undefined =>
  labelled(ctx, asked, `${settings.clusterId}/networking.istio.io/WorkloadEntry/${o.metadata.namespace ?? ""}/${o.metadata.name}`,
    { ...o.metadata.labels, ...strings((o["spec"] as { labels?: unknown } | undefined)?.labels) });

export const endpointLabels = (settings: Settings, asked: Collection<Asked>) => (ctx: Context, e: EntryInfo): LabelledWorkload[] =>
  (e.spec?.endpoints ?? []).flatMap((end) => labelled(ctx, asked,
    `${settings.clusterId}/networking.istio.io/ServiceEntry/${e.owner.namespace}/${e.owner.name}/${end.address.kind === "ip" ? end.address.ip : end.address.kind === "hostname" ? end.address.hostname : end.network}`, end.labels) ?? []);

export interface LabelInputs {
  readonly labels: Collection<LabelledWorkload>;
  /** Value: an ask. */
  readonly labelsByAsk: Index<LabelledWorkload>;
  /** Value: `namespace/hostname`; items are workloads by uid. */
  readonly membersOf: (ctx: Context, service: string) => readonly WorkloadUid[];
}

/** Of the members of destinations that ask, and of every client that a source match could mean. */
export function labelsFor(ctx: Context, inputs: LabelInputs, routes: Iterable<ServiceRoutes>, traffic: Iterable<TrafficPolicy>): Map<WorkloadUid, LabelMap> {
  const found = new Map<WorkloadUid, LabelMap>();
  const clientAsks = sourceAsks(routes);
  for (const policy of traffic) {
    const asks = policyAsks(policy);
    for (const ask of asks) if (!ask.includes("=")) clientAsks.add(ask);
    if (asks.length === 0) continue;
    for (const uid of inputs.membersOf(ctx, policy.service)) {
      const labels = ctx.fetchOne(inputs.labels, { key: uid })?.labels;
      if (labels !== undefined) found.set(uid, labels);
    }
  }
  for (const ask of clientAsks) for (const w of ctx.fetch(inputs.labels, { index: [inputs.labelsByAsk, ask] })) found.set(w.key, w.labels);
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}
