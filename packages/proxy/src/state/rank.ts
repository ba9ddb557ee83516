// Owns who wins when several workloads claim one address, or several services one VIP or hostname.
import { cidrContains, type Ip, type Service, type Workload } from "@ambit/core";

/** Higher wins: a pod that speaks HBONE, another pod, any other HBONE workload, the rest. */
const claim = (w: Workload): number => (w.uid.includes("//Pod/") ? (w.protocol === "hbone" ? 3 : 2) : w.protocol === "hbone" ? 1 : 0);

/** The later of two equal claims wins: a pod that took over a dead pod's address is announced after it. */
export function strongestClaim(workloads: readonly Workload[]): Workload | undefined {
  let best: Workload | undefined;
  for (const w of workloads) if (best === undefined || claim(w) >= claim(best)) best = w;
  return best;
}

export const visibleTo = (service: Service, namespace: string): boolean =>
  service.visibility === "public" || service.namespace === namespace;

/** Own namespace, then canonical, then the order they came in. */
export function bestServices(services: readonly Service[], namespace: string): Service[] {
  const rank = (s: Service): number => (s.namespace === namespace ? 2 : 0) + (s.canonical ? 1 : 0);
  return services.filter((s) => visibleTo(s, namespace)).sort((a, b) => rank(b) - rank(a));
}

/** Among CIDR VIPs: own namespace, then the longest prefix, then canonical. */
export function bestCidrService(services: Iterable<Service>, network: string, ip: Ip, namespace: string): Service | undefined {
  let best: { service: Service; rank: number } | undefined;
  for (const service of services) {
    if (!visibleTo(service, namespace)) continue;
    for (const vip of service.vips) {
      if (vip.network !== network || !cidrContains(vip.cidr, ip)) continue;
      // A prefix has at most 128 bits, so the three parts never overlap.
      const rank = (service.namespace === namespace ? 1000 : 0) + 2 * vip.cidr.prefix + (service.canonical ? 1 : 0);
      if (best === undefined || rank > best.rank) best = { service, rank };
    }
  }
  return best?.service;
}
