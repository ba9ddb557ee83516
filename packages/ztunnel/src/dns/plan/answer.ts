// Owns the decision what the mesh answers to a DNS question of a pod, and what it leaves to the name servers.
import { familyOf, type Ip, type Service } from "@ambit/core";
import { keyOf, type StateView } from "@ambit/proxy/state";
import { TYPE_A, TYPE_AAAA, TYPE_AXFR, TYPE_IXFR } from "../protocol/message.ts";

export interface DnsFacts {
  /** Lower case, no final dot. */
  readonly name: string;
  /** Of the question, as on the wire. */
  readonly type: number;
  /** Of the pod that asks. The node agent names it, so it is known even while the control plane is not there. */
  readonly namespace: string;
  readonly network: string;
  /** `cluster.local`. */
  readonly domain: string;
  /** Whose services win when several namespaces have the name. */
  readonly preferredNamespace: string | undefined;
}

export type DnsPlan =
  /** `alias`: the name that has the addresses, when it is not the one asked for. */
  | { readonly kind: "answer"; readonly ips: readonly Ip[]; readonly alias: string | undefined; readonly because: string }
  | { readonly kind: "forward"; readonly because: string }
  | { readonly kind: "refuse"; readonly because: string };

/** Tried in order; the first name that the mesh knows decides. */
export function planAnswer(view: StateView, facts: DnsFacts): DnsPlan {
  if (facts.type === TYPE_AXFR || facts.type === TYPE_IXFR) return { kind: "refuse", because: "transfers of zones are not relayed" };
  if (facts.type !== TYPE_A && facts.type !== TYPE_AAAA) return forward("only A and AAAA are answered here");
  if (facts.name === "") return forward("the root is not of the mesh");
  for (const { name, alias } of candidates(facts)) {
    const found = lookUp(view, name, facts);
    if (found === undefined) continue;
    if (found.ips === undefined) return forward(found.because);
    const family = facts.type === TYPE_A ? 4 : 6;
    const ips = found.ips.filter((ip) => familyOf(ip) === family);
    // No alias without an address: of a pair of questions one may have been answered before capture began, "no such name". The C library
    // takes an alias alone for an answer to the pair, and gives up; after an empty one it tries its next search domain.
    return { kind: "answer", ips, alias: alias && ips.length > 0 ? name : undefined, because: found.because };
  }
  return forward("no service or workload has this name");
}

const forward = (because: string): DnsPlan => ({ kind: "forward", because });

/** No `ips`: a name of the mesh that the name servers answer. An empty list: one that has no address. */
interface Found { readonly ips: readonly Ip[] | undefined; readonly because: string }

function lookUp(view: StateView, name: string, facts: DnsFacts): Found | undefined {
  for (const known of [name, ...wildcards(name)]) {
    const service = preferred(view.servicesNamed(known, facts.namespace), facts);
    if (service !== undefined) return serviceAddresses(view, service, facts);
  }
  const workload = view.workloadNamed(facts.namespace, name);
  // A workload known by its hostname alone is for the name servers to resolve.
  return workload === undefined || workload.addresses.length === 0 ? undefined : { ips: workload.addresses, because: `workload ${workload.uid}` };
}

/** The view ranks by own namespace and canonical; a configured preference breaks what is still a tie. */
function preferred(services: readonly Service[], facts: DnsFacts): Service | undefined {
  const [first] = services;
  if (first === undefined || first.namespace === facts.namespace || first.canonical) return first;
  return services.find((s) => s.namespace === facts.preferredNamespace) ?? first;
}

function serviceAddresses(view: StateView, service: Service, facts: DnsFacts): Found {
  const key = keyOf(service);
  if (service.vips.length > 0) {
    const reachable = service.vips.filter((v) => v.network === facts.network && v.cidr.prefix === (familyOf(v.cidr.ip) === 4 ? 32 : 128));
    return { ips: reachable.map((v) => v.cidr.ip), because: `addresses of service ${key}` };
  }
  if (!service.hostname.endsWith(`.${facts.domain}`)) return { ips: undefined, because: `service ${key} has no address of its own` };
  return { ips: view.endpoints(key).flatMap((e) => e.workload?.addresses ?? []), because: `endpoints of headless service ${key}` };
}

interface Candidate { readonly name: string; /** Another name than the one asked for: the answer needs a CNAME. */ readonly alias: boolean }

/** The name itself and completed as Kubernetes would; then the same without a search domain that a resolver may have appended. */
function* candidates(facts: DnsFacts): Iterable<Candidate> {
  const seen = new Set<string>();
  const { name, domain, namespace } = facts;
  const suffixes = [`${namespace}.svc.${domain}`, `svc.${domain}`, domain];
  const stripped = suffixes.filter((s) => name.endsWith(`.${s}`)).map((s) => name.slice(0, -s.length - 1));
  for (const asked of [name, ...stripped]) {
    for (const full of [asked, ...completions(asked, facts)]) {
      if (seen.has(full)) continue;
      seen.add(full);
      yield { name: full, alias: asked !== name };
    }
  }
}

/** By the number of labels: `svc`, `svc.namespace` (or `pod.svc`), `svc.namespace.svc` (or `pod.svc.namespace`), `pod.svc.namespace.svc`. */
function completions(name: string, { namespace, domain }: DnsFacts): readonly string[] {
  switch (name.split(".").length) {
    case 1: return [`${name}.${namespace}.svc.${domain}`];
    case 2: return [`${name}.svc.${domain}`, `${name}.${namespace}.svc.${domain}`];
    case 3: return [`${name}.${domain}`, `${name}.svc.${domain}`];
    case 4: return [`${name}.${domain}`];
    default: return [];
  }
}

/** `*.b.c`, `*.c` for `a.b.c`. */
function* wildcards(name: string): Iterable<string> {
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) yield `*${name.slice(dot)}`;
}
