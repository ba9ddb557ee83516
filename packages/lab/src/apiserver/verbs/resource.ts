// Owns the generic verbs of one resource: from a routed request to the matching operation and its answer.
import type { Api } from "../context.ts";
import { decodeObject, mediaType, readBody } from "../http/body.ts";
import { duplicateMembers } from "../http/duplicates.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ResourceRequest } from "../http/route.ts";
import type { JsonObject } from "../json.ts";
import { asString, cloneJson } from "../json.ts";
import { keyOf, type Row } from "../registry/row.ts";
import { forbidden, methodNotAllowed, success } from "../status.ts";
import type { Entry } from "../storage/store.ts";
import { readDeleteOptions, remove, type DeleteOptions } from "./delete.ts";
import { checkName, takeIn } from "./intake.ts";
import { metadataOf } from "./metadata.ts";
import { readListOptions, readWriteOptions, type Validation } from "./options.ts";
import { patch } from "./patch.ts";
import { get, list, readSelection, replyEntry, requireEntry, selected } from "./read.ts";
import { listText, present } from "./render.ts";
import { hasHooks, permitDeletion } from "../webhooks/admission.ts";
import { watch } from "./watch.ts";
import { create, requireCreate, update, type Write } from "./write.ts";

/** Serves a request for the resource itself or its status. */
export async function serveResource(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  switch (target.verb) {
    case "get":
      return get(api, exchange, row, target);
    case "list":
      return list(api, exchange, row, target);
    case "watch":
      return watch(api, exchange, row, target);
    case "create":
      return serveCreate(api, exchange, row, target);
    case "update":
      return serveUpdate(api, exchange, row, target);
    case "patch": {
      if (target.name === "") throw methodNotAllowed();
      const body = await readBody(exchange.request);
      const { entry, created } = await patch({ api, exchange, row, target, body }, target.subresource);
      return replyEntry(api, exchange, row, created ? 201 : 200, entry);
    }
    case "delete":
      return serveDelete(api, exchange, row, target);
    case "deletecollection":
      return serveDeleteCollection(api, exchange, row, target);
    default:
      throw methodNotAllowed();
  }
}

async function serveCreate(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const body = await readBody(exchange.request);
  if (target.name !== "" || (row.namespaced && target.namespace === "")) throw methodNotAllowed();
  const options = readWriteOptions(exchange);
  const object = takeIn(exchange, row, target, ...decoded(exchange, body, options.fieldValidation));
  const entry = await create(writeOf(api, exchange, row, target), object);
  replyEntry(api, exchange, row, 201, entry);
}

/** The object of a body, how strictly it is to be read, and which of its members were given twice. */
function decoded(exchange: Exchange, body: Buffer, validation: Validation): [JsonObject, Validation, string[]] {
  const type = mediaType(exchange.request);
  const object = decodeObject(body, type);
  const isJson = type === "" || type === "application/json";
  return [object, validation, isJson && validation !== "Ignore" ? duplicateMembers(body.toString("utf8")) : []];
}

async function serveUpdate(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const body = await readBody(exchange.request);
  if (target.name === "") throw methodNotAllowed();
  const options = readWriteOptions(exchange);
  const object = takeIn(exchange, row, target, ...decoded(exchange, body, options.fieldValidation));
  const write = writeOf(api, exchange, row, target);
  const missing = api.store.get(row.bucket, keyOf(row, target.namespace, target.name)) === undefined;
  if (missing && row.createOnUpdate && target.subresource === "") {
    delete metadataOf(object)["resourceVersion"];
    checkName(object, target.name);
    requireCreate(write);
    return replyEntry(api, exchange, row, 201, await create(write, object));
  }
  replyEntry(api, exchange, row, 200, await update(write, target.subresource, () => cloneJson(object)));
}

export function writeOf(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Write {
  const options = readWriteOptions(exchange);
  const warn = (text: string) => exchange.warn(text);
  return { api, row, namespace: target.namespace, name: target.name, user: exchange.user, options, warn };
}

/** No cluster works without them. */
const IMMORTAL = new Set(["default", "kube-system", "kube-public"]);

async function serveDelete(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const options = await deleteOptions(exchange);
  if (row.bucket === "/namespaces" && IMMORTAL.has(target.name)) throw forbidden(row, target.name, "this namespace may not be deleted");
  const entry = requireEntry(api, row, target.namespace, target.name);
  await permit(api, exchange, row, entry, options);
  const deleted = remove(api, row, requireEntry(api, row, target.namespace, target.name), options);
  if (!deleted.gone || row.returnsDeleted) return replyEntry(api, exchange, row, 200, deleted.entry);
  exchange.reply(200, success(row, target.name, asString(metadataOf(entry.object)["uid"])));
}

/** Lets webhooks refuse a deletion. */
async function permit(api: Api, exchange: Exchange, row: Row, entry: Entry, options: DeleteOptions): Promise<void> {
  const { user } = exchange;
  const before = present(row, entry.object);
  const metadata = metadataOf(before);
  const namespace = asString(metadata["namespace"]);
  const warn = (text: string) => exchange.warn(text);
  const passage = { api, row, namespace, name: asString(metadata["name"]), subresource: "", object: null, before, user, warn, dryRun: options.dryRun, options: options.sent ?? {} };
  const deletion = { ...passage, operation: "DELETE" as const };
  if (hasHooks(deletion)) await permitDeletion(deletion);
}

export async function deleteOptions(exchange: Exchange): Promise<DeleteOptions> {
  const body = await readBody(exchange.request);
  const given: JsonObject | null = body.length === 0 ? null : decodeObject(body, mediaType(exchange.request));
  return readDeleteOptions(given, exchange.query);
}

async function serveDeleteCollection(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const options = await deleteOptions(exchange);
  const { limit } = readListOptions(exchange.query);
  if (!row.deletesCollection || (row.namespaced && target.namespace === "")) throw methodNotAllowed();
  const chosen = selected(api, row, target.namespace, readSelection(row, exchange.query, ""));
  const entries: Entry[] = [];
  for (const entry of limit === 0 ? chosen : chosen.slice(0, limit)) {
    await permit(api, exchange, row, entry, options);
    const now = api.store.get(row.bucket, entry.key);
    if (now !== undefined) entries.push(remove(api, row, now, options).entry);
  }
  exchange.reply(200, listText(row, exchange.negotiated, entries, { resourceVersion: String(api.store.rv) }));
}
