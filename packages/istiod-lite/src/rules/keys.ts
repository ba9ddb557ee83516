// Owns which labels and annotations of the mesh's domains mean something, and which values. Pure; protocol.md §7.1.

/** Prefixes under which a key that is not listed is a slip of the pen. Others of Istio's (sidecar.istio.io …) are for parts that are not here. */
const DOMAINS = ["istio.io/", "ambient.istio.io/", "topology.istio.io/", "networking.istio.io/", "service.istio.io/", "gateway.istio.io/"];

/** Undefined: any value. */
const KEYS: Readonly<Record<string, readonly string[] | undefined>> = {
  "istio.io/dataplane-mode": ["ambient", "none"],
  "istio.io/use-waypoint": undefined, "istio.io/use-waypoint-namespace": undefined,
  "istio.io/use-waypoint-canary": undefined, "istio.io/use-waypoint-canary-namespace": undefined, "istio.io/use-waypoint-canary-weight": undefined,
  "istio.io/waypoint-for": ["service", "workload", "all", "none"],
  "istio.io/ingress-use-waypoint": ["true", "false"],
  "istio.io/rev": undefined, "istio.io/tag": undefined, "istio.io/config": undefined, "istio.io/global": undefined, "istio.io/dry-run": ["true", "false"],
  "istio.io/reroute-virtual-interfaces": undefined, "istio.io/owned-by": undefined, "istio.io/autoRegistrationGroup": undefined,
  "ambient.istio.io/redirection": undefined, "ambient.istio.io/bypass-inbound-capture": ["true", "false"], "ambient.istio.io/dns-capture": ["true", "false"],
  "ambient.istio.io/waypoint-inbound-binding": undefined, "ambient.istio.io/xfcc-include-client-identity": ["true", "false"],
  "topology.istio.io/network": undefined, "topology.istio.io/subzone": undefined, "topology.istio.io/cluster": undefined, "topology.istio.io/controlPlaneClusters": undefined,
  "networking.istio.io/tunnel": undefined, "networking.istio.io/traffic-distribution": undefined, "networking.istio.io/enable-autoallocate-ip": ["true", "false"],
  "networking.istio.io/exportTo": undefined, "networking.istio.io/service-type": undefined, "networking.istio.io/address-type": undefined, "networking.istio.io/gatewayPort": undefined,
  "service.istio.io/canonical-name": undefined, "service.istio.io/canonical-revision": undefined, "service.istio.io/workload-name": undefined,
  "gateway.istio.io/managed": undefined, "gateway.istio.io/name-override": undefined, "gateway.istio.io/service-account": undefined,
  "gateway.istio.io/controller-version": undefined, "gateway.istio.io/defaults-for-class": undefined, "gateway.istio.io/tls-terminate-mode": undefined,
};

export interface KeyRemark { readonly key: string; readonly message: string }

export function remarksOnKeys(pairs: Readonly<Record<string, string>>): KeyRemark[] {
  return Object.entries(pairs).flatMap(([key, value]): KeyRemark[] => {
    if (!DOMAINS.some((d) => key.startsWith(d))) return [];
    if (!Object.hasOwn(KEYS, key)) return [{ key, message: `${key} means nothing to the mesh` }];
    const values = KEYS[key];
    return values === undefined || values.includes(value) ? [] : [{ key, message: `${key} must be one of ${values.join(", ")}, not "${value}"` }];
  });
}
