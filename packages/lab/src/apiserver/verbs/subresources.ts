// Owns the subresources that are not plain status: scale, binding, eviction, finalize, token and log.
import type { Api } from "../context.ts";
import { decodeObject, mediaType, readBody } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import { negotiate } from "../http/negotiate.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asObject, asString, asStrings, type JsonObject } from "../json.ts";
import { serveLog } from "../proxy/logs.ts";
import type { Row } from "../registry/row.ts";
import { badRequest, conflict, methodNotAllowed, noSuchResource } from "../status.ts";
import { serveEviction } from "./eviction.ts";
import { checkName, takeIn } from "./intake.ts";
import { metadataOf } from "./metadata.ts";
import { readWriteOptions } from "./options.ts";
import { replyEntry, requireEntry } from "./read.ts";
import { writeOf } from "./resource.ts";
import { serveScale } from "./scale.ts";
import { serveToken } from "./token.ts";
import { update } from "./write.ts";

export async function serveSubresource(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const { subresource } = target;
  if (target.name === "") throw noSuchResource();
  if (subresource === "scale" && row.scale !== null) return serveScale(api, exchange, row, row.scale, target);
  if (!row.subresources.includes(subresource)) throw noSuchResource();
  switch (`${row.resource}/${subresource}`) {
    case "pods/binding":
      return serveBinding(api, exchange, row, target);
    case "pods/eviction":
      return serveEviction(api, exchange, row, target);
    case "pods/log":
      return serveLog(api, exchange, row, target);
    case "namespaces/finalize":
      return serveFinalize(api, exchange, row, target);
    case "serviceaccounts/token":
      return serveToken(api, exchange, row, target);
    default:
      // exec, attach and portforward need an upgraded connection; those requests come in elsewhere.
      requireEntry(api, row, target.namespace, target.name);
      throw badRequest("Upgrade request required");
  }
}

async function serveBinding(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const body = await readBody(exchange.request);
  if (target.verb !== "create") throw methodNotAllowed();
  exchange.negotiated = negotiate(exchange.request.headers.accept);
  const binding = decodeObject(body, mediaType(exchange.request));
  checkName(binding, target.name);
  const node = asString(asObject(binding["target"])["name"]);
  const kind = asString(asObject(binding["target"])["kind"]);
  if (node === "" || (kind !== "" && kind !== "Node")) throw badRequest("target: a binding needs a target of kind Node with a name");
  const wanted = asObject(binding["metadata"]);
  await update(writeOf(api, exchange, row, target), "binding", (pod) => {
    const metadata = metadataOf(pod);
    const uid = asString(wanted["uid"]);
    if (uid !== "" && uid !== metadata["uid"]) {
      throw conflict(row, target.name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${asString(metadata["uid"])}`);
    }
    if (metadata["deletionTimestamp"] !== undefined) throw conflict({ ...row, resource: "pods/binding" }, target.name, `pod ${target.name} is being deleted, cannot be assigned to a host`);
    const spec = asObject(pod["spec"]);
    const bound = asString(spec["nodeName"]);
    if (bound !== "") throw conflict({ ...row, resource: "pods/binding" }, target.name, `pod ${target.name} is already assigned to node "${bound}"`);
    spec["nodeName"] = node;
    for (const field of ["annotations", "labels"]) {
      const extra = asObject(wanted[field]);
      if (Object.keys(extra).length > 0) metadata[field] = { ...asObject(metadata[field]), ...extra };
    }
    return pod;
  });
  exchange.reply(201, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 });
}

/** Sets spec.finalizers of a namespace; the last one gone, a deleted namespace goes. */
async function serveFinalize(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const body = await readBody(exchange.request);
  if (target.verb !== "update") throw methodNotAllowed();
  exchange.negotiated = negotiate(exchange.request.headers.accept);
  const options = readWriteOptions(exchange);
  const given = takeIn(exchange, row, target, decodeObject(body, mediaType(exchange.request)), options.fieldValidation);
  const finalizers = asStrings(asObject(given["spec"])["finalizers"]);
  // Rows keep spec fixed on updates; this is the one that sets it.
  const finalizing: Row = { ...row, prepare: () => undefined };
  const entry = await update(writeOf(api, exchange, finalizing, target), "finalize", (namespace) => {
    const spec: JsonObject = { ...asObject(namespace["spec"]) };
    if (finalizers.length > 0) spec["finalizers"] = finalizers;
    else delete spec["finalizers"];
    const version = asString(metadataOf(given)["resourceVersion"]);
    if (version !== "") metadataOf(namespace)["resourceVersion"] = version;
    return { ...namespace, spec };
  });
  replyEntry(api, exchange, row, 200, entry);
}
