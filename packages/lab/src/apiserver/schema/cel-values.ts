// Owns how JSON becomes CEL values, as a schema types it: integers, times, durations, escaped member names.
import type { CelInput } from "@bufbuild/cel";
import { create } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { isObject, type Json, type JsonObject } from "../json.ts";
import type { Node } from "./schema.ts";

/** Words that CEL keeps for itself: a member of such a name is written `__name__`. */
const RESERVED: ReadonlySet<string> = new Set([
  "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
  "loop", "package", "namespace", "return", "var", "void", "while",
]);

/** The name under which rules reach a member (the escaping that Kubernetes documents). */
function celName(name: string): string {
  if (RESERVED.has(name)) return `__${name}__`;
  return name
    .replaceAll("__", "__underscores__")
    .replaceAll(".", "__dot__")
    .replaceAll("-", "__dash__")
    .replaceAll("/", "__slash__");
}

/** `root`: the value is a resource, of whose metadata only the names are seen. */
export function toCel(value: Json, node: Node | undefined, root: boolean): CelInput {
  if (typeof value === "string") return textToCel(value, node);
  if (typeof value === "number") {
    return Number.isInteger(value) && node?.type !== "number" ? BigInt(value) : value;
  }
  if (Array.isArray(value)) return value.map((item) => toCel(item, node?.items, false));
  if (!isObject(value)) return value;
  return objectToCel(value, node, root || node?.embedded === true);
}

function textToCel(value: string, node: Node | undefined): CelInput {
  const format = node?.type === "string" ? node.schema["format"] : undefined;
  if (format === "date-time") {
    const at = Date.parse(value);
    if (Number.isNaN(at)) return value;
    const seconds = Math.floor(at / 1000);
    return create(TimestampSchema, { seconds: BigInt(seconds), nanos: (at - seconds * 1000) * 1_000_000 });
  }
  if (format === "duration") {
    const nanos = parseDuration(value);
    if (nanos === null) return value;
    return create(DurationSchema, { seconds: nanos / 1_000_000_000n, nanos: Number(nanos % 1_000_000_000n) });
  }
  return value;
}

const UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };

/** Go's duration text in nanoseconds; null when it is none. */
function parseDuration(text: string): bigint | null {
  if (text === "0") return 0n;
  const negative = text.startsWith("-");
  let total = 0;
  const rest = text.replace(/^[+-]/, "").replaceAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g, (_, count: string, unit: string) => {
    total += Number(count) * (UNITS[unit] ?? 0);
    return "";
  });
  if (rest !== "" || text === "") return null;
  return BigInt(Math.round(negative ? -total : total));
}

function objectToCel(value: JsonObject, node: Node | undefined, resource: boolean): CelInput {
  const typed = node !== undefined && node.properties.size > 0;
  const result = new Map<string, CelInput>();
  for (const [key, member] of Object.entries(value)) {
    if (resource && key === "metadata") {
      const metadata = isObject(member) ? member : {};
      const names = Object.entries(metadata).filter(([name]) => name === "name" || name === "generateName");
      result.set(key, new Map(names.map(([name, text]) => [name, toCel(text, undefined, false)])));
      continue;
    }
    const property = node?.properties.get(key);
    if (property === undefined && typed && !(resource && (key === "apiVersion" || key === "kind"))) continue;
    const schema = property ?? (node?.additional === "any" ? undefined : node?.additional);
    result.set(typed ? celName(key) : key, toCel(member, schema, false));
  }
  return result;
}
