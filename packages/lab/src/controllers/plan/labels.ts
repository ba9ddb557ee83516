// Owns matching of label selectors, and of the node selector terms that share their operators.
import type { LabelSelector, SelectorExpression } from "./model.ts";

export type Labels = Readonly<Record<string, string>>;

/** A missing selector matches nothing, an empty one everything; an unknown operator matches nothing. */
export function matchesSelector(selector: LabelSelector | null | undefined, labels: Labels | undefined): boolean {
  if (selector === undefined || selector === null) return false;
  const have = labels ?? {};
  if (!isSubset(selector.matchLabels ?? {}, have)) return false;
  return (selector.matchExpressions ?? []).every((e) => matchesExpression(e, have));
}

export function isSubset(wanted: Labels, have: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => Object.hasOwn(have, key) && have[key] === value);
}

/** Gt and Lt are the node selector's own; the API server refuses them in label selectors. */
export function matchesExpression(expression: SelectorExpression, labels: Labels): boolean {
  const { key, operator, values = [] } = expression;
  const present = Object.hasOwn(labels, key);
  const value = present ? (labels[key] ?? "") : "";
  switch (operator) {
    case "In": return present && values.includes(value);
    case "NotIn": return !present || !values.includes(value);
    case "Exists": return present;
    case "DoesNotExist": return !present;
    case "Gt": return present && isInteger(value) && Number(value) > Number(values[0]);
    case "Lt": return present && isInteger(value) && Number(value) < Number(values[0]);
    default: return false;
  }
}

function isInteger(text: string): boolean {
  return /^-?\d+$/.test(text);
}

/** True when the selector selects everything: such a controller would adopt the whole namespace. */
export function isEmptySelector(selector: LabelSelector | undefined): boolean {
  return Object.keys(selector?.matchLabels ?? {}).length === 0 && (selector?.matchExpressions ?? []).length === 0;
}
