// Owns watch: initial state, resumption from a version, live changes, bookmarks, time-outs and the bound on slow readers.
import { systemRandom } from "@ambit/runtime";
import type { Api } from "../context.ts";
import { isClosed, pendingBytes, type Exchange } from "../http/exchange.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asObject, type JsonObject } from "../json.ts";
import { apiVersionOf, type Row } from "../registry/row.ts";
import { expired, type ApiError } from "../status.ts";
import type { Change, Entry } from "../storage/store.ts";
import { readListOptions } from "./options.ts";
import { readSelection, selected, selects, tableOptions, type Selection } from "./read.ts";
import { partialText, plainText, table } from "./render.ts";

/** A watch without timeoutSeconds ends after 30 to 60 minutes, spread so that clients do not return all at once. */
const MIN_WATCH_MS = 30 * 60 * 1000;
/** Upstream's rhythm is about a minute. */
const BOOKMARK_MS = 60 * 1000;
/** Unsent bytes beyond what the first answer left: a reader this far behind is dropped and lists again. */
const MAX_BEHIND_BYTES = 16 * 1024 * 1024;
const INITIAL_END = "k8s.io/initial-events-end";

type EventType = "ADDED" | "MODIFIED" | "DELETED";

export function watch(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): void {
  const options = readListOptions(exchange.query, true);
  const selection = readSelection(row, exchange.query, target.name);
  const watcher = new Watcher(api, exchange, row, target.namespace, selection);
  const rv = options.resourceVersion ?? 0;
  const initial = options.initialEvents ?? rv === 0;
  if (initial) {
    watcher.start();
    watcher.sendInitial(options.initialEvents === true);
  } else {
    const resume = rv === 0 ? ({ kind: "ok", changes: [] } as const) : api.store.since(row.bucket, rv);
    watcher.start();
    if (resume.kind === "gone") {
      watcher.fail(expired(`too old resource version: ${rv} (${resume.floor})`));
      return;
    }
    for (const change of resume.changes) watcher.offer(change);
  }
  const limit = options.timeoutS === null ? MIN_WATCH_MS * (1 + systemRandom()) : options.timeoutS * 1000;
  watcher.live(limit, options.bookmarks);
}

class Watcher {
  readonly #api: Api;
  readonly #exchange: Exchange;
  readonly #row: Row;
  readonly #prefix: string;
  readonly #selection: Selection;
  readonly #form: string;
  #allowedBehind = MAX_BEHIND_BYTES;
  /** Whether the columns of a table have been sent: once is enough. */
  #toldColumns = false;
  #end: () => void = () => undefined;

  constructor(api: Api, exchange: Exchange, row: Row, namespace: string, selection: Selection) {
    this.#api = api;
    this.#exchange = exchange;
    this.#row = row;
    this.#prefix = row.namespaced && namespace !== "" ? `${namespace}/` : "";
    this.#selection = selection;
    const { shape, metaVersion } = exchange.negotiated;
    const include = shape === "Table" ? tableOptions(api, exchange).include : "";
    this.#form = `${shape}/${metaVersion}/${include}/${row.form}`;
  }

