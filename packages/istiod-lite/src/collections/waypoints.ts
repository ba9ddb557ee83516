// Owns which waypoint a service or workload is bound to, and why not (protocol.md §7.4).
import type { Collection, Context, Index } from "@ambit/collections";
import { parseIp, type GatewayAddress } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader } from "./decode.ts";
import { matchesSelector, readSelector, type LabelSelector } from "./label-selector.ts";
import type { NamespaceInfo } from "./namespaces.ts";
import { ANNOTATIONS, HBONE_PORT, LABELS, type LabelMap, type Settings } from "./settings.ts";

type TrafficType = "service" | "workload";

export interface ApplicationTunnel { readonly protocol: "none" | "proxy"; readonly port: number }

/** A Gateway as something to bind to. */
export interface Waypoint {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** `service`, `workload`, `all`, `none`, or a value nobody defined, which admits nothing. */
  readonly serves: string;
  readonly address: GatewayAddress | undefined;
  /** Whether its listener admits routes, and so bindings, from a namespace. */
  readonly admits: { readonly from: "Same" | "All" | "None" } | { readonly from: "Selector"; readonly selector: LabelSelector };
  readonly inbound: ApplicationTunnel | undefined;
  /** Only workloads of this service account in its namespace, without a label of theirs. */
  readonly forServiceAccount: string | undefined;
}

type RefusalReason = "WaypointIsNotReady" | "AttachmentDenied" | "UnsupportedTrafficType" | "CrossNamespaceWaypointForbidden";
export type Binding =
  | { readonly kind: "none" }
  | { readonly kind: "bound"; readonly waypoint: string; readonly address: GatewayAddress; readonly canary: Canary | undefined }
  /** `closed`: where traffic is sent nevertheless, to be refused there: a waypoint that was asked for and is not there is no reason to pass it by (ADR 0026). */
  | { readonly kind: "refused"; readonly waypoint: string; readonly reason: RefusalReason; readonly message: string; readonly closed: GatewayAddress | undefined };
type Canary =
  | { readonly kind: "weighted"; readonly waypoint: string; readonly address: GatewayAddress; readonly weight: number }
  | { readonly kind: "refused"; readonly reason: RefusalReason | "CanaryInvalidWeight" | "CanarySameAsPrimary"; readonly message: string };

export interface WaypointInputs {
  readonly settings: Pick<Settings, "clusterDomain">;
  readonly namespaces: Collection<NamespaceInfo>;
  readonly waypoints: Collection<Waypoint>;
  /** Value: `namespace/serviceaccount`. */
  readonly waypointsByAccount: Index<Waypoint>;
}
/** What asks for a waypoint. */
export interface Bindable {
  readonly namespace: string;
  readonly labels: LabelMap;
  readonly annotations: LabelMap;
  readonly traffic: TrafficType;
  /** Of a workload. */
  readonly serviceAccount?: string;
  /** Nobody outside its namespace may see it: a waypoint elsewhere would. */
  readonly ownNamespaceOnly?: boolean;
}

const NONE: Binding = { kind: "none" };
/** Waypoints and east-west gateways have no waypoint themselves. */
const OWN_MANAGED = ["istio.io-mesh-controller", "istio.io-eastwest-controller"];

export function waypointOf(classes: Collection<KubeObject>) {
  return (ctx: Context, gateway: KubeObject): Waypoint => {
    const { name, namespace = "" } = gateway.metadata;
    const spec = record(gateway["spec"]);
    const gatewayClass = ctx.fetchOne(classes, { key: String(spec["gatewayClassName"] ?? "") });
    const labels = gateway.metadata.labels ?? {};
    const inbound = tunnelOf(gateway.metadata.annotations?.[ANNOTATIONS.inboundBinding] ?? gatewayClass?.metadata.annotations?.[ANNOTATIONS.inboundBinding]);
    return {
      key: `${namespace}/${name}`, namespace, name,
      serves: labels[LABELS.waypointFor] ?? gatewayClass?.metadata.labels?.[LABELS.waypointFor] ?? "service",
      address: addressOf(gateway, namespace), admits: admissionOf(spec, inbound), inbound,
      forServiceAccount: gateway.metadata.annotations?.[ANNOTATIONS.forServiceAccount],
    };
  };
}

