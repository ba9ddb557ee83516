// Owns PATCH: choosing the engine by content type and committing what it makes of the live object.
import type { Api } from "../context.ts";
import { decodeJsonOrYaml, mediaType } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ResourceRequest } from "../http/route.ts";
import type { JsonObject } from "../json.ts";
import { applyJsonPatch } from "../patch/json-patch.ts";
import { applyMergePatch } from "../patch/merge-patch.ts";
import type { Patched } from "../patch/patched.ts";
import { applyStrategicMergePatch } from "../patch/strategic.ts";
import type { Row } from "../registry/row.ts";
import { schemaOf } from "../registry/schemas.ts";
import { ApiError, badRequest } from "../status.ts";
import type { Entry } from "../storage/store.ts";
import { takeInPatched } from "./intake.ts";
import { readWriteOptions } from "./options.ts";
import { apply } from "./apply.ts";
import { update, type Write } from "./write.ts";

const JSON_PATCH = "application/json-patch+json";
const MERGE_PATCH = "application/merge-patch+json";
const STRATEGIC_PATCH = "application/strategic-merge-patch+json";
const APPLY_PATCH = "application/apply-patch+yaml";

export function patchTypes(row: Row): string[] {
  const all = [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH];
  return row.custom === null ? all : all.filter((type) => type !== STRATEGIC_PATCH);
}

export interface PatchRequest {
  readonly api: Api;
  readonly exchange: Exchange;
  readonly row: Row;
  readonly target: ResourceRequest;
  readonly body: Buffer;
}

/** Applies the request's patch to any document of a row (the object itself, or a Scale of it). */
export function patchDocument(request: PatchRequest, schema: Record<string, unknown>): (document: JsonObject) => JsonObject {
  const type = mediaType(request.exchange.request);
  if (!patchTypes(request.row).includes(type) || type === APPLY_PATCH) {
    if (request.row.custom === null) throw new ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
    const accepted = patchTypes(request.row).join(", ");
    throw new ApiError(415, "UnsupportedMediaType", `the body of the request was in an unknown format - accepted media types include: ${accepted}`);
  }
  const patch = decodeJsonOrYaml(request.body, "application/json");
  return (document) => {
    const result = runEngine(type, document, patch, schema);
    if (result.ok) return result.value;
    if (result.status === 400) throw badRequest(result.message);
    // Upstream has no class for these, and no words for a JSON patch that does not fit.
    if (result.status === 500) throw new ApiError(500, "", result.message);
    throw new ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {});
  };
}

function runEngine(type: string, document: JsonObject, patch: unknown, schema: Record<string, unknown>): Patched {
  if (type === JSON_PATCH) return applyJsonPatch(document, patch);
  if (type === MERGE_PATCH) return applyMergePatch(document, patch);
  return applyStrategicMergePatch(document, patch, schema);
}

export async function patch(request: PatchRequest, subresource: string): Promise<{ entry: Entry; created: boolean }> {
  const { api, exchange, row, target } = request;
  if (mediaType(exchange.request) === APPLY_PATCH) return apply(request, subresource);
  const options = readWriteOptions(exchange);
  const change = patchDocument(request, schemaOf(row));
  const warn = (text: string) => exchange.warn(text);
  const write: Write = { api, row, namespace: target.namespace, name: target.name, user: exchange.user, options, warn, patching: true };
  const entry = await update(write, subresource, (live) => {
    const patched = change(live);
    return takeInPatched(exchange, row, target, patched, options.fieldValidation);
  });
  return { entry, created: false };
}
