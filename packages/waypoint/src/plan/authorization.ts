// Owns authorization at a waypoint: which policies apply to a request, what is asked of providers, and the answer that a denial becomes.
import {
  authorizeRequest, parseIp, fieldValue, type HttpRoute, type Ip, type PolicyTarget, type RequestAuthzFacts, type RequestDenial, type RequestPolicy, type RequestVerdict, type ServiceKey, type SocketAddress, type WaypointConfig,
} from "@ambit/core";
import type { ConnectionFacts, RequestFacts } from "../facts.ts";
import { denied } from "./reply.ts";
import type { Because, LocalReply, Remark } from "./request-plan.ts";
import { destinationKey } from "./routes.ts";

/** Those on the waypoint and on the service dialled, and those on the route that is taken. Pod traffic meets only the waypoint's. */
export function policiesFor<T extends { readonly targets: readonly PolicyTarget[] }>(list: readonly T[], connection: ConnectionFacts, taken: (target: Extract<PolicyTarget, { kind: "route" }>) => boolean): readonly T[] {
  if (list.length === 0) return list;
  const possible = possiblePolicies(list, destinationKey(connection));
  if (!possible.routed) return possible.list;
  return possible.list.filter((policy) => policy.targets.some((target) => (target.kind === "route" ? possible.key !== undefined && taken(target) : isFor(target, possible.key))));
}

const isFor = (target: PolicyTarget, key: ServiceKey | undefined): boolean => target.kind === "waypoint" || (target.kind === "service" && target.service === key);

type Attached = readonly { readonly targets: readonly PolicyTarget[] }[];
interface Possible<L> { readonly list: L; readonly key: ServiceKey | undefined; /** Which of them apply depends on the route. */ readonly routed: boolean }
/** A configuration's lists never change, so what may apply to a service is found once for each of them. */
const possibleOf = new WeakMap<Attached, Map<ServiceKey | undefined, Possible<Attached>>>();

function possiblePolicies<L extends Attached>(list: L, key: ServiceKey | undefined): Possible<L> {
  let byKey = possibleOf.get(list);
  if (byKey === undefined) possibleOf.set(list, (byKey = new Map()));
  let known = byKey.get(key);
  if (known === undefined) {
    const some = list.filter((p) => p.targets.some((t) => t.kind === "route" || isFor(t, key)));
    byKey.set(key, (known = { list: some, key, routed: some.some((p) => p.targets.some((t) => t.kind === "route")) }));
  }
  // What was stored under a list was made of that list's items.
  return known as Possible<L>;
}

/** A policy on a route names the object, and perhaps one rule of it. */
export const onRoute = (route: Pick<HttpRoute, "origin"> | undefined) => ({ route: target }: Extract<PolicyTarget, { kind: "route" }>): boolean =>
  route !== undefined && target.kind === route.origin.kind && target.namespace === route.origin.namespace && target.name === route.origin.name
  && (target.ruleName === undefined || target.ruleName === route.origin.ruleName);

export interface Judged {
  /** Normalised. */
  readonly path: string;
  /** As the application will see them. */
  readonly fields: readonly string[];
  readonly request: RequestFacts;
}

export function judgeRequest(config: WaypointConfig, policies: readonly RequestPolicy[], { path, fields, request }: Judged): { readonly facts: RequestAuthzFacts; readonly verdict: RequestVerdict } {
  const { connection, method, authority, scheme, token } = request;
  const facts: RequestAuthzFacts = {
    peer: connection.peer, sourceIp: connection.source.ip, remoteIp: remoteIp(config, request), destination: connection.address, sni: undefined,
    http: { method, authority, path, fields, scheme, tokens: token?.kind === "valid" ? token.tokens : [] },
  };
  return { facts, verdict: authorizeRequest(policies, facts) };
}

/** TCP: the parts of each policy that need no request. */
export const judgeConnection = (policies: readonly RequestPolicy[], connection: ConnectionFacts, destination: SocketAddress, sni: string | undefined): RequestVerdict =>
  authorizeRequest(policies, { peer: connection.peer, sourceIp: connection.source.ip, remoteIp: connection.source.ip, destination, sni, http: undefined });

/** With N trusted proxies the (N+1)th entry of X-Forwarded-For from the right, as Envoy; without one, or with fewer entries, the client itself. */
export function remoteIp(config: Pick<WaypointConfig, "trustedProxies">, { connection, fields }: Pick<RequestFacts, "connection" | "fields">): Ip {
  const forwarded = fieldValue(fields, "x-forwarded-for");
  if (forwarded === undefined) return connection.source.ip;
  const parsed = parseIp((forwarded.split(",").at(-1 - config.trustedProxies) ?? "").trim());
  return parsed.ok ? parsed.value : connection.source.ip;
}

export const remarksOf = (verdict: RequestVerdict): readonly Remark[] => verdict.remarks.length === 0 ? NO_REMARKS : verdict.remarks.map(({ kind, policy, rule }) => ({ kind, policy, rule }));

const NO_REMARKS: readonly Remark[] = [];

export function denialReply(verdict: RequestDenial): LocalReply {
  switch (verdict.reason) {
    case "explicit": return denied(policyId(verdict.by.policy, verdict.by.rule));
    case "refused-policy": return denied(`${policyId(verdict.policy, undefined)}-refused`);
    case "no-allow-matched": return denied(undefined);
  }
}

/** As Istio names a policy's rule in logs and traces. */
export function policyId(policy: string, rule: number | undefined): string {
  const [namespace = "", name = ""] = policy.split("/");
  return `ns[${namespace}]-policy[${name}]${rule === undefined ? "" : `-rule[${rule}]`}`;
}

export function explainVerdictShortly(verdict: RequestVerdict): Because {
  const step = "authorization";
  if (verdict.kind === "allow") return { step, saw: verdict.by === "no-allow-policies" ? "no ALLOW policy applies" : policyId(verdict.by.policy, verdict.by.rule), chose: "allow" };
  switch (verdict.reason) {
    case "explicit": return { step, saw: `${policyId(verdict.by.policy, verdict.by.rule)} by ${verdict.by.fields.join(", ") || "everything"}`, chose: "deny" };
    case "refused-policy": return { step, saw: `${policyId(verdict.policy, undefined)} was refused: ${verdict.why}`, chose: "deny" };
    case "no-allow-matched": return { step, saw: `no rule of ${verdict.allowPolicies.join(", ")} matches`, chose: "deny" };
  }
}
