// Owns how one Gateway API route becomes sorted-to-be rules, its parents, and what is to be said of it (gateway-conformance.md §4–§8).
import type { Context } from "@ambit/collections";
import { describeProblems, problem as problemAt, type HttpRoute, type Problem, type RequestMatch, type RouteAction, type RouteOrigin, type TcpRoute, type WeightedBackend } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "../decode.ts";
import { BACKEND_REF_FIELDS, readBackendRef, resolveBackend, type BackendInputs, type RefProblem } from "./backends.ts";
import { BACKEND_FILTERS, decodeFilters, RULE_FILTERS } from "./filters.ts";
import { grpcMatches, httpMatches } from "./match-decode.ts";
import { readParents, type ParentRef } from "./parents.ts";
import { integer } from "./read.ts";
import { retryOf, sessionOf, timeoutsOf } from "./rule-settings.ts";

export type RouteKind = "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute";

/** A condition that says no: reason and words. */
export interface Objection { readonly reason: string; readonly message: string }

export interface RouteInfo {
  /** `kind/namespace/name`. */
  readonly key: string;
  readonly kind: RouteKind;
  readonly namespace: string;
  readonly name: string;
  /** Epoch milliseconds; 0 for objects from files. */
  readonly createdAt: number;
  readonly parents: readonly ParentRef[];
  /** One per match, in the order of the rules; of HTTPRoute and GRPCRoute. */
  readonly http: readonly HttpRoute[];
  /** One per rule; of TLSRoute and TCPRoute. */
  readonly tcp: readonly TcpRoute[];
  /** Nothing of it could be used: it is not accepted, but its parents keep it, so that requests do not fall past it. */
  readonly rejected: Objection | undefined;
  /** Some rules answer 500. */
  readonly partial: string | undefined;
  readonly refs: Objection | undefined;
  /** Everything that was not understood, by path. */
  readonly problems: readonly Problem[];
}

/** Of Gateway API's CRDs. */
const RULES_MAX = 16;
const WEIGHT_MAX = 1_000_000;

/** A rule that cannot be carried out. */
interface Failure extends Objection { readonly problems: readonly Problem[] }

interface RuleOutcome {
  readonly http: readonly HttpRoute[];
  readonly tcp: readonly TcpRoute[];
  readonly problem: Failure | undefined;
  readonly refs: readonly RefProblem[];
}

export function routeOf(inputs: BackendInputs, kind: RouteKind) {
  return (ctx: Context, o: KubeObject): RouteInfo => {
    const { name, namespace = "" } = o.metadata;
    const l4 = kind === "TLSRoute" || kind === "TCPRoute";
    const createdAt = Date.parse(o.metadata.creationTimestamp ?? "") || 0;
    const reader = new Reader();
    const spec = reader.object(o["spec"], "spec", ["parentRefs", "rules", ...(kind === "TCPRoute" ? [] : ["hostnames"])]) ?? {};
    const parents = readParents(reader, spec["parentRefs"], namespace);
    const hosts = kind === "TLSRoute" ? sniHosts(reader, spec["hostnames"]) : [];
    const raw = reader.list(spec["rules"], "spec.rules") ?? (l4 ? [] : [{}]);
    if (raw.length > RULES_MAX) reader.refuse("spec.rules", `has more than ${RULES_MAX} entries`);
    const outcomes = raw.slice(0, RULES_MAX).map((r, rule): RuleOutcome => {
      const origin: RouteOrigin = { kind, namespace, name, rule, ruleName: undefined, match: 0, createdAt };
      return l4 ? l4Rule(ctx, inputs, origin, hosts, r) : httpRule(ctx, inputs, origin, r);
    });
    const whole = reader.problems.length > 0 ? describeProblems(reader.problems) : undefined;
    const bad = outcomes.flatMap((r) => r.problem ?? []);
    const none = bad.length > 0 && bad.length === outcomes.length;
    const refs = outcomes.flatMap((r) => r.refs);
    return {
      key: `${kind}/${namespace}/${name}`, kind, namespace, name, createdAt, parents,
      http: outcomes.flatMap((r) => r.http).map((r) => (whole === undefined ? r : failing(r, whole))),
      tcp: outcomes.flatMap((r) => r.tcp).map((r) => (whole === undefined ? r : { ...r, backends: [{ kind: "invalid", why: whole, weight: 1, filters: NONE }] })),
      rejected: whole !== undefined ? { reason: "UnsupportedValue", message: whole }
        : none ? { reason: bad[0]?.reason ?? "UnsupportedValue", message: joined(bad) } : undefined,
      partial: whole === undefined && bad.length > 0 && !none ? `Dropped Rule: ${joined(bad)}` : undefined,
      refs: refs[0] === undefined ? undefined : { reason: refs[0].reason, message: refs.map((r) => r.message).join("; ") },
      problems: [...reader.problems, ...bad.flatMap((b) => b.problems)],
    };
  };
}

