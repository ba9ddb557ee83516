// Owns server-side apply: the applied configuration of one manager merged into the live object, or conflicts.
import { timestamp } from "../context.ts";
import { decodeObject, mediaType } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import { cloneJson, isObject, type Json, type JsonObject } from "../json.ts";
import { applyServerSide, type Conflict } from "../patch/apply.ts";
import { goShape } from "../registry/go-shape.ts";
import { apiVersionOf, keyOf, type Row } from "../registry/row.ts";
import { schemaOf } from "../registry/schemas.ts";
import { ApiError, badRequest, invalid, notFound, qualified, required } from "../status.ts";
import type { Entry } from "../storage/store.ts";
import { checkName, takeInApplied, untypable } from "./intake.ts";
import { metadataOf } from "./metadata.ts";
import { readWriteOptions, type WriteOptions } from "./options.ts";
import type { PatchRequest } from "./patch.ts";
import { create, requireCreate, update, type Write } from "./write.ts";

export async function apply(request: PatchRequest, subresource: string): Promise<{ entry: Entry; created: boolean }> {
  const { api, exchange, row, target } = request;
  const options = readWriteOptions(exchange);
  if ((exchange.query.get("fieldManager") ?? "") === "") {
    const subject = { group: "meta.k8s.io", resource: "patchoptions", kind: "PatchOptions" };
    throw invalid(subject, "", [required("fieldManager", "is required for apply patch")]);
  }
  const applied = ownPart(readApplied(exchange, request), row, subresource);
  const warn = (text: string) => exchange.warn(text);
  const write: Write = { api, row, namespace: target.namespace, name: target.name, user: exchange.user, options, warn, managed: true };
  const merge = (live: JsonObject | null) => merged(request, live, applied, options, subresource);
  if (api.store.get(row.bucket, keyOf(row, target.namespace, target.name)) !== undefined) {
    return { entry: await update(write, subresource, merge), created: false };
  }
  if (subresource !== "") throw notFound(row, target.name);
  if (metadataOf(applied)["uid"] !== undefined) {
    const details = { name: target.name, kind: row.resource, ...(row.group === "" ? {} : { group: row.group }) };
    throw new ApiError(409, "Conflict", `Operation cannot be fulfilled on ${qualified(row)} "${target.name}": uid mismatch: the provided object specified uid ${String(metadataOf(applied)["uid"])}, and no existing object was found`, details);
  }
  requireCreate(write);
  const made = merge(null);
  // A version is a condition on what is there, and nothing is.
  delete metadataOf(made)["resourceVersion"];
  return { entry: await create(write, made), created: true };
}

function readApplied(exchange: Exchange, request: PatchRequest): JsonObject {
  const { row, target, body } = request;
  const given = decodeObject(body, mediaType(exchange.request));
  for (const field of ["apiVersion", "kind"]) {
    if (typeof given[field] !== "string" || given[field] === "") throw badRequest(`an applied configuration needs ${field}`);
  }
  const managed = isObject(given["metadata"]) ? given["metadata"]["managedFields"] : undefined;
  if (Array.isArray(managed) && managed.length > 0) throw badRequest("metadata.managedFields must be nil");
  const applied = takeInApplied(row, target, given);
  checkName(applied, target.name);
  // Which version is applied to is not for the applier to say when there is none yet.
  delete metadataOf(applied)["creationTimestamp"];
  return applied;
}

/** What this address may set at all: nobody comes to manage a field that the write then leaves out. */
function ownPart(applied: JsonObject, row: Row, subresource: string): JsonObject {
  if (row.status === null || (subresource !== "" && subresource !== "status")) return applied;
  const { status, ...rest } = applied;
  if (subresource === "") return rest;
  const { apiVersion, kind, metadata } = applied;
  const part = { apiVersion, kind, metadata, status };
  return Object.fromEntries(Object.entries(part).filter((member): member is [string, Json] => member[1] !== undefined));
}

function merged(request: PatchRequest, live: JsonObject | null, applied: JsonObject, options: WriteOptions, subresource: string): JsonObject {
  const { api, row } = request;
  const result = applyServerSide({
    live,
    applied: cloneJson(applied),
    manager: options.fieldManager,
    force: options.force,
    subresource,
    apiVersion: apiVersionOf(row),
    schema: schemaOf(row),
    now: timestamp(api.now()),
  });
  if (result.ok) return row.custom === null ? goShape(result.object, schemaOf(row)) : cloneJson(result.object);
  if ("invalid" in result) throw untypable(result.invalid);
  throw conflicts(result.conflicts);
}

/** Upstream's text: managers with their fields, so that kubectl can print its advice. */
function conflicts(found: readonly Conflict[]): ApiError {
  const causes = found.map(({ field, message }) => ({ reason: "FieldManagerConflict", message, field }));
  const plural = found.length === 1 ? "conflict" : "conflicts";
  const byManager = new Map<string, string[]>();
  for (const { message, field } of found) byManager.set(message, [...(byManager.get(message) ?? []), field]);
  const [only] = byManager;
  const single = found.length === 1 && only !== undefined;
  const several = (message: string): string => message.replace(/^conflict /, "conflicts ");
  const text = single ? `${only[0]}: ${only[1][0]}` : [...byManager].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([message, fields]) => `${several(message)}:\n${fields.map((f) => `- ${f}`).join("\n")}`).join("\n");
  return new ApiError(409, "Conflict", `Apply failed with ${found.length} ${plural}: ${text}`, { causes });
}
