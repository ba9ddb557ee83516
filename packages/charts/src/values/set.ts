// Owns `--set a.b[0]=x,c={1,2}`: Helm's way of writing values on a command line.
import { isMap, type Value, type ValueMap } from "../template/value.ts";

/** Entries of a list that a path may name; a typing mistake must not fill the memory. */
const INDEX_MAX = 1000;
type Step = string | number;

/** Lays what `text` says over `values`. Throws an Error saying what is not understood. `asText`: every value is a string. */
export function setValues(values: ValueMap, text: string, asText = false): ValueMap {
  return splitOutside(text, ",").reduce((v, assignment) => {
    const at = assignment.indexOf("=");
    if (at < 1) throw new Error(`"${assignment}" is not KEY=VALUE`);
    return put(v, stepsOf(assignment.slice(0, at)), valueOf(assignment.slice(at + 1), asText)) as ValueMap;
  }, values);
}

/** At separators that are neither escaped nor within braces. */
function splitOutside(text: string, separator: string): string[] {
  const out: string[] = [];
  let part = "";
  let braces = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (c === "\\" && i + 1 < text.length) part += c + (text[++i] as string);
    else if (c === separator && braces === 0) {
      out.push(part);
      part = "";
    } else {
      if (c === "{") braces += 1;
      if (c === "}") braces -= 1;
      part += c;
    }
  }
  return [...out, part];
}

const unescaped = (text: string): string => text.replaceAll(/\\(.)/gs, "$1");

function stepsOf(key: string): Step[] {
  return splitOutside(key, ".").flatMap((part): Step[] => {
    const [, name = "", indices = ""] = /^((?:\\.|[^[\]\\])*)((?:\[\d{1,4}\])*)$/s.exec(part) ?? [];
    if (name === "") throw new Error(`"${key}" is not a path of values such as cni.binDir or tolerations[0].key`);
    return [unescaped(name), ...[...indices.matchAll(/\d+/g)].map(([n]) => Number(n))];
  });
}

function valueOf(text: string, asText: boolean): Value {
  if (text.startsWith("{") && text.endsWith("}")) {
    const inner = text.slice(1, -1);
    return inner === "" ? [] : splitOutside(inner, ",").map((t) => valueOf(t, asText));
  }
  if (asText) return unescaped(text);
  if (text === "null") return null;
  if (text === "true" || text === "false") return text === "true";
  return /^-?(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : unescaped(text);
}

function put(into: Value, [step, ...rest]: readonly Step[], value: Value): Value {
  if (step === undefined) return value;
  if (typeof step === "string") {
    const map = isMap(into) ? into : {};
    return Object.fromEntries([...Object.entries(map), [step, put(Object.hasOwn(map, step) ? map[step] : undefined, rest, value)]]);
  }
  if (step > INDEX_MAX) throw new Error(`[${step}] is above ${INDEX_MAX}`);
  const list: Value[] = Array.isArray(into) ? [...into] : [];
  // Entries before it that nobody names are null, as Helm has it.
  while (list.length < step) list.push(null);
  list[step] = put(list[step], rest, value);
  return list;
}
