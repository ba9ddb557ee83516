// Owns what a pod finds in /etc/resolv.conf and /etc/hosts, and its host name.
import type { NodePod } from "./pod-spec.ts";

export interface DnsFacts { readonly clusterDns: string; readonly clusterDomain: string; readonly nodeName: string; readonly nodeResolvConf: string }

/** Linux' own bound on a host name. */
const HOSTNAME_MAX = 63;

export function hostnameOf(pod: NodePod, nodeName: string): string {
  if (pod.spec.hostNetwork === true) return nodeName;
  const name = pod.spec.hostname ?? pod.metadata.name;
  return name.slice(0, HOSTNAME_MAX).replace(/[-.]+$/, "");
}

/** resolv.conf by dnsPolicy and dnsConfig; ClusterFirst of a hostNetwork pod is Default (only ClusterFirstWithHostNet is not). */
export function resolvConf(pod: NodePod, dns: DnsFacts): string {
  const policy = pod.spec.dnsPolicy ?? "ClusterFirst";
  const cluster = policy === "ClusterFirstWithHostNet" || (policy === "ClusterFirst" && pod.spec.hostNetwork !== true);
  const base = policy === "None" ? { nameservers: [], searches: [], options: [] } : cluster ? clusterResolver(pod, dns) : parseResolvConf(dns.nodeResolvConf);
  const extra = pod.spec.dnsConfig ?? {};
  const nameservers = unique([...base.nameservers, ...(extra.nameservers ?? [])]);
  const searches = unique([...base.searches, ...(extra.searches ?? [])]);
  const options = new Map(base.options);
  for (const o of extra.options ?? []) options.set(o.name, o.value);
  const lines = nameservers.map((n) => `nameserver ${n}`);
  if (searches.length > 0) lines.push(`search ${searches.join(" ")}`);
  if (options.size > 0) lines.push(`options ${[...options].map(([k, v]) => (v === undefined || v === "" ? k : `${k}:${v}`)).join(" ")}`);
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

interface Resolver { readonly nameservers: string[]; readonly searches: string[]; readonly options: [string, string | undefined][] }

function clusterResolver(pod: NodePod, dns: DnsFacts): Resolver {
  const d = dns.clusterDomain;
  return { nameservers: [dns.clusterDns], searches: [`${pod.metadata.namespace}.svc.${d}`, `svc.${d}`, d], options: [["ndots", "5"]] };
}

function parseResolvConf(text: string): Resolver {
  const out: Resolver = { nameservers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    const [word, ...rest] = line.trim().split(/\s+/);
    if (word === "nameserver" && rest[0] !== undefined) out.nameservers.push(rest[0]);
    if (word === "search") out.searches.splice(0, out.searches.length, ...rest);
    if (word === "options") for (const o of rest) { const [k = "", v] = o.split(":", 2); out.options.push([k, v]); }
  }
  return out;
}

export function hostsFile(pod: NodePod, podIP: string, nodeName: string, clusterDomain: string): string {
  const hostname = hostnameOf(pod, nodeName);
  const fqdn = pod.spec.subdomain === undefined || pod.spec.hostNetwork === true ? undefined : `${hostname}.${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}`;
  const lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", "fe00::0\tip6-localnet", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters"];
  lines.push(`${podIP}\t${fqdn === undefined ? "" : `${fqdn}\t`}${hostname}`);
  for (const alias of pod.spec.hostAliases ?? []) lines.push(`${alias.ip}\t${(alias.hostnames ?? []).join("\t")}`);
  return `${lines.join("\n")}\n`;
}

const unique = (list: readonly string[]): string[] => [...new Set(list)];
