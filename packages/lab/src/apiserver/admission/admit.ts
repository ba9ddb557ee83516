// Owns admission: what the server itself decides about an object with a look at other objects, per kind.
import type { User } from "../auth/user.ts";
import type { Api } from "../context.ts";
import { asString, type JsonObject } from "../json.ts";
import { assignService } from "../kinds/service-allocation.ts";
import type { Row } from "../registry/row.ts";
import { ApiError, forbidden, notFound } from "../status.ts";
import { metadataOf } from "../verbs/metadata.ts";
import { admitPod } from "./pod.ts";
import { admitNamespace } from "./namespace.ts";
import { admitRbac } from "./rbac.ts";

export interface Admission {
  readonly api: Api;
  readonly user: User;
  readonly row: Row;
  readonly namespace: string;
  readonly before: JsonObject | null;
  readonly subresource: string;
  readonly warn: (text: string) => void;
}

/** Completes or refuses (throws) an object about to be created. */
export function admitCreate(request: Admission, object: JsonObject): void {
  if (request.row.namespaced) requireLiveNamespace(request, object);
  if (request.row.custom !== null) requireLiveDefinition(request, object, request.row.custom.crd);
  admitRbac(request, object);
  if (request.row.bucket === "/pods") admitPod(request, object);
  if (request.row.bucket === "/namespaces") admitNamespace(object);
}

export function admitUpdate(request: Admission, object: JsonObject): void {
  admitRbac(request, object);
  if (request.row.bucket === "/namespaces") admitNamespace(object);
}

/** What takes something from a shared pool, once nothing else can refuse the object. */
export function afterValidation(request: Admission, object: JsonObject): void {
  if (request.row.bucket === "/services" && request.subresource === "") assignService(request.api, request.before, object);
}

const NAMESPACES = { group: "", resource: "namespaces", kind: "Namespace" };

function requireLiveNamespace(request: Admission, object: JsonObject): void {
  const { api, namespace, row } = request;
  const entry = api.store.get("/namespaces", namespace);
  if (entry === undefined) throw notFound(NAMESPACES, namespace);
  if (metadataOf(entry.object)["deletionTimestamp"] === undefined) return;
  const name = asString(metadataOf(object)["name"]);
  const what = row.group === "" ? row.resource : `${row.resource}.${row.group}`;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const causes = [
    { reason: "NamespaceTerminating", message: `namespace ${namespace} is being terminated`, field: "metadata.namespace" },
  ];
  const details: JsonObject = { name, kind: row.resource, causes };
  if (row.group !== "") details["group"] = row.group;
  throw new ApiError(403, "Forbidden", `${what} "${name}" is forbidden: ${why}`, details);
}

function requireLiveDefinition({ api, row }: Admission, object: JsonObject, crd: string): void {
  const entry = api.store.get("apiextensions.k8s.io/customresourcedefinitions", crd);
  if (entry !== undefined && metadataOf(entry.object)["deletionTimestamp"] === undefined) return;
  throw forbidden(row, asString(metadataOf(object)["name"]), "create not allowed while custom resource definition is terminating");
}
