// Owns create and update of any kind: system fields, defaults, admission, validation, conflict rules, commit.
import { randomUUID } from "node:crypto";
import { admitCreate, admitUpdate, afterValidation } from "../admission/admit.ts";
import type { User } from "../auth/user.ts";
import { timestamp, type Api } from "../context.ts";
import { asNumber, asString, asStrings, cloneJson, dig, equalJson, type JsonObject } from "../json.ts";
import { schemaProblems, trackManager } from "../registry/schemas.ts";
import { keyOf, type Row } from "../registry/row.ts";
import { alreadyExists, ApiError, badRequest, conflict, forbidden, invalid, invalidValue, MODIFIED, notFound } from "../status.ts";
import { Entry } from "../storage/store.ts";
import { checkName } from "./intake.ts";
import { generateName, metadataOf, validateMetadata } from "./metadata.ts";
import type { WriteOptions } from "./options.ts";
import { editable } from "./render.ts";

/** Random names are tried this often before the collision is the client's to see. */
const NAME_ATTEMPTS = 8;

export interface Write {
  readonly api: Api;
  readonly row: Row;
  readonly namespace: string;
  readonly name: string;
  readonly user: User;
  readonly options: WriteOptions;
  readonly warn: (text: string) => void;
  /** managedFields are already worked out (server-side apply). */
  readonly managed?: boolean;
}

/** Creates the object, which the caller hands over; returns the stored (or would-be, on dry run) entry. */
export function create(write: Write, object: JsonObject): Entry {
  const { api, row } = write;
  const metadata = metadataOf(object);
  if (asString(metadata["resourceVersion"]) !== "") {
    throw badRequest("resourceVersion should not be set on objects to be created");
  }
  if (write.name !== "") checkName(object, write.name);
  const base = asString(metadata["name"]) === "" ? asString(metadata["generateName"]) : "";
  if (base !== "") metadata["name"] = freeName(write, base);
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"]) delete metadata[field];
  metadata["uid"] = randomUUID();
  metadata["creationTimestamp"] = timestamp(api.now());
  if (row.generation) metadata["generation"] = 1;
  else delete metadata["generation"];
  if (row.status !== null && !row.status.atCreate) {
    if (row.custom === null) object["status"] = {};
    else delete object["status"];
  }
  const stored = settle(write, object, null);
  const key = keyOf(row, write.namespace, asString(metadataOf(stored)["name"]));
  if (api.store.get(row.bucket, key) !== undefined) throw alreadyExists(row, asString(metadataOf(stored)["name"]));
  return commit(write, key, stored);
}

/** A write that turns into a creation needs the right to create as well. */
export function requireCreate({ api, row, namespace, name, user }: Write): void {
  const { group, resource } = row;
  const decision = api.authorizer.authorize(user, { verb: "create", group, resource, subresource: "", namespace, name });
  if (!decision.allowed) throw forbidden(row, name, decision.why);
}

function freeName(write: Write, base: string): string {
  for (let i = 1; ; i++) {
    const name = generateName(base);
    const taken = write.api.store.get(write.row.bucket, keyOf(write.row, write.namespace, name)) !== undefined;
    if (!taken || i === NAME_ATTEMPTS) return name;
  }
}

/**
 * Replaces the object by what `change` makes of a copy of it (in the row's version).
 * `subresource` "" changes everything but the status, "status" nothing but the status.
 */
export function update(write: Write, subresource: string, change: (live: JsonObject) => JsonObject): Entry {
  const { api, row, namespace, name } = write;
  const key = keyOf(row, namespace, name);
  const entry = api.store.get(row.bucket, key);
  if (entry === undefined) throw notFound(row, name);
  const live = editable(row, entry.object);
  const changed = change(cloneJson(live));
  checkName(changed, name);
  checkPreconditions(row, name, live, changed);
  const merged = mergeInto(row, subresource, live, changed);
  const stored = settle(write, merged, entry.object, subresource);
  if (sameBut(stored, entry.object)) return entry;
  if (isGone(row, stored)) {
    if (!write.options.dryRun) api.store.remove(row.bucket, key);
    return new Entry(key, stored, entry.rv);
  }
  return commit(write, key, stored);
}

