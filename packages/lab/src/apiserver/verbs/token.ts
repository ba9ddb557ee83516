// Owns serviceaccounts/NAME/token: TokenRequest with its bounds and bound objects.
import type { Api } from "../context.ts";
import { ISSUER, type BoundObject } from "../auth/tokens.ts";
import { timestamp } from "../context.ts";
import { decodeObject, mediaType, readBody } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import { negotiate } from "../http/negotiate.ts";
import type { ResourceRequest } from "../http/route.ts";
import { asObject, asString, asStrings, isObject, type JsonObject } from "../json.ts";
import type { Row } from "../registry/row.ts";
import { badRequest, conflict, forbidden, invalid, invalidValue, methodNotAllowed, notFound } from "../status.ts";
import { metadataOf } from "./metadata.ts";
import { requireEntry } from "./read.ts";

const DEFAULT_LIFE_S = 3600;
const MIN_LIFE_S = 600;
const MAX_LIFE_S = 2 ** 32;
/** What is actually granted: a day, as the lab's objects rarely live longer. */
const GRANTED_LIFE_S = 24 * 3600;
const REQUESTS = { group: "authentication.k8s.io", resource: "tokenrequests", kind: "TokenRequest" };

export async function serveToken(api: Api, exchange: Exchange, row: Row, target: ResourceRequest): Promise<void> {
  const body = await readBody(exchange.request);
  if (target.verb !== "create") throw methodNotAllowed();
  exchange.negotiated = negotiate(exchange.request.headers.accept);
  const given = decodeObject(body, mediaType(exchange.request));
  if (given["kind"] !== undefined && given["kind"] !== "TokenRequest") throw badRequest("the body must be a TokenRequest");
  const account = requireEntry(api, row, target.namespace, target.name);
  const spec = asObject(given["spec"]);
  const audiences = asStrings(spec["audiences"]);
  const lifetimeS = readLifetime(spec);
  const found = findBound(api, row, target, spec);
  const { token, expiresAt } = api.tokens.issue({
    namespace: target.namespace,
    serviceAccount: { name: target.name, uid: asString(metadataOf(account.object)["uid"]) },
    audiences: audiences.length > 0 ? audiences : [ISSUER],
    lifetimeS: Math.min(lifetimeS, GRANTED_LIFE_S),
    bound: found.bound,
    node: found.node,
  });
  exchange.reply(201, {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name: target.name, namespace: target.namespace, uid: asString(metadataOf(account.object)["uid"]), creationTimestamp: timestamp(api.now()) },
    spec: { boundObjectRef: null, ...spec, audiences: audiences.length > 0 ? audiences : [ISSUER], expirationSeconds: lifetimeS },
    status: { token, expirationTimestamp: expiresAt },
  });
}

function readLifetime(spec: JsonObject): number {
  const asked = spec["expirationSeconds"] ?? DEFAULT_LIFE_S;
  const field = "spec.expirationSeconds";
  if (typeof asked !== "number" || !Number.isSafeInteger(asked)) throw invalid(REQUESTS, "", [invalidValue(field, asked, "must be an integer")]);
  if (asked < MIN_LIFE_S) throw invalid(REQUESTS, "", [invalidValue(field, asked, "may not specify a duration less than 10 minutes")]);
  if (asked > MAX_LIFE_S) throw invalid(REQUESTS, "", [invalidValue(field, asked, "may not specify a duration larger than 2^32 seconds")]);
  return asked;
}

/** Group and version as upstream prints them: the core group is empty and keeps its slash. */
function goVersion(apiVersion: string): string {
  return apiVersion.includes("/") ? apiVersion : `/${apiVersion}`;
}

interface Bound {
  readonly bound: BoundObject | null;
  readonly node: { readonly name: string; readonly uid: string } | null;
}

function findBound(api: Api, row: Row, target: ResourceRequest, spec: JsonObject): Bound {
  const reference = spec["boundObjectRef"];
  if (!isObject(reference)) return { bound: null, node: null };
  const kind = asString(reference["kind"]);
  if (kind !== "Pod" && kind !== "Node" && kind !== "Secret") {
    throw badRequest(`cannot bind token to object of type ${goVersion(asString(reference["apiVersion"]))}, Kind=${kind}`);
  }
  const name = asString(reference["name"]);
  const resource = `${kind.toLowerCase()}s`;
  const entry = api.store.get(`/${resource}`, kind === "Node" ? name : `${target.namespace}/${name}`);
  if (entry === undefined) throw notFound({ group: "", resource, kind }, name);
  const uid = asString(metadataOf(entry.object)["uid"]);
  const asked = asString(reference["uid"]);
  if (asked !== "" && asked !== uid) {
    throw conflict({ group: "", resource, kind }, name, `the UID in the bound object reference (${asked}) does not match the UID in record. The object might have been deleted and then recreated`);
  }
  if (kind !== "Pod") return { bound: { kind, name, uid }, node: null };
  const pod = asObject(entry.object["spec"]);
  if (asString(pod["serviceAccountName"]) !== target.name) {
    const why = `cannot bind token for serviceaccount "${target.name}" to pod running with different serviceaccount name.`;
    throw forbidden(row, target.name, why);
  }
  return { bound: { kind, name, uid }, node: nodeOf(api, asString(pod["nodeName"])) };
}

function nodeOf(api: Api, name: string): Bound["node"] {
  if (name === "") return null;
  const node = api.store.get("/nodes", name);
  return { name, uid: node === undefined ? "" : asString(metadataOf(node.object)["uid"]) };
}
