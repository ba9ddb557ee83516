// Decides which labels a Kubernetes label selector selects. What cannot be read selects nothing.
import { list, record, stringMap, text } from "../model/facts.ts";

export type Labels = Readonly<Record<string, string>>;

export const hasLabels = (wanted: Labels, labels: Labels): boolean => Object.entries(wanted).every(([k, v]) => labels[k] === v);

/** matchLabels and matchExpressions; an empty selector selects everything. */
export function selects(selector: unknown, labels: Labels): boolean {
  const { matchLabels, matchExpressions } = record(selector);
  return hasLabels(stringMap(matchLabels), labels) && list(matchExpressions).every((e) => {
    const { key, operator, values } = record(e);
    const value = labels[text(key)];
    switch (operator) {
      case "In": return value !== undefined && list(values).includes(value);
      case "NotIn": return value === undefined || !list(values).includes(value);
      case "Exists": return value !== undefined;
      case "DoesNotExist": return value === undefined;
      default: return false;
    }
  });
}
