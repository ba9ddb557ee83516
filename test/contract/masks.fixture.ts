// Owns what two clusters may differ in: names, versions, times and addresses are shown as words.
import type { Json, JsonObject } from "./wire.fixture.ts";

export interface Masks {
  /** Texts of this run (a namespace, a token) and the word for each. */
  readonly words: ReadonlyMap<string, string>;
  /** managedFields are left out of what a case shows, unless it is about them. */
  readonly managed: boolean;
}

const TIME = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g;
const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;
const ADDRESS = /\b10\.\d{1,3}\.\d{1,3}\.\d{1,3}\b/g;

export function masked(value: Json, masks: Masks, key = ""): Json {
  if (typeof value === "string") return key === "resourceVersion" ? maskedVersion(value) : key === "continue" && value !== "" ? "CONTINUE" : maskedText(value, masks);
  if (typeof value === "number") return key === "nodePort" ? 30000 : value;
  if (Array.isArray(value)) return value.map((item) => masked(item, masks));
  if (value === null || typeof value !== "object") return value;
  const shown: JsonObject = {};
  for (const name of Object.keys(value).sort()) {
    if (name.endsWith("managedFields") && !masks.managed) continue;
    const member = name.endsWith("managedFields") || name === "causes" ? settled(value[name] as Json) : (value[name] as Json);
    shown[maskedText(name, masks)] = masked(member, masks, name);
  }
  return shown;
}

/** Without what controllers did meanwhile, each cause once (upstream runs some rules twice), conflicts and causes in an order of their own. */
function settled(list: Json): Json {
  if (!Array.isArray(list)) return list;
  const once = list.filter((item, i) => list.findIndex((other) => JSON.stringify(other) === JSON.stringify(item)) === i);
  const kept = once.filter((item) => !/controller-manager|^ambit$/.test(String(at(item, "manager"))));
  const isCauses = kept.every((item) => at(item, "message") !== null);
  return isCauses ? kept.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : kept;
}

function maskedVersion(value: string): string {
  return /^[1-9]\d*$/.test(value) ? "RV" : value;
}

export function maskedText(text: string, masks: Masks): string {
  let shown = text;
  for (const [word, label] of masks.words) shown = shown.replaceAll(word, label);
  return shown.replace(TIME, (_, fraction?: string) => (fraction === undefined ? "TIME" : "MICROTIME")).replace(UUID, "UID").replace(ADDRESS, "IP");
}

/** The value at a dotted path (list positions are numbers); null where there is none. */
export function at(value: Json | undefined, path: string): Json {
  let here: Json | undefined = value;
  for (const part of path === "" ? [] : path.split(".")) {
    if (here === null || typeof here !== "object") return null;
    here = Array.isArray(here) ? here[Number(part)] : here[part];
  }
  return here ?? null;
}

/** A refusal without what `how` says not to compare in its messages. */
export function refusal(status: Json, how: { readonly digits?: boolean; readonly loose?: boolean; readonly brief?: boolean }): Json {
  if (how.brief === true) return { reason: at(status, "reason") };
  if (how.digits !== true && how.loose !== true) return status;
  const message = (text: string): string => (how.loose === true ? "…" : text.replace(/\d+/g, "0"));
  const walk = (value: Json, key: string): Json => {
    if (typeof value === "string") return key === "message" ? message(value) : value;
    if (Array.isArray(value)) return value.map((item) => walk(item, ""));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, walk(item, name)]));
  };
  return typeof status === "string" ? message(status) : walk(status, "");
}

/** Where two values differ, one line a place. */
export function differ(wanted: Json | undefined, seen: Json | undefined, path = ""): string[] {
  if (isMap(wanted) && isMap(seen)) {
    // Another answer altogether: its parts would say it again and again.
    if (typeof wanted["code"] === "number" && wanted["code"] !== seen["code"]) return [`  ${path}\n    expected ${brief(wanted)}\n    answered ${brief(seen)}`];
    const names = [...new Set([...Object.keys(wanted), ...Object.keys(seen)])];
    return names.flatMap((name) => differ(wanted[name], seen[name], `${path}.${name}`));
  }
  if (Array.isArray(wanted) && Array.isArray(seen)) {
    const lines = Array.from({ length: Math.max(wanted.length, seen.length) }, (_, i) => {
      const step = wanted[i];
      const label = path === "" && isMap(step) ? ` ${String(step["ask"] ?? step["watch"] ?? step["until"] ?? step["note"])}` : "";
      return differ(wanted[i], seen[i], `${path}[${i}]${label}`);
    });
    return lines.flat();
  }
  return Object.is(wanted, seen) ? [] : [`  ${path}\n    expected ${JSON.stringify(wanted)}\n    answered ${JSON.stringify(seen)}`];
}

const BRIEF_CHARS = 900;

function brief(answer: JsonObject): string {
  return JSON.stringify([answer["code"], at(answer["body"], "message") ?? answer["body"] ?? null]).slice(0, BRIEF_CHARS);
}

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
