// Owns how an AuthorizationPolicy becomes an L4 policy: understood whole or refused whole (protocol.md §8.5, §14.3–4; ADR 0005).
import type { Context } from "@ambit/collections";
import { policyKey, type Clause, type Policy, type Problem, type Rule } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "./decode.ts";
import { conditionClause, operationMatch, sourceMatch, type Part, type PolicyScope } from "./policy-match.ts";
import { trustDomainsOf, type ScopeInputs } from "./scope.ts";
import { ANNOTATIONS, type LabelMap, type Settings } from "./settings.ts";

/** Which workloads list a policy by name; only policies of scope "workload" have one. */
export interface Attachment {
  /** A namespace, or "*" for all. */
  readonly namespace: string;
  readonly labels: LabelMap;
}

export interface PolicyInfo {
  /** `namespace/name` of the object. */
  readonly key: string;
  /** Undefined: not sent to ztunnels. */
  readonly policy: Policy | undefined;
  readonly attachment: Attachment | undefined;
  readonly outcome: PolicyOutcome;
  readonly generation: number;
  readonly uid: string;
}
type PolicyOutcome =
  /** `remark`: it does what it says, which may not be what was meant. */
  | { readonly kind: "accepted"; readonly remark?: string }
  /** Enforced, but more strictly than written: one text per thing that L4 cannot see. */
  | { readonly kind: "stricter"; readonly remarks: readonly string[] }
  | { readonly kind: "not-sent"; readonly remark: string }
  /** For a waypoint, not for ztunnels. */
  | { readonly kind: "for-waypoint" }
  /** Not understood: everything that it selects is denied. */
  | { readonly kind: "refused"; readonly problems: readonly Problem[] };

const ACTIONS = ["ALLOW", "DENY", "AUDIT", "CUSTOM"] as const;
type Action = (typeof ACTIONS)[number];

/** Matches every connection. */
const DENY_EVERYTHING: readonly Rule[] = [{ clauses: [] }];

export function policyOf(inputs: ScopeInputs) {
  const { settings } = inputs;
  return (ctx: Context, o: KubeObject): PolicyInfo => {
    const { name, namespace = "" } = o.metadata;
    const reader = new Reader();
    const spec = reader.object(o["spec"], "spec", ["selector", "targetRef", "targetRefs", "rules", "action", "provider"]) ?? {};
    const base = { key: policyKey({ namespace, name }), generation: o.metadata.generation ?? 0, uid: o.metadata.uid ?? "" };
    const targeted = reader.map(spec["targetRef"], "spec.targetRef") !== undefined || (reader.list(spec["targetRefs"], "spec.targetRefs") ?? []).length > 0;
    const selector = selectorOf(reader, spec);
    if (targeted && (spec["selector"] ?? undefined) === undefined) return { ...base, policy: undefined, attachment: undefined, outcome: { kind: "for-waypoint" } };
    if (targeted) reader.refuse("spec.selector", "must not be given together with targetRefs");

    const action = reader.oneOf(spec["action"], "spec.action", ACTIONS) ?? "ALLOW";
    if (action !== "CUSTOM" && (spec["provider"] ?? undefined) !== undefined) reader.refuse("spec.provider", "is only for action CUSTOM");
    const rules = rulesOf(reader, spec["rules"], { namespace, trustDomains: trustDomainsOf(ctx, inputs) }, action);
    const where = scopeOf(settings, namespace, selector);
    const shell = { name, namespace, scope: where.scope, dryRun: false } as const;

    if (o.metadata.annotations?.[ANNOTATIONS.dryRun] === "true")
      return { ...base, policy: undefined, attachment: undefined, outcome: reader.problems.length > 0 ? { kind: "refused", problems: reader.problems } : { kind: "not-sent", remark: "dry run policies are not evaluated by ztunnel" } };
    if (reader.problems.length > 0)
      return { ...base, policy: { ...shell, action: "deny", rules: DENY_EVERYTHING }, attachment: where.attachment, outcome: { kind: "refused", problems: reader.problems } };
    if (action === "AUDIT")
      return { ...base, policy: undefined, attachment: undefined, outcome: { kind: "not-sent", remark: "ztunnel does not support the AUDIT action" } };
    const remarks = [...(action === "CUSTOM" ? [CUSTOM_REMARK] : []), ...rules.flatMap((r) => r.remarks)];
    return {
      ...base, attachment: where.attachment,
      policy: { ...shell, action: action === "ALLOW" ? "allow" : "deny", rules: rules.flatMap((r) => (r.rule === undefined ? [] : [r.rule])) },
      outcome: remarks.length === 0 ? { kind: "accepted", ...hint(selector, action, rules.length) } : { kind: "stricter", remarks },
    };
  };
}

