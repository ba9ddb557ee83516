// Owns how VirtualService and DestinationRule name services: short names, wildcards, and who sees an object at all (exportTo).
import type { Collection, Context, Index } from "@ambit/collections";
import type { Reader } from "../decode.ts";
import { hostnameOf, type ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";

/** A name without a dot is a Service of the object's own namespace. Lower case. */
export const fullHost = (settings: Settings, namespace: string, host: string): string =>
  (host === "*" || host.includes(".") ? host : hostnameOf(settings, namespace, host)).toLowerCase();

/** `*`, `*.suffix`, or the name itself. */
export const hostCovers = (pattern: string, hostname: string): boolean =>
  pattern === hostname || pattern === "*" || (pattern.startsWith("*.") && hostname.endsWith(pattern.slice(1)));

/** Index value of objects with a wildcard; others are found by name. */
export const WILDCARD_HOSTS = "*";
export const hostKeys = (hosts: readonly string[]): string[] => [...new Set(hosts.map((h) => (h.startsWith("*") ? WILDCARD_HOSTS : h)))];

interface Named { readonly namespace: string; readonly name: string; readonly createdAt: number; readonly hosts: readonly string[]; readonly exportTo: readonly string[] }

/** Those for a host that are seen from a namespace: of the most specific name only, oldest first. */
export function forHost<T extends Named>(ctx: Context, all: Collection<T>, byHost: Index<T>, hostname: string, seenFrom: string, of: readonly string[]): T[] {
  const visible = (t: T): boolean => of.includes(t.namespace) && isExported(t, seenFrom);
  const exact = ctx.fetch(all, { index: [byHost, hostname], where: visible });
  const found = exact.length > 0 ? exact : ctx.fetch(all, { index: [byHost, WILDCARD_HOSTS], where: (t) => visible(t) && t.hosts.some((h) => hostCovers(h, hostname)) });
  const best = Math.max(0, ...found.map((t) => specificity(t, hostname)));
  return found.filter((t) => specificity(t, hostname) === best).sort(olderFirst);
}

const specificity = (t: Named, hostname: string): number => Math.max(0, ...t.hosts.filter((h) => hostCovers(h, hostname)).map((h) => (h === hostname ? 1_000 : h.length)));
export const olderFirst = (a: Named, b: Named): number => a.createdAt - b.createdAt || (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1);

/** Nothing said: everybody. */
export const isExported = (t: Pick<Named, "namespace" | "exportTo">, namespace: string): boolean => t.exportTo.length === 0 || t.exportTo.some((e) => e === "*" || e === namespace || (e === "." && t.namespace === namespace));

export function exportsOf(reader: Reader, value: unknown): string[] {
  return (reader.list(value, "spec.exportTo") ?? []).flatMap((e, i) => {
    const text = reader.text(e, `spec.exportTo[${i}]`);
    return text === undefined ? [] : [text];
  });
}

/** The services that a host means. */
export const servicesOf = (ctx: Context, services: Collection<ServiceInfo>, byHost: Index<ServiceInfo>, host: string): ServiceInfo[] =>
  (host.startsWith("*") ? ctx.fetch(services, { where: (s) => hostCovers(host, s.service.hostname) }) : ctx.fetch(services, { index: [byHost, host] }));
