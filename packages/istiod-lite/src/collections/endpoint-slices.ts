// Owns EndpointSlices of services that select no pods: endpoints without a pod become workloads, those with one add to it (§10.1).
import type { Collection, Context } from "@ambit/collections";
import { parseIp, serviceKey, type Ip, type Workload } from "@ambit/core";
import type { EndpointSlice } from "@ambit/kube";
import { NO_LOCALITY } from "./namespaces.ts";
import { gatewayToNetwork, localOf, type GatewayInputs } from "./networks.ts";
import { hostnameOf, type ServiceInfo } from "./services.ts";
import { LABELS, type Settings } from "./settings.ts";

export interface ManualSlice {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** `namespace/hostname`. */
  readonly service: string;
  /** Service port → target port. */
  readonly ports: ReadonlyMap<number, number>;
  readonly pods: readonly { readonly name: string; readonly uid: string }[];
  readonly endpoints: readonly { readonly ips: readonly Ip[]; readonly healthy: boolean }[];
}

export interface SliceInputs {
  readonly settings: Settings;
  readonly services: Collection<ServiceInfo>;
}

/** Slices of services with a selector say nothing that the pods do not: they are left out, and their churn with them. */
export function manualSliceOf(inputs: SliceInputs) {
  return (ctx: Context, slice: EndpointSlice): ManualSlice | undefined => {
    const { name, namespace = "", labels = {} } = slice.metadata;
    const owner = labels[LABELS.serviceName];
    if (owner === undefined || slice.addressType === "FQDN") return undefined;
    const key = serviceKey(namespace, hostnameOf(inputs.settings, namespace, owner));
    const service = ctx.fetchOne(inputs.services, { key });
    if (service === undefined || service.selector !== undefined) return undefined;
    const pods: { name: string; uid: string }[] = [];
    const endpoints: { ips: Ip[]; healthy: boolean }[] = [];
    for (const e of slice.endpoints ?? []) {
      // A pod that is not known yet must not appear as plain host traffic: its own workload will say what it is.
      if (e.targetRef?.kind === "Pod") pods.push({ name: e.targetRef.name ?? "", uid: e.targetRef.uid ?? "" });
      else {
        const ips = e.addresses.flatMap((a) => { const ip = parseIp(a); return ip.ok ? [ip.value] : []; });
        if (ips.length === e.addresses.length && ips.length > 0) endpoints.push({ ips, healthy: e.conditions?.ready !== false });
      }
    }
    return { key: `${namespace}/${name}`, namespace, name, service: key, ports: portsOfSlice(service, slice), pods, endpoints };
  };
}

/** Slice ports belong to service ports by name; only TCP counts. */
function portsOfSlice(service: ServiceInfo, slice: EndpointSlice): Map<number, number> {
  const out = new Map<number, number>();
  for (const p of service.ports) {
    if (!p.tcp) continue;
    const target = slice.ports?.find((q) => (q.name ?? "") === p.name && (q.protocol ?? "TCP") === "TCP")?.port;
    if (target !== undefined) out.set(p.port, target);
  }
  return out;
}

/** Nothing is known of such an endpoint but its address: no identity, no tunnel, no policy. */
export function sliceWorkloads(inputs: GatewayInputs) {
  return (ctx: Context, slice: ManualSlice): Workload[] => {
    const { settings } = inputs;
    const { network, trustDomain } = localOf(ctx, inputs);
    const networkGateway = gatewayToNetwork(ctx, inputs, network);
    return slice.endpoints.map((e): Workload => ({
      uid: `${settings.clusterId}/discovery.k8s.io/EndpointSlice/${slice.namespace}/${slice.name}/${e.ips[0] ?? ""}`,
      name: slice.name, namespace: slice.namespace, addresses: e.ips, hostname: "", network, protocol: "tcp", nativeTunnel: false,
      identity: { trustDomain, namespace: slice.namespace, serviceAccount: "" },
      waypoint: undefined, networkGateway, node: "", canonicalName: "", canonicalRevision: "", workloadType: "pod", workloadName: "",
      authorizationPolicies: [], healthy: e.healthy, clusterId: settings.clusterId, services: new Map([[slice.service, slice.ports]]),
      applicationTunnel: undefined, locality: NO_LOCALITY, hostNetwork: true, capacity: 1,
    }));
  };
}
