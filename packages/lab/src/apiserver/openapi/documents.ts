// Owns the OpenAPI documents that the API server publishes: version 2 whole, version 3 by group and version.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { JsonObject } from "../json.ts";
import { pathsFor } from "./operations.ts";
import { schemasFor } from "./schemas.ts";
import { documentPath, type ServedKind } from "./served-kind.ts";

export type { ServedKind } from "./served-kind.ts";

/** Raised whenever documents are written differently for the same kinds: clients cache them by hash. */
const REVISION = 2;

/** Operations on scale, eviction, binding and token send kinds of their own, wherever the resource is. */
const FOREIGN: readonly ServedKind[] = [
  { group: "autoscaling", version: "v1", kind: "Scale" },
  { group: "policy", version: "v1", kind: "Eviction" },
  { group: "", version: "v1", kind: "Binding" },
  { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" },
].map((gvk) => ({ ...gvk, resource: "", namespaced: true, status: null, scale: null, subresources: [], custom: null }));

function info(): JsonObject {
  return { title: "Kubernetes", version: "v1.35.0" };
}

/** The Swagger 2.0 document of everything served, built-in and custom. */
export function openapiV2(kinds: readonly ServedKind[]): JsonObject {
  return {
    swagger: "2.0",
    info: info(),
    paths: pathsFor(kinds, "v2"),
    definitions: schemasFor([...kinds, ...FOREIGN], "v2"),
  };
}

/** `/openapi/v3`: one entry for each group and version, whose hash changes with its content. */
export function openapiV3Index(kinds: readonly ServedKind[]): JsonObject {
  const paths: JsonObject = {};
  for (const path of new Set(kinds.map(documentPath))) {
    paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${documentHash(path, kinds)}` };
  }
  return { paths };
}

/** The OpenAPI 3.0 document at `path` (`api/v1`, `apis/apps/v1`); undefined when nothing is served there. */
export function openapiV3(path: string, kinds: readonly ServedKind[]): JsonObject | undefined {
  const served = kinds.filter((kind) => documentPath(kind) === path);
  if (served.length === 0) return undefined;
  return {
    openapi: "3.0.0",
    info: info(),
    paths: pathsFor(served, "v3"),
    components: { schemas: schemasFor([...served, ...FOREIGN], "v3") },
  };
}

let builtinDigest: string | undefined;

/** Changes exactly when the document at `path` may have changed. Hexadecimal, upper case. */
export function documentHash(path: string, kinds: readonly ServedKind[]): string {
  builtinDigest ??= createHash("sha256").update(readFileSync(new URL("builtin-schemas.json", import.meta.url))).digest("hex");
  const hash = createHash("sha256").update(`${REVISION} ${builtinDigest}\n`);
  for (const kind of kinds) {
    if (documentPath(kind) !== path) continue;
    const { group, version, resource, namespaced, subresources } = kind;
    const shape = [group, version, resource, kind.kind, namespaced, subresources, kind.status !== null, kind.scale !== null];
    hash.update(JSON.stringify([...shape, kind.custom?.schema ?? null]));
  }
  return hash.digest("hex").toUpperCase();
}
