// Owns the decision what the mesh answers to a DNS question of a pod, and what it leaves to the name servers.
import { familyOf, type Ip, type Service, type Workload } from "@ambit/core";
import { keyOf } from "../../state/key.ts";
import type { StateView } from "../../state/view.ts";

export interface DnsFacts {
  /** Lower case, no final dot. */
  readonly name: string;
  readonly family: 4 | 6;
  /** The asking pod's workload. */
  readonly client: Workload;
  readonly network: string;
  /** `cluster.local`. */
  readonly domain: string;
  /** Whose services win when several namespaces have the name. */
  readonly preferredNamespace: string | undefined;
}

export type DnsPlan =
  | { readonly kind: "answer"; readonly ips: readonly Ip[]; readonly alias: string | undefined }
  | { readonly kind: "forward" };

/** Tried in order; the first name that the mesh knows decides. */
export function planAnswer(view: StateView, facts: DnsFacts): DnsPlan {
  for (const { name, alias } of candidates(facts)) {
    const ips = addressesOf(view, name, facts);
    if (ips === undefined) continue;
    return { kind: "answer", ips: ips.filter((ip) => familyOf(ip) === facts.family), alias: alias ? name : undefined };
  }
  return { kind: "forward" };
}

/** undefined: not a name of the mesh. An empty list: a name of the mesh without addresses. */
function addressesOf(view: StateView, name: string, facts: DnsFacts): readonly Ip[] | undefined {
  for (const known of [name, ...wildcards(name)]) {
    const service = preferred(view.servicesNamed(known, facts.client.namespace), facts);
    if (service === undefined) continue;
    const ips = serviceAddresses(view, service, facts);
    if (ips !== undefined) return ips;
  }
  const workload = view.workloadNamed(facts.client.namespace, name);
  return workload === undefined || workload.addresses.length === 0 ? undefined : workload.addresses;
}

/** The view ranks by own namespace and canonical; a configured preference breaks what is still a tie. */
function preferred(services: readonly Service[], facts: DnsFacts): Service | undefined {
  const [first] = services;
  if (first === undefined || first.namespace === facts.client.namespace || first.canonical) return first;
  return services.find((s) => s.namespace === facts.preferredNamespace) ?? first;
}

function serviceAddresses(view: StateView, service: Service, facts: DnsFacts): readonly Ip[] | undefined {
  const vips = service.vips.filter((v) => v.network === facts.network && v.cidr.prefix === (familyOf(v.cidr.ip) === 4 ? 32 : 128)).map((v) => v.cidr.ip);
  if (service.vips.length > 0) return vips;
  // Headless: the pods themselves. Outside the cluster's domain a name without addresses is the name servers' affair.
  if (!service.hostname.endsWith(`.${facts.domain}`)) return undefined;
  return view.endpoints(keyOf(service)).flatMap((e) => e.workload?.addresses ?? []);
}

interface Candidate { readonly name: string; /** Another name than the one asked for: the answer needs a CNAME. */ readonly alias: boolean }

function* candidates(facts: DnsFacts): Iterable<Candidate> {
  const { name, domain } = facts;
  const { namespace } = facts.client;
  const labels = name.split(".").length;
  yield { name, alias: false };
  // Short forms, as a resolver with the search list of Kubernetes would complete them.
  const completions: readonly (readonly string[])[] = [[], [`${namespace}.svc.${domain}`], [`svc.${domain}`, `${namespace}.svc.${domain}`], [domain, `svc.${domain}`], [domain]];
  for (const suffix of completions[labels] ?? []) yield { name: `${name}.${suffix}`, alias: false };
  // A resolver may have appended its search list to a complete name.
  for (const search of [`${namespace}.svc.${domain}`, `svc.${domain}`, domain])
    if (name.endsWith(`.${search}`)) yield { name: name.slice(0, -search.length - 1), alias: true };
}

/** `*.b.c`, `*.c` for `a.b.c`. */
function* wildcards(name: string): Iterable<string> {
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) yield `*${name.slice(dot)}`;
}
