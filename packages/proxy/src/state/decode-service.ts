// Owns istio.workload.Service → Service.
import type { LoadBalancing, Problem, Result, Service, ServicePort, Vip } from "@ambit/core";
import { err, ok } from "@ambit/core";
import { anyIs, anyUnpack, durationMs, DurationSchema } from "@bufbuild/protobuf/wkt";
import { CLIENT_AFFINITY, type workload } from "@ambit/proto";
import { cidr, compact, enumWord, gatewayAddress, optional, port, Problems, required } from "./decode.ts";

// Index = wire number; UNSPECIFIED_SCOPE (0) is an error where it is used.
const SCOPE = [undefined, "region", "zone", "subzone", "node", "cluster", "network"] as const;
const MODE = ["standard", "strict", "failover", "passthrough"] as const;
const HEALTH = ["only-healthy", "allow-all"] as const;
const FAMILIES = ["automatic", "ipv4", "ipv6", "dual"] as const;
const VISIBILITY = ["public", "namespace"] as const;
const APP_PROTOCOL = ["unknown", "http11", "http2", "grpc", "tcp", "tls"] as const;

export function decodeService(s: workload.Service): Result<Service, readonly Problem[]> {
  const p = new Problems();
  const value: Service = {
    name: s.name,
    namespace: s.namespace,
    hostname: required(s.hostname, "hostname", p),
    vips: compact(s.addresses.map((a, i): Vip | undefined => {
      const block = cidr(a.address, a.length ?? a.address.length * 8, `addresses[${i}]`, p);
      return block && { network: a.network, cidr: block };
    })),
    ports: new Map(s.ports.map((x, i): [number, ServicePort] => [x.servicePort, {
      servicePort: port(x.servicePort, `ports[${i}].service_port`, p),
      targetPort: port(x.targetPort, `ports[${i}].target_port`, p),
      appProtocol: enumWord(APP_PROTOCOL, x.appProtocol, `ports[${i}].app_protocol`, p) ?? "unknown",
    }])),
    subjectAltNames: s.subjectAltNames,
    waypoint: optional(s.waypoint, (g) => gatewayAddress(g, "waypoint", p)),
    weightedWaypoints: compact(s.weightedWaypoints.map((w, i) => {
      const at = `weighted_waypoints[${i}].destination`;
      const destination = w.destination === undefined ? p.add(at, "is missing") : gatewayAddress(w.destination, at, p);
      return destination && { destination, weight: w.weight };
    })),
    loadBalancing: optional(s.loadBalancing, (lb): LoadBalancing => ({
      routingPreference: compact(lb.routingPreference.map((scope, i) => enumWord(SCOPE, scope, `load_balancing.routing_preference[${i}]`, p))),
      mode: enumWord(MODE, lb.mode, "load_balancing.mode", p) ?? "strict",
      healthPolicy: enumWord(HEALTH, lb.healthPolicy, "load_balancing.health_policy", p) ?? "only-healthy",
    })),
    ipFamilies: enumWord(FAMILIES, s.ipFamilies, "ip_families", p) ?? "automatic",
    canonical: s.canonical,
    visibility: enumWord(VISIBILITY, s.visibility, "visibility", p) ?? "namespace",
    ...clientAffinity(s.extensions, p),
  };
  return p.list.length === 0 ? ok(value) : err(p.list);
}

/** Our own extension of the workload API, which has no field for it. Other extensions are not for us. */
function clientAffinity(extensions: readonly workload.Extension[], p: Problems): Pick<Service, "clientAffinityMs"> {
  const at = extensions.findIndex((e) => e.name === CLIENT_AFFINITY);
  const config = extensions[at]?.config;
  if (at < 0) return {};
  const idle = config === undefined || !anyIs(config, DurationSchema) ? undefined : anyUnpack(config, DurationSchema);
  const ms = idle === undefined ? 0 : durationMs(idle);
  if (ms <= 0) p.add(`extensions[${at}].config`, "is not a positive google.protobuf.Duration");
  return { clientAffinityMs: ms };
}
