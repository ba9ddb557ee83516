// Owns the part of JSONPath that printer columns and scale paths use: members, indexes, [*] and [?(@.a=="b")].
import { isObject, type Json, type JsonObject } from "../json.ts";

/** Longest path accepted, in characters. */
const MAX_PATH_CHARS = 1024;

type Step =
  | { readonly kind: "member"; readonly name: string }
  | { readonly kind: "index"; readonly index: number }
  | { readonly kind: "all" }
  | { readonly kind: "filter"; readonly path: readonly Step[]; readonly equal: boolean; readonly value: Json };

type JsonPath = readonly Step[];

const MEMBER = /^\.?([A-Za-z_$][\w$-]*)/;
const DOTTED = /^\.((?:[^.[\]\\]|\\.)+)/;
const QUOTED = /^\.?\[\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*\]/;
const INDEX = /^\.?\[\s*(-?\d+)\s*\]/;
const ALL = /^(?:\.?\[\s*\*\s*\]|\.\*)/;
const FILTER = /^\.?\[\s*\?\(\s*@((?:\.[\w$-]+)+)\s*(==|!=)\s*(?:'([^']*)'|"([^"]*)"|([\w.+-]+))\s*\)\s*\]/;

/** Null when the path uses something this reader does not know. */
export function parseJsonPath(text: string): JsonPath | null {
  if (text.length > MAX_PATH_CHARS) return null;
  let rest = text.trim();
  if (rest.startsWith("{") && rest.endsWith("}")) rest = rest.slice(1, -1);
  if (rest.startsWith("$")) rest = rest.slice(1);
  const steps: Step[] = [];
  while (rest !== "" && rest !== ".") {
    const found = readStep(rest);
    if (found === null) return null;
    steps.push(found.step);
    rest = rest.slice(found.length);
  }
  return steps;
}

function readStep(rest: string): { step: Step; length: number } | null {
  const filter = FILTER.exec(rest);
  if (filter !== null) {
    const path = parseJsonPath(filter[1] as string);
    if (path === null) return null;
    const value = filter[3] ?? filter[4] ?? literal(filter[5] as string);
    return { step: { kind: "filter", path, equal: filter[2] === "==", value }, length: filter[0].length };
  }
  const all = ALL.exec(rest);
  if (all !== null) return { step: { kind: "all" }, length: all[0].length };
  const index = INDEX.exec(rest);
  if (index !== null) return { step: { kind: "index", index: Number(index[1]) }, length: index[0].length };
  const member = QUOTED.exec(rest) ?? MEMBER_THEN_END(rest) ?? DOTTED.exec(rest);
  if (member === null) return null;
  const name = (member[1] ?? member[2] ?? "").replace(/\\(.)/g, "$1");
  return { step: { kind: "member", name }, length: member[0].length };
}

/** A plain member name must be followed by the next step, else the dotted form (with escapes) is meant. */
function MEMBER_THEN_END(rest: string): RegExpExecArray | null {
  const found = MEMBER.exec(rest);
  if (found === null) return null;
  const next = rest[found[0].length];
  return next === undefined || next === "." || next === "[" ? found : null;
}

function literal(text: string): Json {
  if (text === "true" || text === "false") return text === "true";
  const value = Number(text);
  return Number.isNaN(value) ? text : value;
}

/** Every value the path leads to. */
export function evaluate(path: JsonPath, root: Json): Json[] {
  let values: Json[] = [root];
  for (const step of path) values = values.flatMap((value) => take(step, value));
  return values;
}

function take(step: Step, value: Json): Json[] {
  switch (step.kind) {
    case "member":
      return isObject(value) && Object.hasOwn(value, step.name) ? [value[step.name] as Json] : [];
    case "index": {
      const item = Array.isArray(value) ? value.at(step.index) : undefined;
      return item === undefined ? [] : [item];
    }
    case "all":
      return Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
    case "filter":
      return (Array.isArray(value) ? value : []).filter((item) => {
        const found = evaluate(step.path, item);
        return found.some((candidate) => candidate === step.value) === step.equal;
      });
  }
}

/** Sets the value at a path of plain members, making objects on the way; changes `root`. */
export function assign(path: JsonPath, root: JsonObject, value: Json): void {
  let at = root;
  for (const [i, step] of path.entries()) {
    if (step.kind !== "member") return;
    if (i === path.length - 1) {
      at[step.name] = value;
      return;
    }
    const next = at[step.name];
    if (isObject(next)) at = next;
    else at = at[step.name] = {};
  }
}
