// Owns how ext_authz providers of MeshConfig are read, and where providers are found (l7-authz.md §5).
import type { Context } from "@ambit/collections";
import type { AuthorizationProvider, ServiceKey } from "@ambit/core";
import type { Fields, Reader } from "../decode.ts";
import { serviceOfHost, type BackendInputs } from "./backends.ts";
import { fullHost } from "./istio-hosts.ts";
import { flag, headerName, integer, istioDuration } from "./read.ts";

export interface ProviderSpec {
  readonly name: string;
  readonly fields: Fields;
  readonly path: string;
  /** The service of `NAMESPACE/HOST` or `HOST`; undefined: said already why not. */
  readonly locate: (text: unknown, path: string) => ServiceKey | undefined;
}

/** Istio's default is 600 s; a request that waits so long is nobody's any more, but a user may have set it. */
const TIMEOUT_MS = 600_000;
const BODY_MAX_BYTES = 16 * 1024 * 1024;
const HTTP = ["pathPrefix", "includeHeadersInCheck", "includeRequestHeadersInCheck", "includeAdditionalHeadersInCheck", "headersToUpstreamOnAllow", "headersToDownstreamOnDeny", "headersToDownstreamOnAllow"];
const BOTH = ["service", "port", "timeout", "failOpen", "statusOnError", "clearRouteCache", "includeRequestBodyInCheck"];

export function authorizationProvider(reader: Reader, { name, fields, path, locate }: ProviderSpec, protocol: "http" | "grpc"): AuthorizationProvider | undefined {
  reader.object(fields, path, protocol === "http" ? [...BOTH, ...HTTP] : BOTH);
  const service = locate(fields["service"], `${path}.service`);
  const port = reader.port(fields["port"], `${path}.port`);
  const patterns = (field: string): readonly string[] => (fields[field] === undefined ? [] : (reader.texts(fields[field], `${path}.${field}`) ?? [])).map((t, i) => {
    if (t === "*" || t.slice(1, -1).includes("*")) reader.refuse(`${path}.${field}[${i}]`, `"${t}": a "*" stands at the start or the end of a name`);
    return t.toLowerCase();
  });
  if (flag(reader, fields["clearRouteCache"], `${path}.clearRouteCache`) === true) reader.refuse(`${path}.clearRouteCache`, "is not available: a route is chosen once");
  const more = reader.map(fields["includeAdditionalHeadersInCheck"], `${path}.includeAdditionalHeadersInCheck`) ?? {};
  const body = reader.object(fields["includeRequestBodyInCheck"], `${path}.includeRequestBodyInCheck`, ["maxRequestBytes", "allowPartialMessage", "packAsBytes"]);
  const status = reader.text(fields["statusOnError"], `${path}.statusOnError`);
  if (status !== undefined && !/^[1-5][0-9]{2}$/.test(status)) reader.refuse(`${path}.statusOnError`, `"${status}" is not a status`);
  if (service === undefined || port === undefined) return undefined;
  return {
    name, protocol, service, port, timeoutMs: istioDuration(reader, fields["timeout"], `${path}.timeout`) || TIMEOUT_MS,
    failOpen: flag(reader, fields["failOpen"], `${path}.failOpen`) ?? false, statusOnError: status === undefined ? 403 : Number(status),
    pathPrefix: reader.text(fields["pathPrefix"], `${path}.pathPrefix`) ?? "",
    includeRequestHeaders: [...patterns("includeRequestHeadersInCheck"), ...patterns("includeHeadersInCheck")],
    includeAdditionalHeaders: Object.entries(more).flatMap(([k, v]): [string, string][] => {
      const header = headerName(reader, k, `${path}.includeAdditionalHeadersInCheck.${k}`);
      const value = reader.text(v, `${path}.includeAdditionalHeadersInCheck.${k}`);
      return header === undefined || value === undefined ? [] : [[header, value]];
    }),
    includeRequestBody: body === undefined ? undefined : {
      maxBytes: integer(reader, body["maxRequestBytes"], `${path}.includeRequestBodyInCheck.maxRequestBytes`, 1, BODY_MAX_BYTES) ?? reader.refuse(`${path}.includeRequestBodyInCheck.maxRequestBytes`, "is missing") ?? 0,
      allowPartial: flag(reader, body["allowPartialMessage"], `${path}.includeRequestBodyInCheck.allowPartialMessage`) ?? false,
      packAsBytes: flag(reader, body["packAsBytes"], `${path}.includeRequestBodyInCheck.packAsBytes`) ?? false,
    },
    headersToUpstreamOnAllow: patterns("headersToUpstreamOnAllow"), headersToDownstreamOnDeny: patterns("headersToDownstreamOnDeny"), headersToDownstreamOnAllow: patterns("headersToDownstreamOnAllow"),
  };
}

export function providerHost(ctx: Context, inputs: BackendInputs, reader: Reader, value: unknown, path: string): ServiceKey | undefined {
  const text = reader.text(value, path) ?? "";
  const slash = text.indexOf("/");
  const namespace = slash === -1 ? inputs.settings.rootNamespace : text.slice(0, slash);
  const host = fullHost(inputs.settings, namespace, text.slice(slash + 1));
  const found = host === "" ? undefined : serviceOfHost(ctx, inputs, host, namespace);
  if (found === undefined) return reader.refuse(path, host === "" ? "is missing" : `no service has the host ${host}`);
  return slash !== -1 && found.service.namespace !== namespace ? reader.refuse(path, `no service of namespace ${namespace} has the host ${host}`) : found.key;
}
