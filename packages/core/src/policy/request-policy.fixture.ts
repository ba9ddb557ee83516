// Builders of L7 policies and facts for tests: everything empty but for what a test says.
import { parseCidr, type Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { HttpAuthzFacts, RequestAuthzFacts, TokenIdentity } from "./authorize-request.ts";
import type { StringMatch } from "./policy.ts";
import type { ConditionKey, Either, PathPattern, PolicyCondition, PolicyOperation, PolicySource, RequestPolicy, RequestRule } from "./request-policy.ts";

const EMPTY = { any: [], not: [] };
/** As the user writes it: `*`, `*x`, `x*`, `x`. */
export function text(written: string): StringMatch {
  if (written === "*") return { kind: "presence" };
  if (written.startsWith("*")) return { kind: "suffix", value: written.slice(1) };
  return written.endsWith("*") ? { kind: "prefix", value: written.slice(0, -1) } : { kind: "exact", value: written };
}
export const path = (written: string): PathPattern => (written.includes("{*}") || written.includes("{**}") ? { kind: "template", value: written } : text(written));
export const block = (written: string): Cidr => { const c = parseCidr(written); if (!c.ok) throw new Error(c.error); return c.value; };
/** `!x` goes to the nots. */
export function either<T>(make: (written: string) => T, written: readonly string[]): Either<T> {
  return { any: written.filter((w) => !w.startsWith("!")).map(make), not: written.filter((w) => w.startsWith("!")).map((w) => make(w.slice(1))) };
}
const account = (written: string) => { const [namespace = "", serviceAccount = ""] = written.split("/"); return { namespace, serviceAccount }; };

type Written<T> = { readonly [K in keyof T]?: readonly string[] };
export const from = (w: Written<PolicySource>): PolicySource => ({
  principals: either(text, w.principals ?? []), namespaces: either(text, w.namespaces ?? []), serviceAccounts: either(account, w.serviceAccounts ?? []), trustDomains: either(text, w.trustDomains ?? []),
  ipBlocks: either(block, w.ipBlocks ?? []), remoteIpBlocks: either(block, w.remoteIpBlocks ?? []), requestPrincipals: either(text, w.requestPrincipals ?? []),
});
export const to = (w: Written<PolicyOperation>): PolicyOperation => ({ hosts: either(text, w.hosts ?? []), methods: either(text, w.methods ?? []), paths: either(path, w.paths ?? []), ports: either(Number, w.ports ?? []) });
export function when(key: ConditionKey, ...written: string[]): PolicyCondition {
  const none = { strings: EMPTY, blocks: EMPTY, ports: EMPTY, accounts: EMPTY };
  switch (key.kind) {
    case "source.ip": case "remote.ip": case "destination.ip": return { key, ...none, blocks: either(block, written) };
    case "destination.port": return { key, ...none, ports: either(Number, written) };
    case "source.serviceAccount": return { key, ...none, accounts: either(account, written) };
    default: return { key, ...none, strings: either(text, written) };
  }
}
export const rule = (more: Partial<RequestRule> = {}): RequestRule => ({ from: [], to: [], when: [], ...more });
export const policy = (action: RequestPolicy["action"], rules: readonly RequestRule[], more: Partial<RequestPolicy> = {}): RequestPolicy =>
  ({ namespace: "ns", name: action, action, provider: action === "custom" ? "opa" : undefined, dryRun: false, targets: [{ kind: "waypoint" }], rules, refused: undefined, ...more });

export const token = (issuer: string, subject: string, claims: Readonly<Record<string, unknown>> = {}): TokenIdentity => ({ issuer, subject, claims });
export const http = (more: Partial<HttpAuthzFacts> = {}): HttpAuthzFacts => ({ method: "GET", authority: "web", path: "/", fields: [], scheme: "http", tokens: [], ...more });
export const facts = (more: Partial<RequestAuthzFacts> = {}): RequestAuthzFacts => ({
  peer: { trustDomain: "cluster.local", namespace: "team", serviceAccount: "client" }, sourceIp: "10.0.0.9" as Ip, remoteIp: "10.0.0.9" as Ip,
  destination: { ip: "10.96.0.1" as Ip, port: 80 }, sni: undefined, http: http(), ...more,
});
