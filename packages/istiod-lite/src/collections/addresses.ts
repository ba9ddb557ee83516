// Owns the union of everything addressable under its wire name and aliases (protocol.md §1.8).
import { networkAddressKey, type Service, type Workload } from "@ambit/core";
import type { ServiceInfo } from "./services.ts";

export type Address =
  | { readonly kind: "workload"; readonly name: string; readonly aliases: readonly string[]; readonly workload: Workload }
  | { readonly kind: "service"; readonly name: string; readonly aliases: readonly string[]; readonly service: Service; readonly ingressUseWaypoint: boolean };

/** Host network workloads share the node's address: they are not found by it. */
export const workloadAddress = (w: Workload): Address => ({
  kind: "workload", name: w.uid, workload: w,
  aliases: w.hostNetwork ? [] : w.addresses.map((ip) => networkAddressKey(w.network, ip)),
});

export const serviceAddress = (s: ServiceInfo): Address => ({
  kind: "service", name: s.key, service: s.service, ingressUseWaypoint: s.ingressUseWaypoint,
  aliases: s.service.vips.map((v) => {
    const full = v.cidr.prefix === (v.cidr.ip.includes(":") ? 128 : 32);
    return full ? networkAddressKey(v.network, v.cidr.ip) : `${networkAddressKey(v.network, v.cidr.ip)}/${v.cidr.prefix}`;
  }),
});