const joined = (all: readonly Objection[]): string => all.map((b) => b.message).join("; ");
const NONE: WeightedBackend["filters"] = { request: undefined, response: undefined, rewrite: undefined, mirrors: [], cors: undefined };
const failing = (r: HttpRoute, why: string): HttpRoute => ({ ...r, action: { kind: "fail", status: 500, why } });

const RULE_FIELDS: Readonly<Record<"HTTPRoute" | "GRPCRoute", readonly string[]>> = {
  HTTPRoute: ["name", "matches", "filters", "backendRefs", "timeouts", "retry", "sessionPersistence"],
  GRPCRoute: ["name", "matches", "filters", "backendRefs", "sessionPersistence"],
};

/** A rule whose matches are not understood matches nothing; one whose rest is not understood answers 500 to what it matches. */
function httpRule(ctx: Context, inputs: BackendInputs, about: RouteOrigin, value: unknown): RuleOutcome {
  const kind = about.kind === "GRPCRoute" ? "GRPCRoute" : "HTTPRoute";
  const path = `spec.rules[${about.rule}]`;
  const matching = new Reader();
  const reader = new Reader();
  const fields = reader.object(value, path, RULE_FIELDS[kind]) ?? {};
  const origin: RouteOrigin = { ...about, ruleName: ruleName(reader, fields, path) };
  const matches: readonly RequestMatch[] = (kind === "GRPCRoute" ? grpcMatches : httpMatches)(matching, fields["matches"], `${path}.matches`);
  if (matching.problems.length > 0) return { http: [], tcp: [], refs: [], problem: failure(matching) };
  const { filters, redirect, externalAuth, incompatible: ofRule, refs } = decodeFilters(reader, fields["filters"], `${path}.filters`, { ctx, inputs, namespace: origin.namespace, allowed: RULE_FILTERS[kind], owner: ownerOf(origin) });
  const backends = backendsOf(ctx, inputs, reader, fields["backendRefs"], `${path}.backendRefs`, origin);
  if (redirect !== undefined && backends.list.length > 0) reader.refuse(`${path}.backendRefs`, "a rule that redirects has no backends");
  const prefixed = redirect?.path?.kind === "prefix" || filters.rewrite?.path?.kind === "prefix" || backends.list.some((b) => b.filters.rewrite?.path?.kind === "prefix" || b.redirectTo?.path?.kind === "prefix");
  if (prefixed && !matches.every((m) => m.path?.kind === "path-prefix")) reader.refuse(`${path}.filters`, "replacePrefixMatch needs matches by PathPrefix");
  const timeouts = timeoutsOf(reader, fields["timeouts"], `${path}.timeouts`);
  const retry = retryOf(reader, fields["retry"], `${path}.retry`);
  const session = sessionOf(reader, fields["sessionPersistence"], `${path}.sessionPersistence`, origin);
  const both = filters.rewrite !== undefined && backends.list.some((b) => b.redirectTo !== undefined) ? problemAt(`${path}.backendRefs`, "the rule's rewrite and a backend's redirect exclude each other") : undefined;
  const incompatible = ofRule ?? backends.incompatible ?? both;
  const problem: Failure | undefined = incompatible !== undefined ? { reason: "IncompatibleFilters", message: describeProblems([incompatible]), problems: [incompatible] } : failure(reader);
  const action: RouteAction = problem !== undefined ? { kind: "fail", status: 500, why: problem.message }
    : externalAuth === "unresolved" ? { kind: "fail", status: 500, why: refs.map((r) => r.message).join("; ") }
    : redirect !== undefined ? { kind: "redirect", redirect }
    : backends.list.length === 0 ? { kind: "fail", status: 500, why: `${path} has no backendRefs` }
    : { kind: "forward", backends: backends.list };
  return {
    tcp: [], problem, refs: [...refs, ...backends.refs],
    http: matches.map((match, i): HttpRoute => ({ origin: { ...origin, match: i }, match, action, filters, timeouts, retry, fault: undefined, session, ...(externalAuth === undefined || externalAuth === "unresolved" || action.kind === "fail" ? {} : { externalAuth }) })),
  };
}

