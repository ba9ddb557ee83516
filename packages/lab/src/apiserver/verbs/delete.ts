// Owns deletion: options, preconditions, finalizers of propagation, grace, and removal of one or many objects.
import { timestamp, type Api } from "../context.ts";
import { asNumber, asString, asStrings, cloneJson, dig, isObject, type Json, type JsonObject } from "../json.ts";
import type { Row } from "../registry/row.ts";
import { ApiError, badRequest, conflict, invalidValue, unsupportedValue, type FieldProblem } from "../status.ts";
import { Entry } from "../storage/store.ts";
import { metadataOf } from "./metadata.ts";
import { dryRunProblems, refuseOptions } from "./options.ts";
import { commit, isGone } from "./write.ts";

export const FOREGROUND = "foregroundDeletion";
export const ORPHAN = "orphan";
const POLICIES = ["Foreground", "Background", "Orphan"];

export interface DeleteOptions {
  readonly graceS: number | undefined;
  readonly policy: string;
  readonly dryRun: boolean;
  readonly uid: string;
  readonly resourceVersion: string;
  /** What the client said, as webhooks are shown it. */
  readonly sent?: JsonObject;
}

/** From the body (DeleteOptions) or, without one, the query. */
export function readDeleteOptions(body: JsonObject | null, query: URLSearchParams): DeleteOptions {
  if (body !== null && body["kind"] !== undefined && body["kind"] !== "DeleteOptions") {
    throw badRequest(`${JSON.stringify(body["kind"])} cannot be handled as DeleteOptions`);
  }
  const grace = body?.["gracePeriodSeconds"] ?? fromQuery(query.get("gracePeriodSeconds"));
  if (grace !== undefined && !Number.isSafeInteger(grace)) throw refuse([invalidValue("gracePeriodSeconds", grace, "must be an integer")]);
  const policy = readPolicy(body, query);
  const preconditions = body?.["preconditions"];
  if (preconditions !== undefined && preconditions !== null && !isObject(preconditions)) {
    throw refuse([invalidValue("preconditions", preconditions, "must be an object")]);
  }
  const dryRun = body === null || body["dryRun"] === undefined ? query.getAll("dryRun") : asStrings(body["dryRun"]);
  const unknown = dryRunProblems(dryRun);
  if (unknown.length > 0) throw refuse(unknown);
  return {
    graceS: grace === undefined ? undefined : Math.max(0, grace as number),
    policy,
    dryRun: dryRun.length > 0,
    uid: asString(dig(body ?? {}, "preconditions", "uid")),
    resourceVersion: asString(dig(body ?? {}, "preconditions", "resourceVersion")),
    sent: sentOptions(body, query, grace, dryRun),
  };
}

function sentOptions(body: JsonObject | null, query: URLSearchParams, grace: Json | undefined, dryRun: readonly string[]): JsonObject {
  const sent: JsonObject = {};
  if (grace !== undefined) sent["gracePeriodSeconds"] = grace;
  const policy = body?.["propagationPolicy"] ?? query.get("propagationPolicy");
  if (policy !== null && policy !== undefined) sent["propagationPolicy"] = policy;
  const preconditions = body?.["preconditions"];
  if (isObject(preconditions)) sent["preconditions"] = preconditions;
  if (dryRun.length > 0) sent["dryRun"] = [...dryRun];
  return sent;
}

function readPolicy(body: JsonObject | null, query: URLSearchParams): string {
  const orphans = body?.["orphanDependents"] ?? query.get("orphanDependents");
  const policy = body?.["propagationPolicy"] ?? query.get("propagationPolicy");
  if (policy === null || policy === undefined) return orphans === true || orphans === "true" ? "Orphan" : "Background";
  if (typeof policy !== "string" || !POLICIES.includes(policy)) throw refuse([unsupportedValue("propagationPolicy", policy, [...POLICIES, "nil"])]);
  if (orphans !== null && orphans !== undefined) {
    throw refuse([invalidValue("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")]);
  }
  return policy;
}

