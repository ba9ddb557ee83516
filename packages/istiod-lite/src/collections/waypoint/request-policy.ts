// Owns how an AuthorizationPolicy with targetRefs becomes an L7 policy: understood whole, or refused and denying (l7-authz.md §1; ADR 0005).
import type { Context } from "@ambit/collections";
import { describeProblems, type PolicyTarget, type Problem, type RequestPolicy, type RequestRule } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader, type Fields } from "../decode.ts";
import { ANNOTATIONS } from "../settings.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { aim, readTargets, type Aimed, type TargetInputs } from "./policy-target.ts";
import type { PolicyScope } from "../policy-match.ts";
import { conditionOf, IDENTITY_FIELDS, isIdentityKey, operationOf, sourceOf } from "./request-match.ts";

/** A policy for waypoints, and where each of its targets led. */
export interface AttachedPolicy<T> {
  /** `namespace/name`. */
  readonly key: string;
  readonly policy: T;
  /** Keys of waypoints, or `*` and a class. */
  readonly waypoints: readonly string[];
  readonly misses: readonly Extract<Aimed, { ok: false }>[];
  readonly remarks: readonly string[];
  /** Not empty: it was refused. */
  readonly problems: readonly Problem[];
}

export interface PolicyInputs extends TargetInputs {
  readonly trustDomains: (ctx: Context) => readonly string[];
  readonly options: (ctx: Context) => MeshOptions;
}

/** A named rule of the targeted routes; Istio's targetRefs have no field for it. */
export const RULE_ANNOTATION = "ambit.mesh/target-rule";

export function attach(ctx: Context, inputs: TargetInputs, reader: Reader, spec: Fields, o: KubeObject): { targets: PolicyTarget[]; waypoints: string[]; misses: Extract<Aimed, { ok: false }>[] } {
  const namespace = o.metadata.namespace ?? "";
  const aimed = readTargets(reader, spec).map((t) => aim(ctx, inputs, t, namespace, o.metadata.annotations?.[RULE_ANNOTATION]));
  return {
    targets: aimed.flatMap((a) => (a.ok ? a.targets : [])), waypoints: [...new Set(aimed.flatMap((a) => (a.ok ? a.waypoints : [])))].sort(),
    misses: aimed.filter((a): a is Extract<Aimed, { ok: false }> => !a.ok),
  };
}

export const isTargeted = (o: KubeObject): boolean => {
  const spec = o["spec"] as Fields | undefined;
  return typeof spec === "object" && spec !== null && ((spec["targetRef"] ?? undefined) !== undefined || (Array.isArray(spec["targetRefs"]) && spec["targetRefs"].length > 0));
};

const ACTIONS = ["ALLOW", "DENY", "AUDIT", "CUSTOM"] as const;
const TRUE = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE = ["0", "f", "F", "FALSE", "false", "False"];
/** Of Istio's CRDs. */
const RULES_MAX = 512;

export function requestPolicyOf(inputs: PolicyInputs) {
  return (ctx: Context, o: KubeObject): AttachedPolicy<RequestPolicy> | undefined => {
    if (!isTargeted(o)) return undefined;
    const { name, namespace = "", annotations = {} } = o.metadata;
    const reader = new Reader();
    const spec = reader.object(o["spec"], "spec", ["targetRef", "targetRefs", "rules", "action", "provider"]) ?? {};
    const where = attach(ctx, inputs, reader, spec, o);
    const action = reader.oneOf(spec["action"], "spec.action", ACTIONS) ?? "ALLOW";
    const provider = reader.text(reader.object(spec["provider"], "spec.provider", ["name"])?.["name"], "spec.provider.name");
    if (action !== "CUSTOM" && (spec["provider"] ?? undefined) !== undefined) reader.refuse("spec.provider", "is only for action CUSTOM");
    if (action === "CUSTOM" && (provider ?? "") === "") reader.refuse("spec.provider.name", "must name a provider for action CUSTOM");
    const rules = rulesOf(reader, spec["rules"], { namespace, trustDomains: inputs.trustDomains(ctx) }, action);
    const dry = annotations[ANNOTATIONS.dryRun];
    const remarks = [
      ...(action === "CUSTOM" && provider !== undefined ? unusable(inputs.options(ctx), provider) : []),
      ...(dry !== undefined && !TRUE.includes(dry) && !FALSE.includes(dry) ? [`the annotation ${ANNOTATIONS.dryRun} is neither true nor false: the policy is enforced`] : []),
      ...(rules.length === 0 && action !== "ALLOW" ? [`a ${action} policy without rules never matches`] : []),
    ];
    return {
      key: `${namespace}/${name}`, waypoints: where.waypoints, misses: where.misses, remarks, problems: reader.problems,
      policy: {
        namespace, name, action: action === "ALLOW" ? "allow" : action === "DENY" ? "deny" : action === "AUDIT" ? "audit" : "custom",
        provider: action === "CUSTOM" ? provider : undefined, dryRun: dry !== undefined && TRUE.includes(dry), targets: where.targets, rules,
        refused: reader.problems.length > 0 ? describeProblems(reader.problems) : undefined,
      },
    };
  };
}

/** What the rules of such a policy match is denied: nobody can be asked. */
function unusable(options: MeshOptions, provider: string): string[] {
  if (options.authorizationProviders.has(provider)) return [];
  return [`there is no provider ${provider} (${options.broken.get(provider) ?? "extensionProviders of the mesh's configuration"}): what the rules match is denied`];
}

function rulesOf(reader: Reader, value: unknown, scope: PolicyScope, action: (typeof ACTIONS)[number]): RequestRule[] {
  const list = reader.list(value, "spec.rules") ?? [];
  if (list.length > RULES_MAX) reader.refuse("spec.rules", `has more than ${RULES_MAX} entries`);
  return list.slice(0, RULES_MAX).map((r, i): RequestRule => {
    const path = `spec.rules[${i}]`;
    const fields = reader.object(r, path, ["from", "to", "when"]);
    if (fields === undefined && r === null) reader.refuse(path, "must be an object, not null");
    const rule: RequestRule = {
      from: entries(reader, fields?.["from"], `${path}.from`, "source", (f, at) => {
        if (action === "CUSTOM") for (const field of IDENTITY_FIELDS) if (f[field] !== undefined) reader.refuse(`${at}.${field}`, "is not known yet when a CUSTOM policy is asked");
        return sourceOf(reader, f, at, scope);
      }),
      to: entries(reader, fields?.["to"], `${path}.to`, "operation", (f, at) => operationOf(reader, f, at)),
      when: (reader.someOf(fields?.["when"], `${path}.when`) ?? []).flatMap((w, k) => conditionOf(reader, w, `${path}.when[${k}]`, scope) ?? []),
    };
    if (action === "CUSTOM")
      for (const [k, c] of rule.when.entries()) if (isIdentityKey(c.key)) reader.refuse(`${path}.when[${k}].key`, "is not known yet when a CUSTOM policy is asked");
    return rule;
  });
}

function entries<T>(reader: Reader, value: unknown, path: string, inner: string, read: (fields: Fields, path: string) => T): T[] {
  return (reader.someOf(value, path) ?? []).flatMap((e, i) => {
    const at = `${path}[${i}]`;
    const fields = reader.map(reader.object(e, at, [inner])?.[inner], `${at}.${inner}`);
    if (fields === undefined || Object.keys(fields).length === 0) return reader.refuse(`${at}.${inner}`, "must name at least one attribute") ?? [];
    return [read(fields, `${at}.${inner}`)];
  });
}