function checkPreconditions(row: Row, name: string, live: JsonObject, changed: JsonObject): void {
  const was = metadataOf(live);
  const wants = metadataOf(changed);
  const uid = asString(wants["uid"]);
  if (uid !== "" && uid !== was["uid"]) {
    throw conflict(row, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${asString(was["uid"])}`);
  }
  const version = asString(wants["resourceVersion"]);
  if (version === "" || version === "0") {
    if (row.unconditionalUpdate) return;
    throw invalid(row, name, [invalidValue("metadata.resourceVersion", 0, "must be specified for an update")]);
  }
  if (version !== was["resourceVersion"]) throw conflict(row, name, MODIFIED);
}

const SYSTEM_FIELDS = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion", "generateName"];

/** Takes from `changed` what this kind of update may change, the rest from `live`. */
function mergeInto(row: Row, subresource: string, live: JsonObject, changed: JsonObject): JsonObject {
  if (subresource === "status") return mergeStatus(row, live, changed);
  const was = metadataOf(live);
  const metadata = metadataOf(changed);
  for (const field of SYSTEM_FIELDS) {
    const value = was[field];
    if (value === undefined) delete metadata[field];
    else metadata[field] = value;
  }
  delete metadata["selfLink"];
  if (row.namespaced) metadata["namespace"] = was["namespace"] ?? "";
  if (row.status !== null) {
    if (live["status"] === undefined) delete changed["status"];
    else changed["status"] = live["status"];
  }
  return changed;
}

function mergeStatus(row: Row, live: JsonObject, changed: JsonObject): JsonObject {
  const merged = cloneJson(live);
  if (changed["status"] === undefined) delete merged["status"];
  else merged["status"] = changed["status"];
  const metadata = metadataOf(merged);
  const wanted = metadataOf(changed);
  const fields = row.status?.metadata === true ? ["labels", "annotations", "managedFields"] : ["managedFields"];
  for (const field of fields) {
    if (wanted[field] === undefined) delete metadata[field];
    else metadata[field] = wanted[field];
  }
  return merged;
}

/** Defaults, admission, validation and bookkeeping: from a client's object to the state to be stored. */
function settle(write: Write, given: JsonObject, before: JsonObject | null, subresource = ""): JsonObject {
  const { api, row, options } = write;
  const live = before === null ? null : row.fromStored === null ? before : row.fromStored(before);
  const request = { api, user: write.user, row, namespace: write.namespace, before: live, subresource, warn: write.warn };
  let object = row.custom === null ? given : row.custom.applyDefaults(given);
  row.defaults(object);
  row.prepare(object, live);
  if (before === null) admitCreate(request, object);
  else admitUpdate(request, object);
  const metadata = metadataOf(object);
  const problems = validateMetadata(row, metadata, before === null ? null : metadataOf(before));
  // Binding is the one way to change what is otherwise fixed.
  if (subresource !== "binding") problems.push(...row.validate(object, live));
  problems.push(...schemaProblems(row, object, live));
  if (problems.length > 0) throw invalid(row, asString(metadata["name"]), problems);
  afterValidation(request, object);
  if (live !== null && row.generation && subresource !== "status" && !sameSpec(object, live)) {
    metadata["generation"] = asNumber(metadata["generation"], 1) + 1;
  }
  if (write.managed !== true) {
    object = trackManager(row, live, object, { manager: options.fieldManager, subresource, now: timestamp(api.now()) });
  }
  return row.toStored === null ? object : row.toStored(object);
}

function sameSpec(a: JsonObject, b: JsonObject): boolean {
  return equalJson({ ...a, metadata: null, status: null }, { ...b, metadata: null, status: null });
}

/** Equality of states apart from version and managers' timestamps. */
function sameBut(a: JsonObject, b: JsonObject): boolean {
  const plain = (object: JsonObject): JsonObject => ({ ...object, metadata: { ...metadataOf(object), resourceVersion: "", managedFields: null } });
  return equalJson(plain(a), plain(b)) && equalJson(withoutTimes(a), withoutTimes(b));
}

function withoutTimes(object: JsonObject): JsonObject[] {
  const fields = metadataOf(object)["managedFields"];
  return (Array.isArray(fields) ? fields : []).map((item) => ({ ...(item as JsonObject), time: "" }));
}

/** A deleted object whose last finalizer has gone and that no one gives more grace. */
export function isGone(row: Row, object: JsonObject): boolean {
  const metadata = metadataOf(object);
  if (metadata["deletionTimestamp"] === undefined) return false;
  if (asStrings(metadata["finalizers"]).length > 0 || asNumber(metadata["deletionGracePeriodSeconds"]) > 0) return false;
  return row.bucket !== "/namespaces" || asStrings(dig(object, "spec", "finalizers")).length === 0;
}

export function commit(write: Pick<Write, "api" | "row" | "options">, key: string, object: JsonObject): Entry {
  if (write.options.dryRun) return new Entry(key, object, 0);
  try {
    return write.api.store.put(write.row.bucket, key, object);
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    write.api.log.error("commit failed", { error: String(cause) });
    throw new ApiError(500, "InternalError", "the change could not be written to the store; nothing was changed");
  }
}
