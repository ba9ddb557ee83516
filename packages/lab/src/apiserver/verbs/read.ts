// Owns get and list: finding entries, selecting, paging, and answering in the negotiated form.
import type { Api } from "../context.ts";
import type { Exchange } from "../http/exchange.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asObject, asString, type JsonObject } from "../json.ts";
import { keyOf, type Row } from "../registry/row.ts";
import { labelsOf, matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector } from "../selectors.ts";
import type { FieldSelector, Selector } from "../selectors.ts";
import { ApiError, badRequest, expired, invalidValue, notFound, tooLargeResourceVersion } from "../status.ts";
import { decodeContinue, encodeContinue } from "../storage/pages.ts";
import type { Entry } from "../storage/store.ts";
import { readListOptions, readVersion, type ListOptions } from "./options.ts";
import { listText, partialText, plainText, table, versionOf } from "./render.ts";

export function requireEntry(api: Api, row: Row, namespace: string, name: string): Entry {
  const entry = api.store.get(row.bucket, keyOf(row, namespace, name));
  if (entry === undefined) throw notFound(row, name);
  return entry;
}

export function get(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): void {
  refuseFuture(api, readVersion(exchange.query.get("resourceVersion"), "get"));
  replyEntry(api, exchange, row, 200, requireEntry(api, row, target.namespace, target.name));
}

export function replyEntry(api: Api, exchange: Exchange, row: Row, code: number, entry: Entry): void {
  const { shape, metaVersion } = exchange.negotiated;
  if (shape === "PartialObjectMetadataList") throw new ApiError(406, "NotAcceptable", `you requested ${shape}, but the requested object is not a list (${goType(row)})`);
  if (shape === "Table") {
    const metadata: JsonObject = { resourceVersion: versionOf(entry.object) };
    exchange.reply(code, table(row, [entry], metadata, tableOptions(api, exchange)));
    return;
  }
  exchange.reply(code, shape === "plain" ? plainText(row, entry) : partialText(entry, metaVersion));
}

/** How upstream calls a kind among its own types. */
function goType(row: Row): string {
  return `*${row.custom === null ? (row.group.split(".")[0] || "core") : "unstructured"}.${row.custom === null ? row.kind : "Unstructured"}`;
}

export function tableOptions(api: Api, exchange: Exchange) {
  const include = exchange.query.get("includeObject") || "Metadata";
  if (!["None", "Metadata", "Object"].includes(include)) {
    const why = `includeObject: ${invalidValue("", include, "must be 'Metadata', 'Object', 'None', or empty").message}`;
    throw badRequest(`Unable to convert to Table as requested: ${why}`);
  }
  return { include, metaVersion: exchange.negotiated.metaVersion, now: api.now() };
}

export interface Selection {
  readonly labels: Selector;
  readonly fields: FieldSelector;
}

export function readSelection(row: Row, query: URLSearchParams, name: string): Selection {
  const known = ["metadata.name", ...(row.namespaced ? ["metadata.namespace"] : []), ...row.fieldNames];
  const fields = parseFieldSelector(query.get("fieldSelector") ?? "", known);
  const byName = name === "" ? [] : [{ field: "metadata.name", equal: true, value: name }];
  return { labels: parseLabelSelector(query.get("labelSelector") ?? ""), fields: [...fields, ...byName] };
}

export function selects(row: Row, selection: Selection, object: JsonObject): boolean {
  if (selection.labels.length > 0 && !matchesLabels(selection.labels, labelsOf(object))) return false;
  return selection.fields.length === 0 || matchesFields(selection.fields, fieldsOf(row, object));
}

function fieldsOf(row: Row, object: JsonObject): Record<string, string> {
  const metadata = asObject(object["metadata"]);
  return {
    ...row.fields(object),
    "metadata.name": asString(metadata["name"]),
    "metadata.namespace": asString(metadata["namespace"]),
  };
}

/** All selected entries of a namespace ("" is all of them). */
export function selected(api: Api, row: Row, namespace: string, selection: Selection): Entry[] {
  const prefix = row.namespaced && namespace !== "" ? `${namespace}/` : "";
  const entries = api.store.list(row.bucket, prefix);
  if (selection.labels.length === 0 && selection.fields.length === 0) return entries;
  return entries.filter((entry) => selects(row, selection, entry.object));
}

