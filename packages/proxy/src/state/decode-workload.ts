// Owns istio.workload.Workload → Workload.
import type { PortMap, Problem, Result, ServiceKey, Workload } from "@ambit/core";
import { err, ok } from "@ambit/core";
import type { workload } from "@ambit/proto";
import { internIdentity, internLocality, internPolicies, internServices, internText } from "./intern.ts";
import { compact, enumWord, gatewayAddress, identity, ip, optional, port, Problems, required } from "./decode.ts";

// Index = wire number. LEGACY_ISTIO_MTLS (2) is never for us, so it has no word.
const TUNNEL = ["tcp", "hbone"] as const;
const TYPE = ["deployment", "cronjob", "pod", "job"] as const;
const STATUS = ["healthy", "unhealthy"] as const;
const NETWORK_MODE = ["standard", "host"] as const;
const APPLICATION_TUNNEL = ["none", "proxy"] as const;
const DEFAULT_CLUSTER = "Kubernetes";

/** `name`: what the resource is called, which should be its uid: equal texts are one then. */
export function decodeWorkload(w: workload.Workload, name = w.uid): Result<Workload, readonly Problem[]> {
  const p = new Problems();
  const tunnel = w.applicationTunnel;
  const value: Workload = {
    uid: required(w.uid === name ? name : w.uid, "uid", p),
    name: w.name,
    namespace: internText(w.namespace),
    addresses: compact(w.addresses.map((a, i) => ip(a, `addresses[${i}]`, p))),
    hostname: w.hostname,
    network: internText(w.network),
    protocol: enumWord(TUNNEL, w.tunnelProtocol, "tunnel_protocol", p) ?? "tcp",
    identity: internIdentity(identity(w, p)),
    waypoint: optional(w.waypoint, (g) => gatewayAddress(g, "waypoint", p)),
    networkGateway: optional(w.networkGateway, (g) => gatewayAddress(g, "network_gateway", p)),
    node: internText(w.node),
    canonicalName: internText(w.canonicalName),
    canonicalRevision: internText(w.canonicalRevision),
    workloadType: enumWord(TYPE, w.workloadType, "workload_type", p) ?? "pod",
    workloadName: internText(w.workloadName),
    nativeTunnel: w.nativeTunnel,
    authorizationPolicies: internPolicies(w.authorizationPolicies),
    healthy: enumWord(STATUS, w.status, "status", p) === "healthy",
    clusterId: internText(w.clusterId || DEFAULT_CLUSTER),
    services: internServices(new Map(Object.entries(w.services).map(([key, list]): [ServiceKey, PortMap] => [key, portMap(key, list, p)]))),
    applicationTunnel: tunnel && {
      protocol: enumWord(APPLICATION_TUNNEL, tunnel.protocol, "application_tunnel.protocol", p) ?? "none",
      port: port(tunnel.port, "application_tunnel.port", p),
    },
    locality: internLocality({ region: w.locality?.region ?? "", zone: w.locality?.zone ?? "", subzone: w.locality?.subzone ?? "" }),
    hostNetwork: enumWord(NETWORK_MODE, w.networkMode, "network_mode", p) === "host",
    capacity: w.capacity ?? 1,
  };
  return p.list.length === 0 ? ok(value) : err(p.list);
}

function portMap(key: ServiceKey, list: workload.PortList, p: Problems): PortMap {
  if (!key.includes("/")) p.add(`services["${key}"]`, "the key is not namespace/hostname");
  return new Map(list.ports.map((x, i) => {
    const at = `services["${key}"].ports[${i}]`;
    return [port(x.servicePort, `${at}.service_port`, p), port(x.targetPort, `${at}.target_port`, p)];
  }));
}
