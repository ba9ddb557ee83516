// Owns how a WaypointConfig travels: JSON with maps as sorted entries, so that equal values give equal text.
import { err, ok, type Result } from "../result.ts";
import type { WaypointConfig } from "./waypoint-config.ts";

/** Raised whenever an older reader could misread a newer text: it then refuses the whole of it. */
const VERSION = 2;
const OLDEST = 1;
/**
 * What readers of version 1 do not know and would pass over, as it stands in a text (in a quoted value there would be a backslash before each quote):
 * checks, redirects, narrower matches. What has none of it is for them, too: a control plane is upgraded before its waypoints.
 */
const SINCE_2 = ['"externalAuth":{', '"redirectTo":{', '"destinationSubnets":['] as const;
const MAP = "$map";

/** Equal values give equal text. */
export function encodeWaypointConfig(config: WaypointConfig): string {
  const text = canonical(config);
  return `{"version":${SINCE_2.some((s) => text.includes(s)) ? VERSION : OLDEST},"config":${text}}`;
}

/** Whole or not at all: a text of another version, or that is not one of ours, is refused with the reason. */
export function decodeWaypointConfig(text: string): Result<WaypointConfig, string> {
  let read: unknown;
  try {
    read = JSON.parse(text, (_key, value: unknown) => (isMap(value) ? new Map(value[MAP]) : value));
  } catch (error) {
    return err(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof read !== "object" || read === null || !("version" in read) || !("config" in read)) return err("neither version nor config");
  if (read.version !== VERSION && read.version !== OLDEST) return err(`version ${String(read.version)}, this waypoint understands ${VERSION}`);
  const config = read.config as WaypointConfig;
  for (const field of ["services", "traffic", "authorizationProviders", "serviceTelemetry", "workloadLabels"] as const)
    if (!(config[field] instanceof Map)) return err(`config.${field} is not a map`);
  for (const field of ["policies", "authentications", "trustDomainAliases"] as const)
    if (!Array.isArray(config[field])) return err(`config.${field} is not a list`);
  return ok(config);
}

const isMap = (value: unknown): value is { [MAP]: [unknown, unknown][] } => typeof value === "object" && value !== null && MAP in value && Array.isArray(value[MAP]);

/** JSON with keys and map entries in order; as JSON.stringify otherwise. */
function canonical(value: unknown): string {
  if (value instanceof Map) return `{"${MAP}":[${[...value].sort(([a], [b]) => compare(a, b)).map(([k, v]) => `[${canonical(k)},${remembered(v)}]`).join()}]}`;
  if (Array.isArray(value)) return `[${value.map((v) => (v === undefined ? "null" : canonical(v))).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, v]) => v !== undefined).sort(([a], [b]) => compare(a, b));
  return `{${fields.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join()}}`;
}

/** Texts of map values: a change of one service leaves the others' values, and so their texts, as they are. Values are never changed in place. */
const texts = new WeakMap<object, string>();
function remembered(value: unknown): string {
  if (typeof value !== "object" || value === null) return canonical(value ?? null);
  const known = texts.get(value);
  if (known !== undefined) return known;
  const text = canonical(value);
  texts.set(value, text);
  return text;
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a) < String(b) ? -1 : 1;
}