export function list(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): void {
  const options = readListOptions(exchange.query);
  if (exchange.negotiated.shape === "PartialObjectMetadata") {
    throw new ApiError(406, "NotAcceptable", `you requested PartialObjectMetadata, but the requested object is a list (${goType(row)}List)`);
  }
  const selection = readSelection(row, exchange.query, target.name);
  const page = takePage(api, row, target.namespace, selection, options);
  const metadata: JsonObject = { resourceVersion: String(page.rv) };
  if (page.next !== "") metadata["continue"] = page.next;
  const unselected = selection.labels.length === 0 && selection.fields.length === 0;
  if (page.remaining > 0 && unselected) metadata["remainingItemCount"] = page.remaining;
  if (exchange.negotiated.shape === "Table") {
    exchange.reply(200, table(row, page.entries, metadata, tableOptions(api, exchange)));
    return;
  }
  exchange.reply(200, listText(row, exchange.negotiated, page.entries, metadata));
}

interface Page {
  readonly entries: readonly Entry[];
  readonly rv: number;
  readonly next: string;
  readonly remaining: number;
}

function takePage(api: Api, row: Row, namespace: string, selection: Selection, options: ListOptions): Page {
  if (options.continueToken !== "") return continuePage(api, row, namespace, selection, options);
  refuseFuture(api, options.resourceVersion);
  if (options.match === "Exact" && options.resourceVersion !== null && options.resourceVersion !== api.store.rv) {
    const rv = options.resourceVersion;
    return cut(api, selectedAt(api, row, namespace, selection, rv), rv, options.limit);
  }
  return cut(api, selected(api, row, namespace, selection), api.store.rv, options.limit);
}

/** The list as it was: what is there now, with the changes since then undone. */
function selectedAt(api: Api, row: Row, namespace: string, selection: Selection, rv: number): Entry[] {
  const resume = api.store.since(row.bucket, rv);
  if (resume.kind === "gone") throw expired(`The resourceVersion for the provided list is too old: ${rv}`);
  const prefix = row.namespaced && namespace !== "" ? `${namespace}/` : "";
  const entries = new Map(api.store.list(row.bucket, prefix).map((entry) => [entry.key, entry]));
  for (const { before, after } of resume.changes.toReversed()) {
    const key = (before ?? after)?.key ?? "";
    if (!key.startsWith(prefix)) continue;
    if (before === null) entries.delete(key);
    else entries.set(key, before);
  }
  return [...entries.values()].filter((entry) => selects(row, selection, entry.object)).toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

function continuePage(api: Api, row: Row, namespace: string, selection: Selection, options: ListOptions): Page {
  const token = decodeContinue(options.continueToken);
  if (options.resourceVersion !== null && options.resourceVersion !== 0) {
    throw new ApiError(400, "BadRequest", "specifying resource version is not allowed when using continue");
  }
  // A token without a snapshot was handed out with a 410: go on from its key with what is there now.
  if (token.snapshot === "") {
    const entries = selected(api, row, namespace, selection).filter((entry) => entry.key > token.after);
    return cut(api, entries, api.store.rv, options.limit);
  }
  const snapshot = api.pages.find(token);
  if (snapshot === undefined) throw lostPage(api.store.rv, token.after);
  const entries = snapshot.entries.filter((entry) => entry.key > token.after);
  return cut(api, entries, snapshot.rv, options.limit);
}

function lostPage(rv: number, after: string): ApiError {
  const text =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list " +
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the " +
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, " +
    "modified, or deleted between the time the first chunk was returned and now may show up in the list.";
  return new InconsistentList(410, "Expired", text, encodeContinue({ snapshot: "", rv, after }));
}

/** A 410 whose metadata carries the token with which to go on all the same. */
class InconsistentList extends ApiError {
  readonly #next: string;

  constructor(code: number, reason: string, message: string, next: string) {
    super(code, reason, message);
    this.#next = next;
  }

  override toStatus(): JsonObject {
    return { ...super.toStatus(), metadata: { continue: this.#next } };
  }
}

function cut(api: Api, entries: readonly Entry[], rv: number, limit: number): Page {
  if (limit === 0 || entries.length <= limit) return { entries, rv, next: "", remaining: 0 };
  const page = entries.slice(0, limit);
  const last = page[page.length - 1] as Entry;
  return { entries: page, rv, next: api.pages.keep(rv, entries, last.key), remaining: entries.length - limit };
}

function refuseFuture(api: Api, asked: number | null): void {
  if (asked !== null && asked > api.store.rv) throw tooLargeResourceVersion(asked, api.store.rv);
}
