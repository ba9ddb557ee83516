// Owns the paths of OpenAPI documents: which operations a served resource has, and what kubectl reads from them.
import type { Json, JsonObject } from "../json.ts";
import { definitionName } from "./definitions.ts";
import { nameOf, reference, type Dialect } from "./schemas.ts";
import { documentPath, type ServedKind } from "./served-kind.ts";

type Gvk = { group: string; version: string; kind: string };
interface Operation {
  action: string;
  method: "get" | "post" | "put" | "patch" | "delete";
  gvk: Gvk;
  /** Definition of what is sent, or undefined. */
  body: string | undefined;
  /** Definition of what comes back; undefined for plain text. */
  answer: string | undefined;
  query: readonly string[];
  patchTypes: readonly string[];
}

const STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/** kubectl looks these up by name before it sends them. */
const WRITE = ["dryRun", "fieldManager", "fieldValidation"] as const;
const LIST = [
  "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
  "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
] as const;
const DELETE = ["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"] as const;
const BOOLEANS: ReadonlySet<string> = new Set(["allowWatchBookmarks", "sendInitialEvents", "watch", "orphanDependents", "force"]);
const INTEGERS: ReadonlySet<string> = new Set(["limit", "timeoutSeconds", "gracePeriodSeconds"]);
const PATCH_CUSTOM = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const PATCH_BUILTIN = [...PATCH_CUSTOM, "application/strategic-merge-patch+json"];
/** What is sent to a subresource that is not the object itself. */
const SUBRESOURCE_KINDS: ReadonlyMap<string, Gvk> = new Map([
  ["scale", { group: "autoscaling", version: "v1", kind: "Scale" }],
  ["eviction", { group: "policy", version: "v1", kind: "Eviction" }],
  ["binding", { group: "", version: "v1", kind: "Binding" }],
  ["token", { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" }],
]);

/** The path items of the kinds, by URL. */
export function pathsFor(kinds: readonly ServedKind[], dialect: Dialect): JsonObject {
  const paths: JsonObject = {};
  for (const kind of kinds) {
    const root = `/${documentPath(kind)}`;
    const scope = kind.namespaced ? `${root}/namespaces/{namespace}` : root;
    const collection = `${scope}/${kind.resource}`;
    paths[collection] = pathItem(kind, collection, collectionOperations(kind), dialect);
    if (kind.namespaced) {
      const everywhere = `${root}/${kind.resource}`;
      paths[everywhere] = pathItem(kind, everywhere, collectionOperations(kind).slice(0, 1), dialect);
    }
    const item = `${collection}/{name}`;
    paths[item] = pathItem(kind, item, itemOperations(kind, nameOf(kind), gvkOf(kind)), dialect);
    for (const name of subresourcesOf(kind)) {
      const path = `${item}/${name}`;
      paths[path] = pathItem(kind, path, subresourceOperations(kind, name), dialect);
    }
  }
  return paths;
}

function gvkOf(kind: ServedKind): Gvk {
  return { group: kind.group, version: kind.version, kind: kind.kind };
}

function subresourcesOf(kind: ServedKind): string[] {
  const names = new Set(kind.subresources);
  if (kind.status !== null) names.add("status");
  if (kind.scale !== null) names.add("scale");
  return [...names];
}

function collectionOperations(kind: ServedKind): Operation[] {
  const name = nameOf(kind);
  const list = name === undefined ? undefined : `${name}List`;
  const common = { gvk: gvkOf(kind), patchTypes: [] };
  return [
    { ...common, action: "list", method: "get", body: undefined, answer: list, query: LIST },
    { ...common, action: "post", method: "post", body: name, answer: name, query: WRITE },
    { ...common, action: "deletecollection", method: "delete", body: DELETE_OPTIONS, answer: STATUS, query: [...LIST, ...DELETE] },
  ];
}

function itemOperations(kind: ServedKind, name: string | undefined, gvk: Gvk): Operation[] {
  const patchTypes = kind.custom === null ? PATCH_BUILTIN : PATCH_CUSTOM;
  return [
    { action: "get", method: "get", gvk, body: undefined, answer: name, query: [], patchTypes: [] },
    { action: "put", method: "put", gvk, body: name, answer: name, query: WRITE, patchTypes: [] },
    { action: "patch", method: "patch", gvk, body: undefined, answer: name, query: [...WRITE, "force"], patchTypes },
    { action: "delete", method: "delete", gvk, body: DELETE_OPTIONS, answer: STATUS, query: DELETE, patchTypes: [] },
  ];
}

function subresourceOperations(kind: ServedKind, name: string): Operation[] {
  if (name === "status") return itemOperations(kind, nameOf(kind), gvkOf(kind)).slice(0, 3);
  const gvk = SUBRESOURCE_KINDS.get(name);
  if (gvk === undefined) {
    const common = { gvk: gvkOf(kind), body: undefined, answer: undefined, query: [], patchTypes: [] };
    const get: Operation = { ...common, action: name === "log" ? "get" : "connect", method: "get" };
    return name === "log" ? [get] : [get, { ...get, method: "post" }];
  }
  const body = definitionName(gvk.group, gvk.version, gvk.kind);
  if (name === "scale") return itemOperations(kind, body, gvk).slice(0, 3);
  return [{ action: "post", method: "post", gvk, body, answer: body, query: WRITE, patchTypes: [] }];
}

function pathItem(kind: ServedKind, path: string, operations: readonly Operation[], dialect: Dialect): JsonObject {
  const item: JsonObject = {};
  for (const operation of operations) item[operation.method] = write(kind, path, operation, dialect);
  const placeholders = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
  item["parameters"] = placeholders.map((name) => parameter(name, "path", dialect));
  return item;
}

function write(kind: ServedKind, path: string, operation: Operation, dialect: Dialect): JsonObject {
  const { action, method, body, answer } = operation;
  const parameters: Json[] = operation.query.map((name) => parameter(name, "query", dialect));
  const result: JsonObject = {
    operationId: `${method}${path.replaceAll(/[^A-Za-z0-9]+(.)?/g, (_, letter: string | undefined) => letter?.toUpperCase() ?? "")}`,
    tags: [kind.group === "" ? `core_${kind.version}` : `${kind.group.split(".")[0] ?? ""}_${kind.version}`],
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": operation.gvk,
  };
  const types = operation.patchTypes;
  if (dialect === "v2") {
    if (method === "patch") parameters.push({ name: "body", in: "body", required: true, schema: { type: "object" } });
    else if (body !== undefined) parameters.push({ name: "body", in: "body", schema: reference(body, dialect) });
    result["consumes"] = method === "patch" ? [...types] : ["application/json", "application/yaml"];
    result["produces"] = [answer === undefined ? "text/plain" : "application/json"];
    result["responses"] = { "200": { description: "OK", schema: answer === undefined ? { type: "string" } : reference(answer, dialect) } };
  } else {
    if (method === "patch") result["requestBody"] = { required: true, content: contents(types, { type: "object" }) };
    else if (body !== undefined) result["requestBody"] = { content: contents(["application/json"], reference(body, dialect)) };
    const content =
      answer === undefined ? contents(["text/plain"], { type: "string" }) : contents(["application/json"], reference(answer, dialect));
    result["responses"] = { "200": { description: "OK", content } };
  }
  if (parameters.length > 0) result["parameters"] = parameters;
  return result;
}

function contents(types: readonly string[], schema: JsonObject): JsonObject {
  return Object.fromEntries(types.map((type) => [type, { schema }]));
}

function parameter(name: string, place: "path" | "query", dialect: Dialect): JsonObject {
  const type = BOOLEANS.has(name) ? "boolean" : INTEGERS.has(name) ? "integer" : "string";
  const base: JsonObject = { name, in: place };
  if (place === "path") base["required"] = true;
  return dialect === "v2" ? { ...base, type, uniqueItems: true } : { ...base, schema: { type, uniqueItems: true } };
}
