// Owns Kubernetes label selectors (matchLabels and matchExpressions): strict reading, and the match. Pure.
import { Reader } from "./decode.ts";
import { selects, type LabelMap } from "./settings.ts";

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

export interface LabelSelector {
  readonly matchLabels: LabelMap;
  readonly matchExpressions: readonly { readonly key: string; readonly operator: (typeof OPERATORS)[number]; readonly values: readonly string[] }[];
}

/** An empty selector matches everything; a refused one is in the reader's problems. */
export function readSelector(reader: Reader, value: unknown, path: string): LabelSelector {
  const fields = reader.object(value, path, ["matchLabels", "matchExpressions"]) ?? {};
  const matchExpressions = (reader.list(fields["matchExpressions"], `${path}.matchExpressions`) ?? []).map((e, i) => {
    const at = `${path}.matchExpressions[${i}]`;
    const expression = reader.object(e, at, ["key", "operator", "values"]) ?? {};
    const key = reader.text(expression["key"], `${at}.key`) ?? reader.refuse(`${at}.key`, "is missing") ?? "";
    const operator = (expression["operator"] === undefined ? reader.refuse(`${at}.operator`, "is missing") : reader.oneOf(expression["operator"], `${at}.operator`, OPERATORS)) ?? "Exists";
    const values = (reader.list(expression["values"], `${at}.values`) ?? []).map((v, k) => reader.text(v, `${at}.values[${k}]`) ?? "");
    if ((operator === "In" || operator === "NotIn") && values.length === 0) reader.refuse(`${at}.values`, `must not be empty with ${operator}`);
    return { key, operator, values };
  });
  return { matchLabels: reader.labels(fields["matchLabels"], `${path}.matchLabels`) ?? {}, matchExpressions };
}

export function matchesSelector(selector: LabelSelector, labels: LabelMap): boolean {
  return selects(selector.matchLabels, labels) && selector.matchExpressions.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case "In": return value !== undefined && values.includes(value);
      case "NotIn": return value === undefined || !values.includes(value);
      case "Exists": return value !== undefined;
      case "DoesNotExist": return value === undefined;
    }
  });
}