export function bindWaypoint(ctx: Context, inputs: WaypointInputs, target: Bindable): Binding {
  if (OWN_MANAGED.includes(target.labels[LABELS.managed] ?? "")) return NONE;
  const space = ctx.fetchOne(inputs.namespaces, { key: target.namespace });
  const own = labelled(target.labels, LABELS.useWaypoint, LABELS.useWaypointNamespace, target.namespace);
  const account = own === undefined && target.serviceAccount !== undefined ? ofAccount(ctx, inputs, target.namespace, target.serviceAccount) : undefined;
  const inherited = own === undefined && account === undefined;
  const named = own ?? account ?? labelled(space?.labels ?? {}, LABELS.useWaypoint, LABELS.useWaypointNamespace, target.namespace);
  if (named === undefined || named.name === "none") return NONE;
  const found = resolve(ctx, inputs, target, named, space);
  if ("reason" in found) {
    // A workload may live in a namespace whose waypoint is for services, as waypoints are by default: that is no mistake.
    if (inherited && target.traffic === "workload" && !isForWorkloads(ctx.fetchOne(inputs.waypoints, { key: `${named.namespace}/${named.name}` }))) return NONE;
    const closed = found.reason === "WaypointIsNotReady" ? expectedAddress(named, inputs.settings.clusterDomain) : undefined;
    const message = closed === undefined ? found.message : `${found.message}: traffic that should pass it is refused until it is ready`;
    return { kind: "refused", waypoint: `${named.namespace}/${named.name}`, reason: found.reason, message, closed };
  }
  return { kind: "bound", ...found, canary: target.traffic === "service" ? canaryOf(ctx, inputs, target, inherited, found.waypoint, space) : undefined };
}

/** By name, should several claim the same account. */
function ofAccount(ctx: Context, inputs: WaypointInputs, namespace: string, serviceAccount: string): Named | undefined {
  const claiming = ctx.fetch(inputs.waypoints, { index: [inputs.waypointsByAccount, `${namespace}/${serviceAccount}`] }).map((w) => w.name).sort();
  return claiming[0] === undefined ? undefined : { name: claiming[0], namespace };
}

/** Where the index of waypoints finds one. */
export const accountOf = (w: Waypoint): string[] => (w.forServiceAccount === undefined ? [] : [`${w.namespace}/${w.forServiceAccount}`]);

const isForWorkloads = (waypoint: Waypoint | undefined): boolean => waypoint?.serves === "all" || waypoint?.serves === "workload";

/** Where the waypoint will be. Until then nothing answers there, and ztunnels refuse what names it. */
const expectedAddress = ({ name, namespace }: Named, clusterDomain: string): GatewayAddress =>
  ({ destination: { kind: "hostname", hostname: { namespace, hostname: `${name === "" ? "unnamed-waypoint" : name}.${namespace}.svc.${clusterDomain}` } }, hbonePort: HBONE_PORT });

/** What a workload or service is sent as its waypoint. */
export const addressOfBinding = (binding: Binding | undefined): GatewayAddress | undefined =>
  binding?.kind === "bound" ? binding.address : binding?.kind === "refused" ? binding.closed : undefined;

interface Named { readonly name: string; readonly namespace: string }
type Refused = { readonly reason: RefusalReason; readonly message: string };

const labelled = (labels: LabelMap, name: string, namespace: string, own: string): Named | undefined => {
  const value = labels[name];
  return value === undefined ? undefined : { name: value, namespace: labels[namespace] ?? own };
};

function resolve(ctx: Context, inputs: WaypointInputs, target: Bindable, named: Named, space: NamespaceInfo | undefined): { waypoint: string; address: GatewayAddress } | Refused {
  const key = `${named.namespace}/${named.name}`;
  if (target.ownNamespaceOnly === true && named.namespace !== target.namespace)
    return { reason: "CrossNamespaceWaypointForbidden", message: `waypoint ${key} is in another namespace, and the mesh keeps this entry to its own` };
  const waypoint = ctx.fetchOne(inputs.waypoints, { key });
  if (waypoint?.address === undefined) return { reason: "WaypointIsNotReady", message: `waypoint ${key} ${waypoint === undefined ? "does not exist" : "has no address yet"}` };
  if (!admitted(waypoint, target.namespace, space)) return { reason: "AttachmentDenied", message: `waypoint ${key} does not admit bindings from namespace ${target.namespace}` };
  if (waypoint.serves !== "all" && waypoint.serves !== target.traffic)
    return { reason: "UnsupportedTrafficType", message: `waypoint ${key} handles ${waypoint.serves} traffic, not ${target.traffic} traffic` };
  return { waypoint: key, address: waypoint.address };
}

