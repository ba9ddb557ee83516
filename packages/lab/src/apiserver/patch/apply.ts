// Owns server-side apply and the bookkeeping of who manages which field of an object.
import { equalJson, findForeignJson, isObject, type Json, type JsonObject } from "../json.ts";
import type { Schema } from "../schema/schema.ts";
import { difference, emptySet, equalSets, intersection, isEmptySet, pathsOf, union, type FieldSet } from "./field-set.ts";
import { asksForReset, entryId, managedOnly, readEntries, writeEntries, type Entries, type Entry } from "./managed-fields.ts";
import { showPath } from "./path-element.ts";
import {
  compareValues, fieldsOf, mergeTyped, removeFields, UntypableValue, withNamedParents, type Comparison,
} from "./typed-walk.ts";

/** Stands for whoever wrote the fields of an object that has no managed fields yet. */
const BEFORE_FIRST_APPLY = "before-first-apply";

/** The field manager of kubectl's server-side apply, and the annotation that its client-side apply leaves. */
const KUBECTL = "kubectl";
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

export interface Conflict {
  manager: string;
  /** Such as `.spec.replicas`. */
  field: string;
  /** Who holds the field, such as `conflict with "kubectl" using apps/v1`. */
  message: string;
}

export type Applied = { ok: true; object: JsonObject } | { ok: false; conflicts: Conflict[] } | { ok: false; invalid: string };

/**
 * Applies a manager's whole intent. `live` and `applied` must be of one version; `now` is RFC 3339 in whole seconds.
 * Fields that the manager applied before and no longer does go, unless somebody else owns them. An apply that changes
 * nothing returns an object equal to `live`, managed fields included.
 */
export function applyServerSide(input: {
  live: JsonObject | null;
  applied: JsonObject;
  manager: string;
  force: boolean;
  subresource: string;
  apiVersion: string;
  schema: Schema;
  now: string;
}): Applied {
  const { schema } = input;
  if (managedFieldsOf(input.applied) !== undefined) return { ok: false, invalid: "metadata.managedFields must be nil" };
  const live = input.live === null ? {} : withoutManagedFields(input.live);
  const before = input.live === null ? new Map<string, Entry>() : entriesOfLive(input.live, live, schema);
  const self: Omit<Entry, "set" | "time"> = {
    manager: input.manager,
    operation: "Apply",
    apiVersion: input.apiVersion,
    subresource: input.subresource,
  };
  const id = entryId(self);
  const last = before.get(id);
  let set: FieldSet;
  let merged: JsonObject;
  try {
    set = managedOnly(fieldsOf(input.applied, schema, true));
    const value = mergeTyped(live, input.applied, schema);
    if (!isObject(value)) return { ok: false, invalid: "the applied configuration is not an object" };
    merged = value;
  } catch (error) {
    if (error instanceof UntypableValue) return { ok: false, invalid: error.message };
    throw error;
  }
  const entries: Entries = new Map(before);
  entries.set(id, { ...self, time: last?.time ?? "", set });
  if (last !== undefined) merged = pruneUnowned(merged, last.set, entries, schema);
  const change = compareValues(live, merged, schema);
  const conflicts = conflictsOf(entries, id, change);
  const moved = input.manager === KUBECTL && onlyLastApplied(live, conflicts, schema);
  if (conflicts.size > 0 && !input.force && !moved) return { ok: false, conflicts: describe(conflicts, entries) };
  takeFromOthers(entries, id, change);
  const unchanged = input.live !== null && equalJson(live, merged);
  const sameClaim = equalSets(last?.set ?? emptySet(), set) && (last?.apiVersion ?? input.apiVersion) === input.apiVersion;
  if (unchanged && sameClaim) return { ok: true, object: input.live ?? merged };
  // A claim that changes nothing in the object keeps the time of the last one that did.
  entries.set(id, { ...self, time: unchanged ? (last?.time ?? "") : input.now, set });
  return { ok: true, object: withManagedFields(merged, entries) };
}

/**
 * Records a create, update or patch by `manager`: it now owns what it added or changed, and nobody owns what it
 * removed. Returns `updated` with its managed fields; they are those of `live` when nothing else changed.
 */
export function trackUpdate(input: {
  live: JsonObject | null;
  /** What a new object of the kind shows by itself. */
  zero?: JsonObject;
  updated: JsonObject;
  manager: string;
  subresource: string;
  apiVersion: string;
  schema: Schema;
  now: string;
}): JsonObject {
  const updated = withoutManagedFields(input.updated);
  if (asksForReset(managedFieldsOf(input.updated))) return updated;
  const live = input.live === null ? (input.zero ?? {}) : withoutManagedFields(input.live);
  const offered = readEntries(managedFieldsOf(input.updated));
  // Clients that do not know managed fields drop or mangle them: those of the stored object stand in.
  const stored = input.live === null ? null : readEntries(managedFieldsOf(input.live));
  const entries = offered !== null && offered.size > 0 ? offered : (stored ?? new Map<string, Entry>());
  const change = compareValues(live, updated, input.schema);
  const self: Omit<Entry, "set" | "time"> = {
    manager: input.manager,
    operation: "Update",
    apiVersion: input.apiVersion,
    subresource: input.subresource,
  };
  const id = entryId(self);
  takeFromOthers(entries, id, change);
  const last = entries.get(id);
  const gained = union(change.added, change.modified);
  const set = managedOnly(union(difference(last?.set ?? emptySet(), change.removed), gained));
  const touched = !isEmptySet(managedOnly(gained)) || !equalSets(last?.set ?? emptySet(), set);
  if (touched) entries.set(id, { ...self, time: input.now, set });
  return withManagedFields(updated, entries);
}

