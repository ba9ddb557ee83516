// Owns enablement selectors: which pod and namespace labels put a pod in the mesh.
import { err, ok, problem, type Problem, type Result } from "@ambit/core";

export type Labels = Readonly<Record<string, string>>;
export interface Requirement { readonly key: string; readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; readonly values: readonly string[] }
export interface EnablementSelector { readonly pod: readonly Requirement[]; readonly namespace: readonly Requirement[] }

const MODE = "istio.io/dataplane-mode";
/** Istio's chart default: the pod says ambient, or its namespace does and the pod does not object. */
export const DEFAULT_SELECTORS: readonly EnablementSelector[] = [
  { pod: [{ key: MODE, operator: "In", values: ["ambient"] }], namespace: [] },
  { pod: [{ key: MODE, operator: "NotIn", values: ["none"] }], namespace: [{ key: MODE, operator: "In", values: ["ambient"] }] },
];

/** From the parsed YAML of AMBIENT_ENABLEMENT_SELECTOR: a list of {podSelector, namespaceSelector}. Refused whole on any unknown part. */
export function decodeSelectors(value: unknown): Result<readonly EnablementSelector[]> {
  const problems: Problem[] = [];
  if (!Array.isArray(value)) return err([problem("", "enablement selectors are a list")]);
  const selectors = value.map((entry: unknown, i): EnablementSelector => {
    const at = `[${i}]`;
    const record = recordOf(entry, at, ["podSelector", "namespaceSelector"], problems);
    const part = (name: string) => (record[name] === undefined ? [] : decodeLabelSelector(record[name], `${at}.${name}`, problems));
    return { pod: part("podSelector"), namespace: part("namespaceSelector") };
  });
  return problems.length > 0 ? err(problems) : ok(selectors);
}

function decodeLabelSelector(value: unknown, at: string, problems: Problem[]): Requirement[] {
  const record = recordOf(value, at, ["matchLabels", "matchExpressions"], problems);
  const out: Requirement[] = [];
  for (const [key, wanted] of Object.entries(recordOf(record["matchLabels"] ?? {}, `${at}.matchLabels`, undefined, problems))) {
    if (typeof wanted === "string") out.push({ key, operator: "In", values: [wanted] });
    else problems.push(problem(`${at}.matchLabels.${key}`, "must be text"));
  }
  const expressions = record["matchExpressions"] ?? [];
  if (!Array.isArray(expressions)) problems.push(problem(`${at}.matchExpressions`, "must be a list"));
  else expressions.forEach((e: unknown, i) => {
    const where = `${at}.matchExpressions[${i}]`;
    const { key, operator, values = [] } = recordOf(e, where, ["key", "operator", "values"], problems);
    if (typeof key !== "string" || key === "") problems.push(problem(`${where}.key`, "must be text"));
    else if (operator !== "In" && operator !== "NotIn" && operator !== "Exists" && operator !== "DoesNotExist")
      problems.push(problem(`${where}.operator`, `unknown operator ${JSON.stringify(operator)}: use In, NotIn, Exists or DoesNotExist`));
    else if (!Array.isArray(values) || !values.every((v) => typeof v === "string")) problems.push(problem(`${where}.values`, "must be a list of text"));
    else if (operator.endsWith("In") && values.length === 0) problems.push(problem(`${where}.values`, `${operator} needs at least one value`));
    else out.push({ key, operator, values: values as string[] });
  });
  return out;
}

function recordOf(value: unknown, at: string, known: readonly string[] | undefined, problems: Problem[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    problems.push(problem(at, "must be a mapping"));
    return {};
  }
  for (const key of Object.keys(value)) if (known !== undefined && !known.includes(key)) problems.push(problem(`${at}.${key}`, "unknown field"));
  return value as Record<string, unknown>;
}

/** A missing label satisfies NotIn and DoesNotExist, as in Kubernetes. */
export function matches(requirements: readonly Requirement[], labels: Labels): boolean {
  return requirements.every((r) => {
    const value = labels[r.key];
    switch (r.operator) {
      case "In": return value !== undefined && r.values.includes(value);
      case "NotIn": return value === undefined || !r.values.includes(value);
      case "Exists": return value !== undefined;
      case "DoesNotExist": return value === undefined;
    }
  });
}
