// Owns which routes a node needs: one to each other node's pods, through that node's address.
import type { Node } from "@ambit/kube";

export interface Route { readonly to: string; readonly via: string }

const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const CIDR = /^\d{1,3}(?:\.\d{1,3}){3}\/\d{1,2}$/;

/** Sorted by destination. A node without a pod CIDR or an address has no route yet. */
export function podRoutes(nodes: readonly Node[], self: string): Route[] {
  const out: Route[] = [];
  for (const n of nodes) {
    if (n.metadata.name === self) continue;
    const via = n.status?.addresses?.find((a) => a.type === "InternalIP")?.address;
    const to = n.spec?.podCIDR;
    if (via !== undefined && to !== undefined && IPV4.test(via) && CIDR.test(to)) out.push({ to, via });
  }
  return out.sort((a, b) => (a.to < b.to ? -1 : 1));
}

/** An `ip -batch` script that turns the routes in force into the wanted ones. */
export function routeChanges(wanted: readonly Route[], inForce: readonly Route[]): string {
  const key = (r: Route) => `${r.to} ${r.via}`;
  const have = new Set(inForce.map(key));
  const want = new Set(wanted.map((r) => r.to));
  return [
    ...inForce.filter((r) => !want.has(r.to)).map((r) => `route del ${r.to} via ${r.via}\n`),
    ...wanted.filter((r) => !have.has(key(r))).map((r) => `route replace ${r.to} via ${r.via}\n`),
  ].join("");
}