  start(): void {
    const { response } = this.#exchange;
    response.writeHead(200, this.#exchange.headers("application/json") as Record<string, string>);
    response.flushHeaders();
  }

  sendInitial(mark: boolean): void {
    const namespace = this.#prefix.slice(0, -1);
    for (const entry of selected(this.#api, this.#row, namespace, this.#selection)) this.#write(this.#frame("ADDED", entry));
    if (mark) this.#bookmark({ annotations: { [INITIAL_END]: "true" } });
  }

  live(limitMs: number, bookmarks: boolean): void {
    this.#allowedBehind = MAX_BEHIND_BYTES + pendingBytes(this.#exchange.response);
    const { response } = this.#exchange;
    const stop = this.#api.store.listen(this.#row.bucket, (change) => this.offer(change));
    const { clock } = this.#api;
    const rhythm = bookmarks ? clock.every(BOOKMARK_MS, () => this.#bookmark({})) : null;
    const timer = clock.after(limitMs, () => {
      if (bookmarks) this.#bookmark({});
      this.#finish();
    });
    const onClosing = () => this.#finish();
    this.#api.closing.addEventListener("abort", onClosing);
    const release = () => {
      stop();
      rhythm?.cancel();
      timer.cancel();
      this.#api.closing.removeEventListener("abort", onClosing);
    };
    this.#end = release;
    response.on("close", release);
    response.on("error", release);
  }

  /** Sends what a committed change means for this watcher's view, if anything. */
  offer(change: Change): void {
    const key = (change.after ?? change.before)?.key ?? "";
    if (this.#prefix !== "" && !key.startsWith(this.#prefix)) return;
    const was = change.before !== null && selects(this.#row, this.#selection, change.before.object);
    const is = change.after !== null && selects(this.#row, this.#selection, change.after.object);
    if (!was && !is) return;
    const type: EventType = !was ? "ADDED" : is ? "MODIFIED" : "DELETED";
    const entry = type === "DELETED" ? change.left : change.after;
    const form = `${type}/${this.#form}/${String(this.#toldColumns)}`;
    let frame = change.frames.get(form);
    if (frame === undefined) {
      frame = this.#frame(type, entry as Entry);
      change.frames.set(form, frame);
    }
    this.#write(frame);
  }

  fail(error: ApiError): void {
    this.#write(Buffer.from(`${JSON.stringify({ type: "ERROR", object: error.toStatus() })}\n`));
    this.#finish();
  }

  #frame(type: EventType, entry: Entry): Buffer {
    return Buffer.from(`{"type":"${type}","object":${this.#objectText(entry)}}\n`);
  }

  #objectText(entry: Entry): string {
    const { shape, metaVersion } = this.#exchange.negotiated;
    if (shape === "plain") return plainText(this.#row, entry);
    if (shape !== "Table") return partialText(entry, metaVersion);
    const metadata: JsonObject = { resourceVersion: String(entry.rv) };
    return JSON.stringify(table(this.#row, [entry], metadata, { ...tableOptions(this.#api, this.#exchange), bare: this.#toldColumns }));
  }

  #bookmark(metadata: JsonObject): void {
    const { shape, metaVersion } = this.#exchange.negotiated;
    const rv = String(this.#api.store.rv);
    const object: JsonObject = { kind: this.#row.kind, apiVersion: apiVersionOf(this.#row), metadata: {} };
    if (shape === "PartialObjectMetadata" || shape === "PartialObjectMetadataList") {
      object["kind"] = "PartialObjectMetadata";
      object["apiVersion"] = `meta.k8s.io/${metaVersion}`;
    }
    object["metadata"] = { resourceVersion: rv, creationTimestamp: null, ...asObject(metadata) };
    const shown = shape === "Table" ? tableBookmark(this.#row, object, metaVersion, rv) : object;
    this.#write(Buffer.from(`${JSON.stringify({ type: "BOOKMARK", object: shown })}\n`));
  }

  #write(frame: Buffer): void {
    this.#toldColumns = true;
    const { response } = this.#exchange;
    if (isClosed(response)) return;
    response.write(frame);
    if (pendingBytes(response) <= this.#allowedBehind) return;
    this.#api.log.warn("slow watcher dropped", { path: this.#exchange.target.path, user: this.#exchange.user.name });
    this.#end();
    response.destroy();
  }

  #finish(): void {
    this.#end();
    this.#exchange.response.end();
  }
}

function tableBookmark(row: Row, object: JsonObject, metaVersion: string, rv: string): JsonObject {
  const shown = table(row, [], { resourceVersion: rv }, { include: "None", metaVersion, now: 0 });
  shown["rows"] = [{ cells: [], object }];
  return shown;
}
