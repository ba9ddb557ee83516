// Owns metadata.managedFields: reading entries, writing them back in order, and their identities.
import { asObjects, asString, isObject, type Json, type JsonObject } from "../json.ts";
import { difference, emptySet, fromFieldsV1, insert, isEmptySet, toFieldsV1, union, type FieldSet } from "./field-set.ts";

/** Update entries kept per object, as in Kubernetes; the oldest beyond it are folded into one. */
const MAX_UPDATE_ENTRIES = 10;
const ANCIENT = "ancient-changes";

export type Operation = "Apply" | "Update";

export interface Entry {
  manager: string;
  operation: Operation;
  apiVersion: string;
  subresource: string;
  time: string;
  set: FieldSet;
}

/** Who an entry belongs to: an applier is one over all versions, an updater one per version. */
export function entryId(entry: Omit<Entry, "time" | "set">): string {
  const version = entry.operation === "Apply" ? "" : entry.apiVersion;
  return JSON.stringify([entry.manager, entry.operation, version, entry.subresource]);
}

export type Entries = Map<string, Entry>;

/** Reads entries; null when any is malformed. */
export function readEntries(managedFields: Json | undefined): Entries | null {
  if (managedFields === undefined || managedFields === null) return new Map();
  if (!Array.isArray(managedFields)) return null;
  const entries: Entries = new Map();
  for (const raw of managedFields) {
    if (!isObject(raw)) return null;
    const operation = raw["operation"];
    if (operation !== "Apply" && operation !== "Update") return null;
    const fields = raw["fieldsV1"];
    const set = fields === undefined || fields === null ? emptySet() : fromFieldsV1(fields);
    if (set === null) return null;
    const entry: Entry = {
      manager: asString(raw["manager"]),
      operation,
      apiVersion: asString(raw["apiVersion"]),
      subresource: asString(raw["subresource"]),
      time: asString(raw["time"]),
      set,
    };
    const known = entries.get(entryId(entry));
    entries.set(entryId(entry), known === undefined ? entry : { ...entry, set: union(known.set, set) });
  }
  return entries;
}

/** One empty entry is how a client asks for a clean slate. */
export function asksForReset(managedFields: Json | undefined): boolean {
  const entries = asObjects(managedFields);
  return entries.length === 1 && Object.keys(entries[0] ?? {}).length === 0;
}

/** Members that belong to the server or say which object it is: nobody manages them. */
const UNMANAGED = ((): FieldSet => {
  const set = emptySet();
  for (const name of ["apiVersion", "kind", "metadata"]) insert(set, [`f:${name}`]);
  const server = [
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
    "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
  ];
  for (const name of server) insert(set, ["f:metadata", `f:${name}`]);
  return set;
})();

/** Leaves the fields out that nobody manages. */
export function managedOnly(set: FieldSet): FieldSet {
  const managed = difference(set, UNMANAGED);
  const metadata = managed.children.get("f:metadata");
  metadata?.children.delete("f:managedFields");
  if (metadata !== undefined && isEmptySet(metadata)) managed.children.delete("f:metadata");
  return managed;
}

/** The entries as metadata.managedFields holds them; empty sets are left out. */
export function writeEntries(entries: Entries): JsonObject[] {
  const kept = [...entries.values()].filter((entry) => !isEmptySet(entry.set));
  return capUpdates(kept).toSorted(compareEntries).map((entry) => {
    const written: JsonObject = { manager: entry.manager, operation: entry.operation, apiVersion: entry.apiVersion };
    if (entry.time !== "") written["time"] = entry.time;
    written["fieldsType"] = "FieldsV1";
    written["fieldsV1"] = toFieldsV1(entry.set);
    if (entry.subresource !== "") written["subresource"] = entry.subresource;
    return written;
  });
}

function capUpdates(entries: readonly Entry[]): Entry[] {
  const updates = entries.filter((entry) => entry.operation === "Update").toSorted(compareEntries);
  const excess = updates.length - MAX_UPDATE_ENTRIES;
  if (excess <= 0) return [...entries];
  const folded = new Map<string, Entry>();
  const old = new Set(updates.slice(0, excess + 1));
  for (const entry of old) {
    const known = folded.get(entry.apiVersion);
    const set = known === undefined ? entry.set : union(known.set, entry.set);
    folded.set(entry.apiVersion, { ...entry, manager: ANCIENT, subresource: "", set });
  }
  return [...entries.filter((entry) => !old.has(entry)), ...folded.values()];
}

function compareEntries(a: Entry, b: Entry): number {
  for (const key of ["operation", "time", "manager", "apiVersion", "subresource"] as const) {
    if (a[key] !== b[key]) return a[key] < b[key] ? -1 : 1;
  }
  return 0;
}