function canaryOf(ctx: Context, inputs: WaypointInputs, target: Bindable, inherited: boolean, primary: string, space: NamespaceInfo | undefined): Canary | undefined {
  const own = labelled(target.labels, LABELS.canary, LABELS.canaryNamespace, target.namespace);
  const spaceLabels = space?.labels ?? {};
  const named = own ?? (inherited ? labelled(spaceLabels, LABELS.canary, LABELS.canaryNamespace, target.namespace) : undefined);
  if (named === undefined) return undefined;
  const key = `${named.namespace}/${named.name}`;
  if (key === primary) return { kind: "refused", reason: "CanarySameAsPrimary", message: `canary waypoint ${key} is the primary` };
  const text = target.annotations[ANNOTATIONS.canaryWeight] ?? "";
  if (!/^(100|[1-9]?\d)$/.test(text)) return { kind: "refused", reason: "CanaryInvalidWeight", message: `canary weight "${text}" is not a whole number from 0 to 100` };
  const found = resolve(ctx, inputs, target, named, space);
  return "reason" in found ? { kind: "refused", ...found } : { kind: "weighted", ...found, weight: Number(text) };
}

function admitted(waypoint: Waypoint, namespace: string, space: NamespaceInfo | undefined): boolean {
  switch (waypoint.admits.from) {
    case "All": return true;
    case "None": return false;
    case "Same": return namespace === waypoint.namespace;
    case "Selector": return matchesSelector(waypoint.admits.selector, space?.labels ?? {});
  }
}

const record = (v: unknown): Record<string, unknown> => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : {});
const list = (v: unknown): readonly Record<string, unknown>[] => (Array.isArray(v) ? v.map(record) : []);

/** The Hostname of the status, else its first IP; other kinds of address are not ours. */
function addressOf(gateway: KubeObject, namespace: string): GatewayAddress | undefined {
  const addresses = list(record(gateway["status"])["addresses"]).map((a) => ({ type: String(a["type"] ?? "IPAddress"), value: String(a["value"] ?? "") }));
  const hostname = addresses.find((a) => a.type === "Hostname" && a.value !== "");
  if (hostname !== undefined) return { destination: { kind: "hostname", hostname: { namespace, hostname: hostname.value } }, hbonePort: HBONE_PORT };
  for (const a of addresses) {
    const ip = a.type === "IPAddress" ? parseIp(a.value) : undefined;
    if (ip?.ok === true) return { destination: { kind: "address", address: { network: "", ip: ip.value } }, hbonePort: HBONE_PORT };
  }
  return undefined;
}

/** allowedRoutes of the listener on the inbound binding's port, else of the HBONE listener. */
function admissionOf(spec: Record<string, unknown>, inbound: ApplicationTunnel | undefined): Waypoint["admits"] {
  const listeners = list(spec["listeners"]);
  const bound = inbound === undefined || inbound.port === 0 ? undefined : listeners.find((l) => l["port"] === inbound.port);
  const listener = bound ?? listeners.find((l) => l["port"] === HBONE_PORT && l["protocol"] === "HBONE");
  const namespaces = record(record(listener?.["allowedRoutes"])["namespaces"]);
  const from = namespaces["from"] ?? "Same";
  if (from === "All" || from === "Same") return { from };
  if (from !== "Selector") return { from: "None" };
  const reader = new Reader();
  const selector = readSelector(reader, namespaces["selector"], "selector");
  // One that is not understood admits nothing.
  return reader.problems.length > 0 ? { from: "None" } : { from, selector };
}

/** `PROXY`, `PROXY/15088`, `NONE`, `NONE/80`; anything else binds nothing. */
function tunnelOf(text: string | undefined): ApplicationTunnel | undefined {
  const [protocol, port, ...more] = (text ?? "").split("/");
  if ((protocol !== "PROXY" && protocol !== "NONE") || more.length > 0) return undefined;
  const n = port !== undefined && /^\d{1,5}$/.test(port) && Number(port) <= 65_535 ? Number(port) : 0;
  return { protocol: protocol === "PROXY" ? "proxy" : "none", port: n };
}