function fromQuery(text: string | null): number | undefined {
  return text === null || text === "" ? undefined : Number(text);
}

function refuse(problems: readonly FieldProblem[]): ApiError {
  return refuseOptions("DeleteOptions", problems);
}

export interface Deleted {
  readonly entry: Entry;
  /** False while finalizers or grace keep the object. */
  readonly gone: boolean;
}

export function remove(api: Api, row: Row, entry: Entry, options: DeleteOptions): Deleted {
  checkPreconditions(row, entry.object, options);
  const object = cloneJson(entry.object);
  const metadata = metadataOf(object);
  setPropagation(metadata, options.policy);
  if (metadata["deletionTimestamp"] === undefined) row.beforeDelete(object);
  const grace = row.grace?.(object, options.graceS) ?? 0;
  markDeleted(api, row, object, grace);
  if (isGone(row, object)) {
    if (!options.dryRun) removeNow(api, row, entry.key);
    return { entry, gone: true };
  }
  const unchanged = metadataUnchanged(metadata, metadataOf(entry.object));
  if (unchanged) return { entry, gone: false };
  return { entry: commit({ api, row, options: { ...NO_OPTIONS, dryRun: options.dryRun } }, entry.key, object), gone: false };
}

const NO_OPTIONS = { dryRun: false, fieldManager: "", fieldValidation: "Ignore", force: false } as const;

function removeNow(api: Api, row: Row, key: string): void {
  try {
    api.store.remove(row.bucket, key);
  } catch (cause) {
    api.log.error("commit failed", { error: String(cause) });
    throw new ApiError(500, "InternalError", "the removal could not be written to the store; nothing was changed");
  }
}

function checkPreconditions(row: Row, object: JsonObject, options: DeleteOptions): void {
  const metadata = metadataOf(object);
  const name = asString(metadata["name"]);
  const { uid, resourceVersion } = metadata;
  if (options.uid !== "" && options.uid !== uid) {
    const why = `the UID in the precondition (${options.uid}) does not match the UID in record (${asString(uid)}). The object might have been deleted and then recreated`;
    throw conflict({ ...row, resource: row.kind }, name, why);
  }
  if (options.resourceVersion !== "" && options.resourceVersion !== resourceVersion) {
    const why = `the ResourceVersion in the precondition (${options.resourceVersion}) does not match the ResourceVersion in record (${asString(resourceVersion)}). The object might have been modified`;
    throw conflict({ ...row, resource: row.kind }, name, why);
  }
}

/** The garbage collector acts on these finalizers; a new policy replaces the old one's. */
function setPropagation(metadata: JsonObject, policy: string): void {
  const kept = asStrings(metadata["finalizers"]).filter((finalizer) => finalizer !== FOREGROUND && finalizer !== ORPHAN);
  if (policy === "Foreground") kept.push(FOREGROUND);
  if (policy === "Orphan") kept.push(ORPHAN);
  if (kept.length > 0) metadata["finalizers"] = kept;
  else delete metadata["finalizers"];
}

/** A second deletion may only shorten the grace. */
function markDeleted(api: Api, row: Row, object: JsonObject, grace: number): void {
  const metadata = metadataOf(object);
  const already = metadata["deletionTimestamp"] !== undefined;
  if (already && grace >= asNumber(metadata["deletionGracePeriodSeconds"])) return;
  metadata["deletionTimestamp"] = timestamp(api.now() + grace * 1000);
  metadata["deletionGracePeriodSeconds"] = grace;
  if (row.generation && !already) metadata["generation"] = asNumber(metadata["generation"], 1) + 1;
  if (row.bucket === "/namespaces") object["status"] = { ...(isObject(object["status"]) ? object["status"] : {}), phase: "Terminating" };
}

function metadataUnchanged(a: JsonObject, b: JsonObject): boolean {
  const same = (field: string) => JSON.stringify(a[field]) === JSON.stringify(b[field]);
  return same("deletionTimestamp") && same("deletionGracePeriodSeconds") && same("finalizers");
}
