// Owns what is local and how other networks are reached: this cluster's network, trust domain, and gateways of class istio-remote (protocol.md §10.1–2).
import type { Collection, Context, Index } from "@ambit/collections";
import { parseIp, type GatewayAddress, type Workload } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { NO_LOCALITY, type NamespaceInfo } from "./namespaces.ts";
import type { MeshScope } from "./scope.ts";
import { LABELS, type Settings } from "./settings.ts";

/** What every workload here has in common. One item, key "local". */
export interface Local {
  readonly key: "local";
  /** A label of the root namespace; "" when it has none. */
  readonly network: string;
  readonly trustDomain: string;
  /** Only some namespaces are read. */
  readonly selective: boolean;
}

export interface LocalInputs {
  readonly settings: Settings;
  readonly local: Collection<Local>;
}

export const localFrom = (settings: Settings, namespaces: Collection<NamespaceInfo>, scope: Collection<MeshScope>) => (ctx: Context): Local => {
  const now = ctx.fetchOne(scope, { key: "mesh" });
  return {
    key: "local", network: ctx.fetchOne(namespaces, { key: settings.rootNamespace })?.labels[LABELS.network] ?? "",
    trustDomain: now?.trustDomain ?? settings.trustDomain, selective: (now?.config.discoverySelectors.length ?? 0) > 0,
  };
};

export const localOf = (ctx: Context, inputs: LocalInputs): Local =>
  ctx.fetchOne(inputs.local, { key: "local" }) ?? { key: "local", network: "", trustDomain: inputs.settings.trustDomain, selective: false };

/** The door to another network. */
export interface NetworkGateway {
  /** `namespace/name/address`. */
  readonly key: string;
  readonly network: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** An IP address or a host name. */
  readonly address: string;
  readonly hbonePort: number;
}

const REMOTE_CLASS = "istio-remote";
const SERVICE_ACCOUNT = "gateway.istio.io/service-account";

/**
 * A Gateway of class istio-remote, with the label of its network and an HBONE listener, stands for a gateway that somebody else runs.
 * Only in the root namespace: Istio takes it from any, and so lets any namespace's owner lead the mesh's traffic to a network elsewhere.
 */
export const networkGatewayOf = (settings: Settings) => (_ctx: Context, gateway: KubeObject): NetworkGateway[] => {
  const { name, namespace = "", labels = {}, annotations = {} } = gateway.metadata;
  if (namespace !== settings.rootNamespace) return [];
  const spec = record(gateway["spec"]);
  const network = labels[LABELS.network] ?? "";
  const listener = list(spec["listeners"]).find((l) => l["protocol"] === "HBONE");
  const port = listener?.["port"];
  if (spec["gatewayClassName"] !== REMOTE_CLASS || network === "" || typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) return [];
  return list(record(gateway["status"])["addresses"]).flatMap((a): NetworkGateway[] => {
    const address = String(a["value"] ?? "");
    if ((a["type"] !== "IPAddress" && a["type"] !== "Hostname") || address === "" || (a["type"] === "IPAddress" && !parseIp(address).ok)) return [];
    return [{ key: `${namespace}/${name}/${address}`, network, namespace, serviceAccount: annotations[SERVICE_ACCOUNT] ?? `${name}-${REMOTE_CLASS}`, address, hbonePort: port }];
  });
};

export interface GatewayInputs extends LocalInputs {
  readonly networkGateways: Collection<NetworkGateway>;
  /** Value: network. */
  readonly gatewaysByNetwork: Index<NetworkGateway>;
}

/** The first gateway of a network by key; the default network, "", has none. */
export function gatewayToNetwork(ctx: Context, inputs: GatewayInputs, network: string): GatewayAddress | undefined {
  if (network === "") return undefined;
  const gateway = ctx.fetchOne(inputs.networkGateways, { index: [inputs.gatewaysByNetwork, network] });
  if (gateway === undefined) return undefined;
  const ip = parseIp(gateway.address);
  return {
    destination: ip.ok ? { kind: "address", address: { network, ip: ip.value } } : { kind: "hostname", hostname: { namespace: gateway.namespace, hostname: gateway.address } },
    hbonePort: gateway.hbonePort,
  };
}

/** A gateway is addressable, so that a ztunnel finds whom to expect there. */
export const gatewayWorkload = (inputs: LocalInputs) => (ctx: Context, g: NetworkGateway): Workload => {
  const ip = parseIp(g.address);
  const uid = `NetworkGateway/${g.network}/${g.address}/${g.hbonePort}`;
  return {
    uid, name: uid, namespace: g.namespace, addresses: ip.ok ? [ip.value] : [], hostname: ip.ok ? "" : g.address, network: g.network, protocol: "tcp", nativeTunnel: false,
    identity: { trustDomain: localOf(ctx, inputs).trustDomain, namespace: g.namespace, serviceAccount: g.serviceAccount },
    waypoint: undefined, networkGateway: undefined, node: "", canonicalName: "", canonicalRevision: "", workloadType: "deployment", workloadName: "",
    authorizationPolicies: [], healthy: true, clusterId: inputs.settings.clusterId, services: new Map(), applicationTunnel: undefined,
    locality: NO_LOCALITY, hostNetwork: false, capacity: 1,
  };
};

const record = (v: unknown): Record<string, unknown> => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : {});
const list = (v: unknown): readonly Record<string, unknown>[] => (Array.isArray(v) ? v.map(record) : []);
