// Owns the two faces of events: core/v1 is the stored form, events.k8s.io/v1 is converted from and to it.
import type { JsonObject } from "../json.ts";

/** events.k8s.io/v1 name → core/v1 name of the same field. */
const NAMES: readonly (readonly [string, string])[] = [
  ["regarding", "involvedObject"],
  ["note", "message"],
  ["reportingController", "reportingComponent"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
];

export function eventToCore(event: JsonObject): JsonObject {
  return { ...renamed(event, NAMES), apiVersion: "v1" };
}

export function eventFromCore(event: JsonObject): JsonObject {
  const flipped = NAMES.map(([modern, core]) => [core, modern] as const);
  return { ...renamed(event, flipped), apiVersion: "events.k8s.io/v1" };
}

function renamed(event: JsonObject, names: readonly (readonly [string, string])[]): JsonObject {
  const map = new Map(names);
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(event)) result[map.get(key) ?? key] = value;
  return result;
}
