// Owns what happens to a request object before any verb: its type, namespace and name must fit the address.
import type { Exchange } from "../http/exchange.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asObject, asString, isObject, type Json, type JsonObject } from "../json.ts";
import { pruneUnknown } from "../registry/schemas.ts";
import { apiVersionOf, type Row } from "../registry/row.ts";
import { ApiError, badRequest, invalid, invalidValue } from "../status.ts";
import { metadataOf, shapeMetadata } from "./metadata.ts";
import type { Validation } from "./options.ts";

/**
 * Checks type and shape of a whole object sent for `row`; fills apiVersion, kind and namespace in.
 * Unknown fields are dropped; as `validation` says they, and `twice` (fields given twice), also warn or refuse.
 */
export function takeIn(exchange: Exchange, row: Row, target: ResourceRequest, given: JsonObject, validation: Validation, twice: readonly string[] = []): JsonObject {
  const object = shape(exchange, row, given, validation, twice);
  placeIn(row, target, object);
  return object;
}

/** What a patch makes is read like an object that was sent, but refused as a bad patch. */
export function takeInPatched(exchange: Exchange, row: Row, target: ResourceRequest, patched: JsonObject, validation: Validation): JsonObject {
  let object: JsonObject;
  try {
    object = shape(exchange, row, patched, validation, []);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 400 || row.custom !== null) throw error;
    const problem = invalidValue("patch", JSON.stringify(patched).slice(0, SHOWN_CHARS), error.message);
    throw new ApiError(422, "Invalid", ` "" is invalid: patch: ${problem.message}`, { causes: [{ reason: problem.type, message: problem.message, field: problem.field }] });
  }
  placeIn(row, target, object);
  return object;
}

/** An applied configuration keeps what is empty, since that is managed too; what the schema does not declare cannot be merged. */
export function takeInApplied(row: Row, target: ResourceRequest, given: JsonObject): JsonObject {
  checkType(row, given);
  const empty = emptyMaps(given["metadata"]);
  const droppedMetadata = shapeMetadata(given);
  let read: { value: JsonObject; dropped: string[] };
  try {
    read = pruneUnknown(row, given, true);
  } catch (error) {
    if (error instanceof ApiError && error.code === 400) throw untypable(error.message);
    throw error;
  }
  const [unknown] = [...droppedMetadata, ...read.dropped];
  if (unknown !== undefined) throw untypable(`.${unknown}: field not declared in schema`);
  given["kind"] = row.kind;
  Object.assign(metadataOf(read.value), empty);
  placeIn(row, target, read.value);
  return read.value;
}

function emptyMaps(metadata: Json | undefined): JsonObject {
  const maps = ["labels", "annotations"].filter((field) => isObject(asObject(metadata)[field]) && Object.keys(asObject(asObject(metadata)[field])).length === 0);
  return Object.fromEntries(maps.map((field) => [field, {}]));
}

/** Upstream has no better class for a configuration that its merge cannot type. */
export function untypable(why: string): ApiError {
  return new ApiError(500, "", `failed to create typed patch object: ${why}`);
}

/** A refused patch shows what came of it, up to here. */
const SHOWN_CHARS = 2048;

function shape(exchange: Exchange, row: Row, given: JsonObject, validation: Validation, twice: readonly string[]): JsonObject {
  checkType(row, given);
  given["apiVersion"] = apiVersionOf(row);
  given["kind"] = row.kind;
  const droppedMetadata = shapeMetadata(given);
  const { value: object, dropped } = pruneUnknown(row, given);
  const texts = [...twice.map((path) => `duplicate field ${JSON.stringify(path)}`), ...[...droppedMetadata, ...dropped].map((path) => `unknown field ${JSON.stringify(path)}`)];
  report(exchange, row, texts, validation);
  return object;
}

function checkType(row: Row, object: JsonObject): void {
  const expected = apiVersionOf(row);
  const apiVersion = object["apiVersion"] ?? "";
  const kind = object["kind"] ?? "";
  if (typeof apiVersion !== "string" || typeof kind !== "string") throw badRequest("apiVersion and kind must be strings");
  if (row.custom !== null && apiVersion === expected && kind !== "" && kind !== row.kind) {
    const problem = invalidValue("kind", kind, `must be ${row.kind}`);
    throw invalid({ ...row, kind }, asString(asObject(object["metadata"])["name"]), [problem]);
  }
  if (apiVersion !== "" && apiVersion !== expected) {
    throw badRequest(`the API version in the data (${apiVersion}) does not match the expected API version (${expected})`);
  }
  if (kind !== "" && kind !== row.kind) {
    throw badRequest(`${kind} in version ${JSON.stringify(apiVersion)} cannot be handled as a ${row.kind}`);
  }
  if (row.custom !== null && (apiVersion === "" || kind === "")) {
    throw badRequest("Object 'Kind' or 'apiVersion' is missing in the object");
  }
}

/** Refuses (Strict) or warns of (Warn) the fields that no schema knows, or that were given twice. */
function report(exchange: Exchange, row: Row, texts: readonly string[], validation: Validation): void {
  if (texts.length === 0 || validation === "Ignore") return;
  if (validation === "Strict") {
    throw badRequest(`${row.kind} in version ${JSON.stringify(row.version)} cannot be handled as a ${row.kind}: strict decoding error: ${texts.join(", ")}`);
  }
  for (const text of texts) exchange.warn(text);
}

function placeIn(row: Row, target: ResourceRequest, object: JsonObject): void {
  const metadata = metadataOf(object);
  const namespace = asString(metadata["namespace"]);
  if (!row.namespaced) {
    if (namespace !== "") throw badRequest("namespace may not be set on an object of a cluster-scoped resource");
    return;
  }
  if (namespace !== "" && namespace !== target.namespace) {
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  }
  metadata["namespace"] = target.namespace;
}

/** On writes to a named object: the body's name, if any, is the address's. */
export function checkName(object: JsonObject, name: string): void {
  const metadata = metadataOf(object);
  const given = asString(metadata["name"]);
  if (given !== "" && given !== name) {
    throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`);
  }
  metadata["name"] = name;
}
