// Owns the two faces of events: core/v1 is the stored form, events.k8s.io/v1 is converted from and to it.
import { asObject, asString, cloneJson, type JsonObject } from "../json.ts";
import { invalidValue, type FieldProblem } from "../status.ts";

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
  const shown: JsonObject = { ...renamed(event, flipped), apiVersion: "events.k8s.io/v1" };
  // The newer form leaves out what the older one shows empty.
  for (const field of ["reportingController", "reportingInstance"]) if (shown[field] === "") delete shown[field];
  return shown;
}

function renamed(event: JsonObject, names: readonly (readonly [string, string])[]): JsonObject {
  const map = new Map(names);
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(event)) result[map.get(key) ?? key] = value;
  return result;
}

const EMPTY: JsonObject = { eventTime: null, firstTimestamp: null, lastTimestamp: null, reportingComponent: "", reportingInstance: "", source: {} };

/** Upstream shows these of every event, whether or not somebody wrote them. */
export function defaultEvent(event: JsonObject): void {
  for (const [field, value] of Object.entries(EMPTY)) event[field] ??= cloneJson(value);
}

/** The same for an event in its newer form. */
export function defaultNewEvent(event: JsonObject): void {
  const shown = renamed(EMPTY, NAMES.map(([modern, core]) => [core, modern] as const));
  for (const [field, value] of Object.entries(shown)) event[field] ??= cloneJson(value);
}

export function validateEvent(event: JsonObject): FieldProblem[] {
  return validateNamespace(event, "involvedObject");
}

export function validateNewEvent(event: JsonObject): FieldProblem[] {
  return validateNamespace(event, "regarding");
}

/** An event lies beside what it is about; what has no namespace is told of in `default`. */
function validateNamespace(event: JsonObject, member: string): FieldProblem[] {
  const about = asString(asObject(event[member])["namespace"]);
  const own = asString(asObject(event["metadata"])["namespace"]);
  const fits = about === own || (about === "" && own === "default");
  return fits ? [] : [invalidValue("involvedObject.namespace", about, "does not match event.namespace")];
}