function entriesOfLive(stored: JsonObject, live: JsonObject, schema: Schema): Entries {
  const entries = readEntries(managedFieldsOf(stored)) ?? new Map<string, Entry>();
  if (entries.size > 0) return entries;
  const entry: Entry = {
    manager: BEFORE_FIRST_APPLY,
    operation: "Update",
    apiVersion: typeof live["apiVersion"] === "string" ? live["apiVersion"] : "",
    subresource: "",
    time: "",
    set: managedOnly(fieldsOf(live, schema, false)),
  };
  return isEmptySet(entry.set) ? entries : new Map([[entryId(entry), entry]]);
}

/** Removes what was applied last time and is owned by nobody now. */
function pruneUnowned(merged: JsonObject, last: FieldSet, entries: Entries, schema: Schema): JsonObject {
  const named = (set: FieldSet): FieldSet => withNamedParents(set, schema);
  let owned = emptySet();
  for (const entry of entries.values()) owned = union(owned, entry.set);
  const present = named(fieldsOf(merged, schema, false));
  const withoutLast = named(fieldsOf(removeFields(merged, named(last), schema), schema, false));
  const unowned = difference(present, union(withoutLast, named(owned)));
  const result = removeFields(merged, intersection(unowned, named(last)), schema);
  return isObject(result) ? result : merged;
}

function conflictsOf(entries: Entries, self: string, change: Comparison): Map<string, FieldSet> {
  const conflicts = new Map<string, FieldSet>();
  const gained = union(change.added, change.modified);
  for (const [id, entry] of entries) {
    const taken = id === self ? emptySet() : intersection(entry.set, gained);
    if (!isEmptySet(taken)) conflicts.set(id, taken);
  }
  return conflicts;
}

/**
 * Whether all that conflicts was set by kubectl's own client-side apply: a user who changes over to server-side apply
 * takes it along, as in Kubernetes.
 */
function onlyLastApplied(live: JsonObject, conflicts: ReadonlyMap<string, FieldSet>, schema: Schema): boolean {
  const metadata = live["metadata"];
  const annotations = isObject(metadata) ? metadata["annotations"] : undefined;
  const text = isObject(annotations) && Object.hasOwn(annotations, LAST_APPLIED) ? annotations[LAST_APPLIED] : undefined;
  if (typeof text !== "string") return false;
  let configuration: Json;
  try {
    configuration = JSON.parse(text) as Json;
  } catch {
    return false;
  }
  if (findForeignJson(configuration) !== null || !isObject(configuration)) return false;
  const set = fieldsOf(configuration, schema, false);
  return [...conflicts.values()].every((taken) => isEmptySet(difference(taken, set)));
}

function takeFromOthers(entries: Entries, self: string, change: Comparison): void {
  const lost = union(union(change.added, change.modified), change.removed);
  for (const [id, entry] of entries) {
    if (id === self) continue;
    const set = difference(entry.set, lost);
    if (isEmptySet(set)) entries.delete(id);
    else entries.set(id, { ...entry, set });
  }
}

function describe(conflicts: ReadonlyMap<string, FieldSet>, entries: Entries): Conflict[] {
  const described: Conflict[] = [];
  for (const [id, set] of conflicts) {
    const entry = entries.get(id);
    if (entry === undefined) continue;
    const subresource = entry.subresource === "" ? "" : ` with subresource ${JSON.stringify(entry.subresource)}`;
    const using = entry.operation === "Update" ? ` using ${entry.apiVersion}` : "";
    for (const path of pathsOf(set)) {
      const field = showPath(path);
      const message = `conflict with ${JSON.stringify(entry.manager)}${subresource}${using}`;
      described.push({ manager: entry.manager, field, message });
    }
  }
  return described;
}

function managedFieldsOf(object: JsonObject): JsonObject[string] | undefined {
  const metadata = object["metadata"];
  if (!isObject(metadata) || !Object.hasOwn(metadata, "managedFields")) return undefined;
  return metadata["managedFields"] ?? undefined;
}

function withoutManagedFields(object: JsonObject): JsonObject {
  const metadata = object["metadata"];
  if (!isObject(metadata)) return object;
  const { managedFields: _, ...rest } = metadata;
  return { ...object, metadata: rest };
}

function withManagedFields(object: JsonObject, entries: Entries): JsonObject {
  const written = writeEntries(entries);
  if (written.length === 0) return object;
  const metadata = isObject(object["metadata"]) ? object["metadata"] : {};
  return { ...object, metadata: { ...metadata, managedFields: written } };
}
