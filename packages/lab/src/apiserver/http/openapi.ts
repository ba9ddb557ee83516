// Owns the addresses of OpenAPI documents, made once per state of the registry.
import type { Api } from "../context.ts";
import { documentHash, openapiV2, openapiV3, openapiV3Index } from "../openapi/documents.ts";
import { encodeOpenapiV2, OPENAPI_V2_PROTOBUF, OPENAPI_V2_PROTOBUF_LABEL } from "../openapi/protobuf.ts";
import type { Registry } from "../registry/registry.ts";
import { noSuchResource, notAcceptable } from "../status.ts";
import { clauses } from "./negotiate.ts";
import type { Exchange } from "./exchange.ts";

interface Cached {
  readonly generation: number;
  readonly texts: Map<string, string>;
}

/** Documents run to megabytes: they are kept as text until a CRD comes, changes or goes. */
const cache = new WeakMap<Registry, Cached>();

export function serveOpenApi(api: Api, exchange: Exchange, path: string): void {
  const accept = exchange.request.headers.accept;
  exchange.response.setHeader("vary", "Accept");
  // kubectl up to 1.26, and every Go client of the discovery package, reads version 2 in protobuf only.
  if (path === "/openapi/v2" && clauses(accept ?? "").some((clause) => clause.type === OPENAPI_V2_PROTOBUF)) {
    return exchange.send(200, OPENAPI_V2_PROTOBUF_LABEL, protobufOf(api));
  }
  const json = clauses(accept ?? "*/*").some((clause) => ["application/json", "application/*", "*/*"].includes(clause.type));
  if (!json) throw notAcceptable("application/json");
  if (path === "/openapi/v2") return sendText(exchange, textOf(api.registry, path, () => openapiV2(kinds(api))), "");
  if (path === "/openapi/v3") return sendText(exchange, textOf(api.registry, path, () => openapiV3Index(kinds(api))), "");
  if (!path.startsWith("/openapi/v3/")) throw noSuchResource();
  const name = path.slice("/openapi/v3/".length);
  const text = textOf(api.registry, path, () => openapiV3(name, kinds(api)));
  if (text === undefined) throw noSuchResource();
  sendText(exchange, text, documentHash(name, kinds(api)));
}

const encoded = new WeakMap<Registry, { readonly generation: number; readonly bytes: Uint8Array }>();

function protobufOf(api: Api): Uint8Array {
  const { registry } = api;
  let known = encoded.get(registry);
  if (known === undefined || known.generation !== registry.generation) {
    known = { generation: registry.generation, bytes: encodeOpenapiV2(openapiV2(kinds(api))) };
    encoded.set(registry, known);
  }
  return known.bytes;
}

function kinds(api: Api) {
  return api.registry.rows();
}

function textOf<T extends object | undefined>(registry: Registry, path: string, make: () => T): string | Extract<T, undefined> {
  let cached = cache.get(registry);
  if (cached === undefined || cached.generation !== registry.generation) {
    cached = { generation: registry.generation, texts: new Map() };
    cache.set(registry, cached);
  }
  const known = cached.texts.get(path);
  if (known !== undefined) return known;
  const document = make();
  if (document === undefined) return undefined as Extract<T, undefined>;
  const text = JSON.stringify(document);
  cached.texts.set(path, text);
  return text;
}

/** A document with a hash never changes under that hash: clients may keep it. */
function sendText(exchange: Exchange, text: string, hash: string): void {
  if (hash !== "") {
    exchange.response.setHeader("etag", `"${hash}"`);
    if (exchange.query.get("hash") === hash) {
      exchange.response.setHeader("expires", new Date(Date.now() + 365 * 24 * 3600 * 1000).toUTCString());
      return exchange.send(200, "application/json", text, "public");
    }
  }
  exchange.send(200, "application/json", text);
}