function l4Rule(ctx: Context, inputs: BackendInputs, about: RouteOrigin, hosts: readonly string[], value: unknown): RuleOutcome {
  const path = `spec.rules[${about.rule}]`;
  const reader = new Reader();
  const fields = reader.object(value, path, ["name", "backendRefs"]) ?? {};
  const origin: RouteOrigin = { ...about, ruleName: ruleName(reader, fields, path) };
  const backends = backendsOf(ctx, inputs, reader, fields["backendRefs"], `${path}.backendRefs`, origin);
  const problem = failure(reader);
  return {
    http: [], problem, refs: backends.refs,
    tcp: [{
      origin, sniHosts: hosts, sourceNamespace: undefined, sourceLabels: {},
      backends: problem === undefined ? backends.list : [{ kind: "invalid", why: problem.message, weight: 1, filters: NONE }],
    }],
  };
}

const ownerOf = ({ kind, namespace, name, rule, ruleName }: RouteOrigin): string => `${kind} ${namespace}/${name} rule ${ruleName ?? rule}`;

const failure = (reader: Reader): Failure | undefined =>
  (reader.problems.length === 0 ? undefined : { reason: "UnsupportedValue", message: describeProblems(reader.problems), problems: reader.problems });

function ruleName(reader: Reader, fields: Fields, path: string): string | undefined {
  const name = reader.text(fields["name"], `${path}.name`);
  return name === "" ? undefined : name;
}

function backendsOf(ctx: Context, inputs: BackendInputs, reader: Reader, value: unknown, path: string, origin: RouteOrigin): { list: WeightedBackend[]; refs: RefProblem[]; incompatible: Problem | undefined } {
  const kind = origin.kind === "GRPCRoute" ? "GRPCRoute" : "HTTPRoute";
  const http = origin.kind === "HTTPRoute" || origin.kind === "GRPCRoute";
  const refs: RefProblem[] = [];
  let incompatible: Problem | undefined;
  const list = (reader.list(value, path) ?? []).map((b, i): WeightedBackend => {
    const at = `${path}[${i}]`;
    const fields = reader.object(b, at, [...BACKEND_REF_FIELDS, "weight", ...(http ? ["filters"] : [])]) ?? {};
    const weight = integer(reader, fields["weight"], `${at}.weight`, 0, WEIGHT_MAX) ?? 1;
    const own = decodeFilters(reader, fields["filters"], `${at}.filters`, { ctx, inputs, namespace: origin.namespace, allowed: BACKEND_FILTERS[kind], owner: ownerOf(origin) });
    refs.push(...own.refs);
    incompatible ??= own.incompatible;
    const settings = { weight, filters: own.filters, ...(own.redirect === undefined ? {} : { redirectTo: own.redirect }) };
    const resolved = resolveBackend(ctx, inputs, readBackendRef(reader, fields, at), origin.namespace);
    if (resolved.ok) return { kind: "service", backend: resolved.backend, ...settings };
    refs.push({ reason: resolved.problem.reason, message: `${at}: ${resolved.problem.message}` });
    return { kind: "invalid", why: resolved.problem.message, ...settings };
  });
  return { list, refs, incompatible };
}

/** Exact, or `*.suffix`. Lower case. */
function sniHosts(reader: Reader, value: unknown): string[] {
  return (reader.list(value, "spec.hostnames") ?? []).flatMap((h, i) => {
    const text = reader.text(h, `spec.hostnames[${i}]`)?.toLowerCase();
    if (text === undefined || /^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(text)) return text ?? [];
    return reader.refuse(`spec.hostnames[${i}]`, `"${text.slice(0, 80)}" is not a hostname`) ?? [];
  });
}
