// Owns create and update of any kind: system fields, defaults, admission, validation, conflict rules, commit.
import { randomUUID } from "node:crypto";
import { admitCreate, admitUpdate, afterValidation, type Admission } from "../admission/admit.ts";
import type { User } from "../auth/user.ts";
import { timestamp, type Api } from "../context.ts";
import { asNumber, asString, asStrings, cloneJson, dig, equalJson, isObject, type JsonObject } from "../json.ts";
import { pruneUnknown, schemaProblems, trackManager } from "../registry/schemas.ts";
import { keyOf, type Row } from "../registry/row.ts";
import { alreadyExists, ApiError, conflict, forbidden, invalid, invalidValue, MODIFIED, notFound, type FieldProblem } from "../status.ts";
import { Entry } from "../storage/store.ts";
import { hasHooks, mutate, validate, type Passage } from "../webhooks/admission.ts";
import { checkName } from "./intake.ts";
import { generateName, metadataOf, shapeMetadata, validateMetadata } from "./metadata.ts";
import type { WriteOptions } from "./options.ts";
import { editable, present } from "./render.ts";

/** Random names are tried this often before the collision is the client's to see. */
const NAME_ATTEMPTS = 8;
/** An object that keeps changing while webhooks are asked is a conflict in the end. */
const UPDATE_ATTEMPTS = 5;

export interface Write {
  readonly api: Api;
  readonly row: Row;
  readonly namespace: string;
  readonly name: string;
  readonly user: User;
  readonly options: WriteOptions;
  readonly warn: (text: string) => void;
  /** What changes the object is a patch, which is refused in its own words. */
  readonly patching?: boolean;
  /** managedFields are already worked out (server-side apply). */
  readonly managed?: boolean;
}

