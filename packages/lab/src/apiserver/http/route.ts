// Owns the reading of a request's address: which API, version, resource, object and verb it means.
import { badRequest } from "../status.ts";

/** Longest path accepted; upstream's names cannot need more. */
const MAX_PATH_CHARS = 4096;

export interface ResourceRequest {
  readonly kind: "resource";
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** What follows the subresource (proxy paths). */
  readonly rest: string;
  readonly path: string;
}

export interface PathRequest {
  readonly kind: "path";
  readonly verb: string;
  readonly path: string;
}

export type Target = ResourceRequest | PathRequest;

const METHOD_VERBS: Record<string, string> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

export function splitUrl(raw: string): { path: string; query: URLSearchParams } {
  const at = raw.indexOf("?");
  const path = at < 0 ? raw : raw.slice(0, at);
  if (path.length > MAX_PATH_CHARS) throw badRequest(`the request path is longer than ${MAX_PATH_CHARS} characters`);
  return { path, query: new URLSearchParams(at < 0 ? "" : raw.slice(at + 1)) };
}

/** Reads method and path as kube-apiserver's request info resolver does. */
export function readTarget(method: string, path: string, query: URLSearchParams): Target {
  const verb = METHOD_VERBS[method] ?? method.toLowerCase();
  const parts = decodeParts(path);
  const parsed = readApiPrefix(parts);
  if (parsed === null) return { kind: "path", verb, path };
  const { group, version } = parsed;
  // The old way to ask for a watch.
  const watched = parsed.rest[0] === "watch" && verb === "get";
  let rest = watched ? parsed.rest.slice(1) : parsed.rest;
  let namespace = "";
  if (rest[0] === "namespaces") {
    // The namespace itself and its own subresources are cluster-scoped addresses.
    namespace = rest[1] ?? "";
    if (rest.length > 2 && !NAMESPACE_SUBRESOURCES.has(rest[2] as string)) rest = rest.slice(2);
  }
  const [resource = "", name = "", subresource = "", ...tail] = rest;
  return {
    kind: "resource",
    verb: watched ? "watch" : refineVerb(verb, name, query),
    group,
    version,
    resource,
    subresource,
    namespace,
    name,
    rest: tail.join("/"),
    path,
  };
}

const NAMESPACE_SUBRESOURCES = new Set(["status", "finalize"]);

function decodeParts(path: string): string[] {
  try {
    return path
      .split("/")
      .filter((part) => part !== "")
      .map(decodeURIComponent);
  } catch {
    throw badRequest(`the request path is not valid percent-encoding: ${JSON.stringify(path.slice(0, 200))}`);
  }
}

function readApiPrefix(parts: string[]): { group: string; version: string; rest: string[] } | null {
  if (parts[0] === "api" && parts.length > 2) return { group: "", version: parts[1] as string, rest: parts.slice(2) };
  if (parts[0] === "apis" && parts.length > 3) {
    return { group: parts[1] as string, version: parts[2] as string, rest: parts.slice(3) };
  }
  return null;
}

function refineVerb(verb: string, name: string, query: URLSearchParams): string {
  if (verb === "get") {
    if (name !== "") return "get";
    return isTrue(query.get("watch")) ? "watch" : "list";
  }
  return verb === "delete" && name === "" ? "deletecollection" : verb;
}

export function isTrue(value: string | null): boolean {
  return value !== null && ["", "1", "t", "T", "true", "TRUE", "True"].includes(value);
}
