// Owns label and field selectors: parsing them from query strings and matching objects.
import { asObject, asStringMap, asStrings, asObjects, asString, type Json, type JsonObject } from "./json.ts";
import { badRequest } from "./status.ts";

/** More requirements than any client sends; bounds the work per object. */
const MAX_REQUIREMENTS = 100;

type Operator = "=" | "!=" | "in" | "notin" | "exists" | "absent" | ">" | "<";

interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

export type Selector = readonly Requirement[];

const KEY = /^(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;

/** Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`; throws 400 naming the part. */
export function parseLabelSelector(text: string): Selector {
  const parts = splitOutsideParens(text);
  if (parts.length > MAX_REQUIREMENTS) throw badRequest(`labelSelector has more than ${MAX_REQUIREMENTS} requirements`);
  return parts.map((part) => {
    const requirement = parseRequirement(part);
    const ordered = requirement.operator !== ">" && requirement.operator !== "<" ? true : /^[+-]?\d+$/.test(requirement.values[0] ?? "");
    const sane = ordered && KEY.test(requirement.key) && requirement.values.every((value) => VALUE.test(value) && value.length <= 63);
    if (!sane) throw badRequest(`unable to parse requirement: ${JSON.stringify(part)} in labelSelector ${JSON.stringify(text)}`);
    return requirement;
  });
}

function parseRequirement(part: string): Requirement {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part);
  if (set !== null) {
    const values = (set[3] ?? "").split(",").map((value) => value.trim());
    return { key: set[1] as string, operator: set[2] as "in" | "notin", values };
  }
  if (part.startsWith("!")) return { key: part.slice(1).trim(), operator: "absent", values: [] };
  const binary = /^([^=!<>\s]+)\s*(==|=|!=|>|<)\s*([^=!<>\s]*)$/.exec(part);
  if (binary === null) return { key: part, operator: "exists", values: [] };
  const operator = binary[2] === "==" ? "=" : (binary[2] as Operator);
  return { key: binary[1] as string, operator, values: [binary[3] ?? ""] };
}

function splitOutsideParens(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const char = text[i];
    if (char === "(") depth += 1;
    if (char === ")") depth -= 1;
    if (char !== undefined && (char !== "," || depth > 0)) continue;
    parts.push(text.slice(start, i).trim());
    start = i + 1;
  }
  // A part may be missing only at the end.
  return parts.at(-1) === "" ? parts.slice(0, -1) : parts;
}

export function matchesLabels(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  return selector.every((requirement) => {
    const present = Object.hasOwn(labels, requirement.key);
    const value = present ? (labels[requirement.key] as string) : "";
    switch (requirement.operator) {
      case "exists":
        return present;
      case "absent":
        return !present;
      case "=":
        return present && value === requirement.values[0];
      case "!=":
        return !present || value !== requirement.values[0];
      case "in":
        return present && requirement.values.includes(value);
      case "notin":
        return !present || !requirement.values.includes(value);
      case ">":
        return present && Number(value) > Number(requirement.values[0]);
      case "<":
        return present && Number(value) < Number(requirement.values[0]);
    }
  });
}

/** A LabelSelector object (matchLabels, matchExpressions); null when it has an unknown operator. */
export function labelSelectorOf(value: Json | undefined): Selector | null {
  const spec = asObject(value);
  const selector: Requirement[] = Object.entries(asStringMap(spec["matchLabels"])).map(([key, wanted]) => {
    return { key, operator: "=" as const, values: [wanted] };
  });
  for (const expression of asObjects(spec["matchExpressions"])) {
    const operator = EXPRESSIONS[asString(expression["operator"])];
    if (operator === undefined) return null;
    selector.push({ key: asString(expression["key"]), operator, values: asStrings(expression["values"]) });
  }
  return selector;
}

const EXPRESSIONS: Record<string, Operator | undefined> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "absent",
};

/** The query-string form of a selector, as status.selector of a Scale carries it. */
export function formatSelector(selector: Selector): string {
  const texts = selector.map(({ key, operator, values }) => {
    if (operator === "exists") return key;
    if (operator === "absent") return `!${key}`;
    if (operator === "in" || operator === "notin") return `${key} ${operator} (${[...values].sort().join(",")})`;
    return `${key}${operator}${values[0] ?? ""}`;
  });
  return texts.sort().join(",");
}

interface FieldRequirement {
  readonly field: string;
  readonly equal: boolean;
  readonly value: string;
}

export type FieldSelector = readonly FieldRequirement[];

/** Parses `a=b,c!=d`; fields outside `known` are refused with upstream's text. */
export function parseFieldSelector(text: string, known: readonly string[]): FieldSelector {
  const parts = text.split(",").filter((part) => part !== "");
  if (parts.length > MAX_REQUIREMENTS) throw badRequest(`fieldSelector has more than ${MAX_REQUIREMENTS} requirements`);
  return parts.map((part) => {
    const match = /^([^=!]+?)\s*(==|=|!=)(.*)$/s.exec(part);
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
    const field = (match[1] as string).trim();
    if (!known.includes(field)) throw badRequest(`field label not supported: ${field}`);
    return { field, equal: match[2] !== "!=", value: match[3] ?? "" };
  });
}

export function matchesFields(selector: FieldSelector, fields: Readonly<Record<string, string>>): boolean {
  return selector.every(({ field, equal, value }) => ((fields[field] ?? "") === value) === equal);
}

export function labelsOf(object: JsonObject): Record<string, string> {
  return asStringMap(asObject(object["metadata"])["labels"]);
}