/** Creates the object, which the caller hands over; returns the stored (or would-be, on dry run) entry. */
export async function create(write: Write, object: JsonObject): Promise<Entry> {
  const { api, row } = write;
  const metadata = metadataOf(object);
  if (asString(metadata["resourceVersion"]) !== "") {
    // Upstream finds it in its storage, which has no better words for it.
    throw new ApiError(500, "", "resourceVersion should not be set on objects to be created");
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
    if (row.custom === null) object["status"] = cloneJson(row.newStatus);
    else delete object["status"];
  }
  const settling = settle(write, object, null, "");
  const stored = settling instanceof Promise ? await settling : settling;
  const name = asString(metadataOf(stored)["name"]);
  const key = keyOf(row, write.namespace, name);
  const there = api.store.get(row.bucket, key);
  if (there !== undefined) throw alreadyExists(row, name, metadataOf(there.object)["deletionTimestamp"] !== undefined);
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
export async function update(write: Write, subresource: string, change: (live: JsonObject) => JsonObject): Promise<Entry> {
  for (let attempt = 1; ; attempt++) {
    const done = await tryUpdate(write, subresource, change);
    if (done !== null) return done;
    if (attempt === UPDATE_ATTEMPTS) throw conflict(write.row, write.name, MODIFIED);
  }
}

/** Null when the object changed while webhooks were asked: then the change is made anew. */
async function tryUpdate(write: Write, subresource: string, change: (live: JsonObject) => JsonObject): Promise<Entry | null> {
  const { api, row, namespace, name } = write;
  const key = keyOf(row, namespace, name);
  const entry = api.store.get(row.bucket, key);
  if (entry === undefined) throw notFound(row, name);
  const live = editable(row, entry.object);
  const changed = change(cloneJson(live));
  checkName(changed, name);
  checkPreconditions(write, live, changed);
  const merged = mergeInto(row, subresource, live, changed);
  const settling = settle(write, merged, entry.object, subresource);
  const stored = settling instanceof Promise ? await settling : settling;
  if (api.store.get(row.bucket, key) !== entry) return null;
  if (sameBut(stored, entry.object)) return entry;
  if (isGone(row, stored)) {
    if (!write.options.dryRun) api.store.remove(row.bucket, key);
    return new Entry(key, stored, entry.rv);
  }
  return commit(write, key, stored);
}

function checkPreconditions({ row, namespace, name, patching }: Write, live: JsonObject, changed: JsonObject): void {
  const was = metadataOf(live);
  const wants = metadataOf(changed);
  const uid = asString(wants["uid"]);
  if (uid !== "" && uid !== was["uid"]) {
    if (patching === true) {
      throw invalid(row, name, [invalidValue("metadata.uid", uid, "field is immutable")]);
    }
    const key = `/registry/${row.bucket.replace(/^\//, "")}/${keyOf(row, namespace, name)}`;
    const found = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${asString(was["uid"])}`;
    throw conflict(row, name, `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg: ${found}`);
  }
  const version = asString(wants["resourceVersion"]);
  if (version === "" || version === "0") {
    if (row.unconditionalUpdate) return;
    throw invalid({ ...row, kind: row.resource }, name, [invalidValue("metadata.resourceVersion", 0, "must be specified for an update")]);
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

/**
 * Defaults, admission, validation and bookkeeping: from a client's object to the state to be stored. Only webhooks
 * make it a promise: without them nothing can come between what was read and what is committed.
 */
function settle(write: Write, given: JsonObject, before: JsonObject | null, subresource: string): JsonObject | Promise<JsonObject> {
  const { api, row } = write;
  const live = before === null ? null : present(row, before);
  const request = { api, user: write.user, row, namespace: write.namespace, before: live, subresource, warn: write.warn };
  const object = keepBooks(write, defaulted(row, given), live, subresource);
  prepare(row, object, live);
  if (live === null) admitCreate(request, object);
  else admitUpdate(request, object);
  const passage = passageOf(write, object, live, subresource);
  // What scale, binding and finalize send is not the object itself, and webhooks are not asked about it.
  const isWhole = subresource === "" || subresource === "status";
  if (isWhole && hasHooks(passage)) return settleWithHooks(write, passage, request);
  return finish(write, request, object);
}

async function settleWithHooks(write: Write, passage: Passage, request: Admission): Promise<JsonObject> {
  const { row } = write;
  const object = defaulted(row, reshape(row, await mutate(passage), passage.object ?? {}));
  prepare(row, object, passage.before);
  // What finish takes from shared pools is given for good at the commit: shown to the webhooks, it may still change.
  await validate({ ...passage, object: present(row, finish(write, request, cloneJson(object))) });
  return finish(write, request, object);
}

function finish(write: Write, request: Admission, object: JsonObject): JsonObject {
  const { row } = write;
  check(write, object, request.before, request.subresource);
  afterValidation(request, object);
  warnOfFinalizers(write, object, request.before);
  countGeneration(row, object, request.before, request.subresource);
  return row.toStored === null ? object : row.toStored(object);
}

function defaulted(row: Row, given: JsonObject): JsonObject {
  const object = row.custom === null ? given : row.custom.applyDefaults(given);
  row.defaults(object);
  return object;
}

function prepare(row: Row, object: JsonObject, live: JsonObject | null): void {
  row.prepare(object, live);
  if (isObject(object["status"])) for (const [field, zero] of Object.entries(row.newStatus)) object["status"][field] ??= cloneJson(zero);
}

function passageOf(write: Write, object: JsonObject, before: JsonObject | null, subresource: string): Passage {
  const { api, row, namespace, user, warn } = write;
  const operation = before === null ? "CREATE" : "UPDATE";
  const name = asString(metadataOf(object)["name"]);
  return { api, row, operation, namespace, name, subresource, object, before, user, warn, dryRun: write.options.dryRun, options: write.options.sent ?? {} };
}

/** What webhooks made of an object is foreign again: pruned, type-checked, and still the same object. */
function reshape(row: Row, mutated: JsonObject, before: JsonObject): JsonObject {
  shapeMetadata(mutated);
  const { value } = pruneUnknown(row, mutated);
  const metadata = metadataOf(value);
  for (const field of ["name", "namespace", ...SYSTEM_FIELDS]) {
    const kept = metadataOf(before)[field];
    if (kept === undefined) delete metadata[field];
    else metadata[field] = kept;
  }
  return value;
}

function check(write: Write, object: JsonObject, live: JsonObject | null, subresource: string): void {
  const { row } = write;
  const metadata = metadataOf(object);
  const problems = validateMetadata(row, metadata, live === null ? null : metadataOf(live));
  // Binding is the one way to change what is otherwise fixed.
  if (subresource !== "binding") problems.push(...row.validate(object, live));
  const blocked = problems.some((problem) => problem.type === "FieldValueRequired" || problem.type === "FieldValueTooLong");
  const judged = schemaProblems(row, object, live, { blocked, warn: write.warn });
  // The published schema of a built-in kind asks for the same in other words: what upstream says of a place is enough.
  const said = (field: string): boolean => problems.some((own) => own.field === field || own.field.startsWith(`${field}.`));
  problems.push(...judged.filter((problem) => row.custom !== null || !(problem.field.startsWith("metadata.") || said(problem.field))).map((problem) => (subresource === "status" ? ofStatus(problem) : problem)));
  if (problems.length > 0) throw invalid(row, asString(metadata["name"]), problems);
}

/** Upstream judges a status by itself, and names places within it in the text. */
function ofStatus(problem: FieldProblem): FieldProblem {
  return { ...problem, message: problem.message.replace(/: status\.(\S+ in body )/, ": $1") };
}

/** As upstream, says who manages what of that which was sent: what admission adds has no manager. */
function keepBooks(write: Write, object: JsonObject, live: JsonObject | null, subresource: string): JsonObject {
  const { api, row, options } = write;
  if (write.managed === true) return object;
  return trackManager(row, live, object, { manager: options.fieldManager, subresource, now: timestamp(api.now()) });
}

/** Finalizers of custom objects may be called anything, which is not wise. */
function warnOfFinalizers({ row, warn }: Write, object: JsonObject, live: JsonObject | null): void {
  if (row.custom === null) return;
  const known = live === null ? [] : asStrings(metadataOf(live)["finalizers"]);
  for (const finalizer of asStrings(metadataOf(object)["finalizers"])) {
    if (finalizer.includes("/") || known.includes(finalizer) || ["orphan", "foregroundDeletion"].includes(finalizer)) continue;
    warn(`metadata.finalizers: ${JSON.stringify(finalizer)}: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers`);
  }
}

function countGeneration(row: Row, object: JsonObject, live: JsonObject | null, subresource: string): void {
  if (live === null || !row.generation || subresource === "status" || sameSpec(object, live)) return;
  const metadata = metadataOf(object);
  metadata["generation"] = asNumber(metadata["generation"], 1) + 1;
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
