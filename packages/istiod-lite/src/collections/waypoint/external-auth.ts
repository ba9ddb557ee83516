// Owns how the filter ExternalAuth becomes a provider of one rule's own (GEP-1494).
import { CHECKED_BODY_MAX_OCTETS, type AuthorizationProvider } from "@ambit/core";
import type { Context } from "@ambit/collections";
import type { Fields, Reader } from "../decode.ts";
import { BACKEND_REF_FIELDS, readBackendRef, resolveBackend, type BackendInputs, type RefProblem } from "./backends.ts";
import { headerName, integer } from "./read.ts";

/** The filter has no word for it; a client waits no longer than for a connection. */
const TIMEOUT_MS = 10_000;
/** Of Gateway API's CRDs. */
const HEADERS_MAX = 64;
const PATH_MAX = 1_024;
const PATH = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$/;
const STATUS_ON_ERROR = 403;

/** A problem of its reference: the rule fails closed, the route is accepted. undefined: said to the reader. `owner`: in the name, which has a space, as no provider of MeshConfig's can. */
export function externalAuthOf(reader: Reader, fields: Fields, path: string, o: { readonly ctx: Context; readonly inputs: BackendInputs; readonly namespace: string; readonly owner: string }): AuthorizationProvider | RefProblem | undefined {
  reader.object(fields, path, ["protocol", "backendRef", "grpc", "http", "forwardBody"]);
  const protocol = reader.oneOf(fields["protocol"], `${path}.protocol`, ["GRPC", "HTTP"]);
  if (protocol === undefined) return reader.refuse(`${path}.protocol`, "must be GRPC or HTTP");
  const [mine, other] = protocol === "GRPC" ? (["grpc", "http"] as const) : (["http", "grpc"] as const);
  if (fields[other] !== undefined) reader.refuse(`${path}.${other}`, `is for another protocol than ${protocol}`);
  const own = reader.object(fields[mine], `${path}.${mine}`, protocol === "GRPC" ? ["allowedHeaders"] : ["allowedHeaders", "allowedResponseHeaders", "path"]) ?? {};
  const names = (field: string): readonly string[] => headerNames(reader, own[field], `${path}.${mine}.${field}`);
  const requests = names("allowedHeaders");
  const responses = names("allowedResponseHeaders");
  const prefix = reader.text(own["path"], `${path}.${mine}.path`) ?? "";
  if (prefix.length > PATH_MAX || !PATH.test(prefix)) reader.refuse(`${path}.${mine}.path`, "is not a path");
  const body = reader.object(fields["forwardBody"], `${path}.forwardBody`, ["maxSize"]);
  const maxBytes = integer(reader, body?.["maxSize"], `${path}.forwardBody.maxSize`, 0, CHECKED_BODY_MAX_OCTETS) ?? 0;
  const at = `${path}.backendRef`;
  const resolved = resolveBackend(o.ctx, o.inputs, readBackendRef(reader, reader.object(fields["backendRef"], at, BACKEND_REF_FIELDS) ?? {}, at), o.namespace);
  if (!resolved.ok) return { ...resolved.problem, message: `${at}: ${resolved.problem.message}` };
  return {
    name: `ExternalAuth of ${o.owner}`, protocol: protocol === "GRPC" ? "grpc" : "http", service: resolved.backend.service, port: resolved.backend.port,
    timeoutMs: TIMEOUT_MS, failOpen: false, statusOnError: STATUS_ON_ERROR, pathPrefix: prefix === "" || prefix.startsWith("/") ? prefix : `/${prefix}`,
    includeRequestHeaders: protocol === "HTTP" ? requests : [], ...(protocol === "GRPC" && requests.length > 0 ? { onlyRequestHeaders: requests } : {}), includeAdditionalHeaders: [],
    // "Bodies over that size must be rejected": of the two sentences of the API that contradict each other, the one that fails closed.
    includeRequestBody: maxBytes === 0 ? undefined : { maxBytes, allowPartial: false, packAsBytes: false },
    headersToUpstreamOnAllow: responses.length === 0 ? ["*"] : responses, headersToDownstreamOnDeny: [], headersToDownstreamOnAllow: [],
  };
}

/** A name is a name here: a star in it would be taken for a pattern. */
function headerNames(reader: Reader, value: unknown, path: string): readonly string[] {
  const list = reader.list(value, path) ?? [];
  if (list.length > HEADERS_MAX) reader.refuse(path, `has more than ${HEADERS_MAX} entries`);
  return list.slice(0, HEADERS_MAX).flatMap((n, i) => {
    const name = headerName(reader, n, `${path}[${i}]`);
    return name === undefined ? [] : name.includes("*") ? (reader.refuse(`${path}[${i}]`, "is not the name of a header") ?? []) : [name];
  });
}
