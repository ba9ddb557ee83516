// Owns turning a request that a person types (method, URL, headers) into the facts that a waypoint would have of it. Pure.
import { err, ok, parseIp, type Ip, type Result, type Service, type SocketAddress, type WaypointConfig, type Workload } from "@ambit/core";
import type { StateView } from "@ambit/ztunnel/pure";
import type { RequestFacts } from "@ambit/waypoint/pure";

export interface AskedRequest { readonly method: string; readonly url: URL; readonly fields: readonly string[] }

/** `http` and `grpc` URLs; a gRPC one is a POST over HTTP/2. Headers as `name: value`. */
export function parseRequest(method: string, text: string, headers: readonly string[]): Result<AskedRequest, string> {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/.test(method)) return err(`"${method}" is not a method such as GET`);
  const withScheme = text.includes("://") ? text : `http://${text}`;
  if (!URL.canParse(withScheme)) return err(`"${text}" is not a URL such as http://catalog:8080/items`);
  const url = new URL(withScheme);
  if (url.protocol !== "http:" && url.protocol !== "grpc:") return err(`"${text}": a waypoint reads http; ${url.protocol.slice(0, -1)} passes it unread`);
  const fields: string[] = [];
  for (const header of headers) {
    const colon = header.indexOf(":");
    if (colon < 1) return err(`header "${header}" is not of the form name:value`);
    fields.push(header.slice(0, colon).trim().toLowerCase(), header.slice(colon + 1).trim());
  }
  if (url.protocol === "grpc:" && !fields.includes("content-type")) fields.push("content-type", "application/grpc");
  return ok({ method, url, fields });
}

/** `HOST:PORT` as `findDestination` reads it. */
export const destinationText = ({ url }: AskedRequest): string => `${url.hostname}:${url.port === "" ? "80" : url.port}`;

/** The waypoint that has the service, if one has: whose configuration decides. */
export function waypointFor(configs: readonly WaypointConfig[], view: StateView, address: SocketAddress, namespace: string): { readonly config: WaypointConfig; readonly service: Service } | undefined {
  const service = view.serviceAt("", address.ip, namespace);
  const config = service && configs.find((c) => c.services.has(`${service.namespace}/${service.hostname}`));
  return service === undefined || config === undefined || service.waypoint === undefined ? undefined : { config, service };
}

export function requestFacts(asked: AskedRequest, source: Workload, service: Service, address: SocketAddress, now: number): RequestFacts {
  const { url, fields } = asked;
  const value = (name: string): string | undefined => fields.find((f, i) => i % 2 === 0 && f === name) === undefined ? undefined : fields[fields.findIndex((f, i) => i % 2 === 0 && f === name) + 1];
  const grpc = (value("content-type") ?? "").startsWith("application/grpc");
  const unknown = parseIp("0.0.0.0");
  return {
    connection: {
      id: "why", peer: source.identity, source: { ip: source.addresses[0] ?? (unknown.ok ? unknown.value : ("" as Ip)), port: 0 }, sourceWorkload: source,
      destination: { kind: "service", service }, address,
    },
    protocol: grpc ? "HTTP/2" : "HTTP/1.1", method: asked.method, scheme: "http", authority: value("host") ?? url.host,
    target: `${url.pathname}${url.search}`, fields: fields.flatMap((f, i) => (i % 2 === 0 && f !== "host" ? [f, fields[i + 1] ?? ""] : [])),
    grpc, upgrade: value("upgrade")?.toLowerCase(), now, token: undefined, checks: new Map(),
  };
}