/** Both are Istio's meaning, and both surprise. */
function hint(selector: Selector, action: Action, rules: number): { remark?: string } {
  if (selector.kind === "nothing") return { remark: "an empty selector selects no workload: use matchLabels: {} for all of the namespace" };
  if (rules === 0 && action !== "ALLOW") return { remark: `a ${action} policy without rules never matches` };
  return {};
}

/** An external authorizer cannot be asked at L4; not asking must not mean yes. */
const CUSTOM_REMARK = "ztunnel cannot ask an external authorizer: what the rules of this CUSTOM policy match is denied";

type Selector =
  | { readonly kind: "all" }
  | { readonly kind: "labels"; readonly labels: LabelMap }
  /** `selector: {}`: Istio attaches it to nothing. */
  | { readonly kind: "nothing" };

function selectorOf(reader: Reader, spec: Fields): Selector {
  const before = reader.problems.length;
  const selector = reader.object(spec["selector"], "spec.selector", ["matchLabels"]);
  if (selector === undefined) return { kind: "all" };
  const labels = reader.labels(selector["matchLabels"], "spec.selector.matchLabels");
  // Who is meant cannot be told: then it is everyone.
  if (reader.problems.length > before) return { kind: "all" };
  return labels === undefined ? { kind: "nothing" } : { kind: "labels", labels };
}

function scopeOf(settings: Settings, namespace: string, selector: Selector): { scope: Policy["scope"]; attachment: Attachment | undefined } {
  const root = namespace === settings.rootNamespace;
  switch (selector.kind) {
    case "all": return { scope: root ? "global" : "namespace", attachment: undefined };
    case "nothing": return { scope: "workload", attachment: undefined };
    case "labels": return { scope: "workload", attachment: { namespace: root ? "*" : namespace, labels: selector.labels } };
  }
}

interface Translated { readonly rule: Rule | undefined; readonly remarks: readonly string[] }

function rulesOf(reader: Reader, value: unknown, scope: PolicyScope, action: Action): Translated[] {
  return (reader.list(value, "spec.rules") ?? []).map((r, i) => {
    const path = `spec.rules[${i}]`;
    const fields = reader.object(r, path, ["from", "to", "when"]);
    if (fields === undefined) {
      if (r === null) reader.refuse(path, "must be an object, not null");
      return { rule: undefined, remarks: [] };
    }
    const clauses: (readonly Part[])[] = [
      entries(reader, fields["to"], `${path}.to`, "operation", (f, p) => operationMatch(reader, f, p)),
      entries(reader, fields["from"], `${path}.from`, "source", (f, p) => sourceMatch(reader, f, p, scope)),
      ...(reader.someOf(fields["when"], `${path}.when`) ?? []).map((w, k) => [conditionClause(reader, w, `${path}.when[${k}]`, scope)]),
    ].filter((parts) => parts.length > 0);
    return action === "ALLOW" ? allowRule(path, clauses) : denyRule(path, clauses);
  });
}

function entries(reader: Reader, value: unknown, path: string, inner: string, translate: (fields: Fields, path: string) => Part): Part[] {
  return (reader.someOf(value, path) ?? []).map((e, i) => {
    const at = `${path}[${i}]`;
    const fields = reader.map(reader.object(e, at, [inner])?.[inner], `${at}.${inner}`);
    if (fields === undefined || Object.keys(fields).length === 0) {
      reader.refuse(`${at}.${inner}`, "must name at least one attribute");
      return { match: undefined, l7: [] };
    }
    return translate(fields, `${at}.${inner}`);
  });
}

/** A rule that L4 sees only in part must not allow more than the whole would: it is left out. */
function allowRule(path: string, clauses: readonly (readonly Part[])[]): Translated {
  const l7 = clauses.flat().flatMap((p) => p.l7);
  if (l7.length > 0) return { rule: undefined, remarks: [`ztunnel cannot check ${l7.join(", ")}: the rule ${path} is omitted, which allows less`] };
  return { rule: { clauses: clauses.map((parts): Clause => ({ matches: parts.flatMap((p) => (p.match === undefined ? [] : [p.match])) })) }, remarks: [] };
}

/** A DENY loses what L4 cannot see and so denies more. An alternative that has no L4 part is always true: its clause constrains nothing. */
function denyRule(path: string, clauses: readonly (readonly Part[])[]): Translated {
  const l7 = clauses.flat().flatMap((p) => p.l7);
  const kept = clauses.filter((parts) => parts.every((p) => p.match !== undefined));
  const rule: Rule = { clauses: kept.map((parts): Clause => ({ matches: parts.flatMap((p) => (p.match === undefined ? [] : [p.match])) })) };
  if (l7.length === 0) return { rule, remarks: [] };
  const effect = rule.clauses.length === 0 ? "every connection is denied" : `the rule ${path} is enforced without that, which denies more`;
  return { rule, remarks: [`ztunnel cannot check ${l7.join(", ")}: ${effect}`] };
}
