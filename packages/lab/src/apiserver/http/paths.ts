// Owns the addresses that are not objects: discovery, OpenAPI, version, health and the token issuer's documents.
import { ISSUER } from "../auth/tokens.ts";
import type { Api } from "../context.ts";
import { aggregated, coreVersions, groupDocument, groupList, resourceList } from "../discovery.ts";
import type { JsonObject } from "../json.ts";
import { methodNotAllowed, noSuchResource, PageNotFound } from "../status.ts";
import type { Exchange } from "./exchange.ts";
import { negotiateDiscovery } from "./negotiate.ts";
import { serveOpenApi } from "./openapi.ts";
import type { PathRequest } from "./route.ts";
import { isTrue } from "./route.ts";

const SERVER_VERSION: JsonObject = {
  major: "1",
  minor: "35",
  gitVersion: "v1.35.0+ambit-lab",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: `node ${process.version}`,
  compiler: "node",
  platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}`,
};

const HEALTH = ["/healthz", "/livez", "/readyz"];
const ROOTS = ["/.well-known/openid-configuration", "/api", "/apis", ...HEALTH, "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/version"];

export async function servePath(api: Api, exchange: Exchange, target: PathRequest): Promise<void> {
  if (target.verb !== "get") throw methodNotAllowed();
  const path = target.path.length > 1 ? target.path.replace(/\/+$/, "") : target.path;
  const parts = path.split("/").slice(1);
  if (HEALTH.includes(`/${parts[0] ?? ""}`)) return serveHealth(exchange, parts);
  if (parts[0] === "openapi") return serveOpenApi(api, exchange, path);
  if (path === "/apis" || path === "/api") return serveRoot(api, exchange, path);
  exchange.reply(200, documentAt(api, path, parts));
}

function serveRoot(api: Api, exchange: Exchange, path: string): void {
  const version = negotiateDiscovery(exchange.request.headers.accept);
  exchange.response.setHeader("vary", "Accept");
  if (version !== null) {
    const type = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
    return exchange.send(200, type, JSON.stringify(aggregated(api.registry, path === "/api", version)));
  }
  exchange.reply(200, path === "/apis" ? groupList(api.registry) : coreVersions("172.30.0.1:6443"));
}

function documentAt(api: Api, path: string, parts: readonly string[]): JsonObject {
  if (path === "/") return { paths: rootPaths(api) };
  if (path === "/version") return SERVER_VERSION;
  if (path === "/openid/v1/jwks") return api.tokens.keySet();
  if (path === "/.well-known/openid-configuration") return issuerDocument();
  const [root, group = "", version = ""] = parts;
  if (root === "api" && parts.length === 2) return versionDocument(api, "", group);
  if (root === "apis" && parts.length === 3) return versionDocument(api, group, version);
  const document = root === "apis" && parts.length === 2 ? groupDocument(api.registry, group) : null;
  if (document === null) throw new PageNotFound();
  return document;
}

function versionDocument(api: Api, group: string, version: string): JsonObject {
  const info = api.registry.groups().find((candidate) => candidate.group === group);
  const found = info?.versions.find((candidate) => candidate.version === version);
  if (found === undefined) throw api.registry.hasBuiltinGroup(group) ? noSuchResource() : new PageNotFound();
  return resourceList(found);
}

function rootPaths(api: Api): string[] {
  const groups = api.registry.groups().filter((info) => info.group !== "");
  const paths = groups.flatMap((info) => [`/apis/${info.group}`, ...info.versions.map((v) => `/apis/${info.group}/${v.version}`)]);
  return [...ROOTS, "/api/v1", ...paths].sort();
}

function issuerDocument(): JsonObject {
  return {
    issuer: ISSUER,
    jwks_uri: `${ISSUER}/openid/v1/jwks`,
    response_types_supported: ["id_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: ["ES256"],
  };
}

/** A server that answers at all has its store; the checks by name exist for kubectl's --raw users. */
function serveHealth(exchange: Exchange, parts: readonly string[]): void {
  if (parts.length > 2 || (parts.length === 2 && parts[1] !== "ping" && parts[1] !== "etcd")) throw new PageNotFound();
  const verbose = exchange.query.has("verbose") && isTrue(exchange.query.get("verbose"));
  const text = verbose ? `[+]ping ok\n[+]etcd ok\n${parts[0] ?? ""} check passed\n` : "ok";
  exchange.send(200, "text/plain; charset=utf-8", text);
}
