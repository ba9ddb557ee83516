// Owns the functions of templates: Go's and sprig's of these names, and their problems with arguments that would surprise.
import { isMap, isTrue, printed, toJson, toYaml, type Value } from "./value.ts";

type Result = { readonly value: Value } | { readonly problem: string };
/** Spaces of an indentation, more is a mistake. */
const INDENT_MAX = 80;
/** Go's %q writes other control characters in ways of its own. */
// eslint-disable-next-line no-control-regex
const UNQUOTABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u00a0\u00ad\ud800-\udfff\ufeff\u2028\u2029]/u;

const ok = (value: Value): Result => ({ value });
const no = (problem: string): Result => ({ problem });

/** Never throws: arguments that are not understood are a problem in words. */
export function callFunction(name: string, args: readonly Value[]): Result {
  const f = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  if (f === undefined) return no(`the function ${name} is not in the part of the template language that is read here`);
  const [fewest, most, run] = f;
  if (args.length < fewest || args.length > most) return no(`${name} takes ${fewest === most ? fewest : most === Infinity ? `at least ${fewest}` : `${fewest} to ${most}`} arguments, not ${args.length}`);
  return run(args);
}

const FUNCTIONS: Readonly<Record<string, readonly [fewest: number, most: number, run: (args: readonly Value[]) => Result]>> = {
  not: [1, 1, ([v]) => ok(!isTrue(v))],
  and: [1, Infinity, (args) => ok(args.find((a) => !isTrue(a)) ?? args.at(-1))],
  or: [1, Infinity, (args) => ok(args.find((a) => isTrue(a)) ?? args.at(-1))],
  eq: [2, 2, ([a, b]) => compared(a, b, (x, y) => x === y)],
  ne: [2, 2, ([a, b]) => compared(a, b, (x, y) => x !== y)],
  gt: [2, 2, ([a, b]) => (typeof a === "number" && typeof b === "number" ? ok(a > b) : no("gt compares two numbers"))],
  int: [1, 1, ([v]) => (typeof v === "number" && Number.isInteger(v) ? ok(v) : no("int takes a whole number"))],
  default: [2, 2, ([fallback, v]) => ok(isTrue(v) ? v : fallback)],
  dict: [0, Infinity, (args) => {
    if (args.length % 2 !== 0 || args.some((a, i) => i % 2 === 0 && typeof a !== "string")) return no("dict takes pairs of a name and a value");
    return ok(Object.fromEntries(args.flatMap((a, i) => (i % 2 === 0 ? [[a as string, args[i + 1]]] : []))));
  }],
  quote: [1, 1, ([v]) => {
    const p = printed(v);
    if ("problem" in p) return no(p.problem);
    return UNQUOTABLE.test(p.text) ? no("a character of this text cannot be quoted the same way everywhere") : ok(JSON.stringify(p.text));
  }],
  join: [2, 2, ([separator, list]) => {
    if (typeof separator !== "string" || !Array.isArray(list) || list.some((x) => typeof x !== "string")) return no("join takes a separator and a list of strings");
    return ok(list.join(separator));
  }],
  printf: [1, Infinity, ([format, ...args]) => {
    if (typeof format !== "string") return no("printf takes a format");
    const parts = format.split("%s");
    if (parts.some((p) => p.includes("%")) || parts.length - 1 !== args.length || args.some((a) => typeof a !== "string")) return no("printf takes a format with %s only, and as many strings");
    return ok(parts.map((p, i) => (i === 0 ? p : `${String(args[i - 1])}${p}`)).join(""));
  }],
  toYaml: [1, 1, ([v]) => ok(toYaml(v))],
  toJson: [1, 1, ([v]) => ok(toJson(v))],
  nindent: [2, 2, ([spaces, text]) => {
    if (typeof spaces !== "number" || spaces > INDENT_MAX || typeof text !== "string") return no(`nindent takes a number up to ${INDENT_MAX} and a text`);
    const pad = " ".repeat(spaces);
    return ok(`\n${text.split("\n").map((l) => `${pad}${l}`).join("\n")}`);
  }],
};

/** Go refuses to compare what is of two types; so do we. */
function compared(a: Value, b: Value, by: (x: Value, y: Value) => boolean): Result {
  return typeof a !== typeof b || isMap(a) || Array.isArray(a) || a === null || a === undefined ? no("only two strings, two numbers or two booleans can be compared") : ok(by(a, b));
}
