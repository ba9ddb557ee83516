// Owns what happens to a request object before any verb: its type, namespace and name must fit the address.
import type { Exchange } from "../http/exchange.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asString, type JsonObject } from "../json.ts";
import { pruneUnknown } from "../registry/schemas.ts";
import { apiVersionOf, type Row } from "../registry/row.ts";
import { badRequest } from "../status.ts";
import { metadataOf, shapeMetadata } from "./metadata.ts";
import type { Validation } from "./options.ts";

/**
 * Checks type and shape of a whole object sent for `row`; fills apiVersion, kind and namespace in.
 * Unknown fields are dropped; as `validation` says they also warn or refuse.
 */
export function takeIn(exchange: Exchange, row: Row, target: ResourceRequest, given: JsonObject, validation: Validation): JsonObject {
  checkType(row, given);
  given["apiVersion"] = apiVersionOf(row);
  given["kind"] = row.kind;
  const droppedMetadata = shapeMetadata(given);
  const { value: object, dropped } = pruneUnknown(row, given);
  report(exchange, [...droppedMetadata, ...dropped], validation);
  placeIn(row, target, object);
  return object;
}

function checkType(row: Row, object: JsonObject): void {
  const expected = apiVersionOf(row);
  const apiVersion = object["apiVersion"] ?? "";
  const kind = object["kind"] ?? "";
  if (typeof apiVersion !== "string" || typeof kind !== "string") throw badRequest("apiVersion and kind must be strings");
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

/** Refuses (Strict) or names in warnings (Warn) the fields that no schema knows. */
export function report(exchange: Exchange, dropped: readonly string[], validation: Validation): void {
  if (dropped.length === 0 || validation === "Ignore") return;
  const texts = dropped.map((path) => `unknown field ${JSON.stringify(path)}`);
  if (validation === "Strict") throw badRequest(`strict decoding error: ${texts.join(", ")}`);
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
