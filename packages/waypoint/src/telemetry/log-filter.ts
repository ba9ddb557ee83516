// Owns what an expression's attributes stand for here, and which requests and connections get an access line (Telemetry accessLogging.filter).
import { compilePredicate, fieldLines, formatIdentity, formatSocketAddress, type Attribute, type Attributes, type Predicate } from "@ambit/core";
import type { ConnectionFacts } from "../facts.ts";
import type { RequestRecord } from "../http/options.ts";
import type { ConnectionLine } from "./access-log.ts";
import { routeName } from "./route-name.ts";

type Read<R> = (record: R) => Attribute | undefined;

const ofConnection: Readonly<Record<string, (c: ConnectionFacts) => Attribute>> = {
  "source.address": (c) => formatSocketAddress(c.source), "source.port": (c) => c.source.port,
  "destination.address": (c) => formatSocketAddress(c.address), "destination.port": (c) => c.address.port,
  // Whoever comes here came through a tunnel, and was verified.
  "connection.mtls": () => true, "connection.uri_san_peer_certificate": (c) => formatIdentity(c.peer),
};

const queryOf = (target: string): string => (target.includes("?") ? target.slice(target.indexOf("?") + 1) : "");
/** One text for all lines of a name, as in policies. */
const field = (fields: readonly string[], name: string): string | undefined => {
  const lines = fieldLines(fields, name);
  return lines.length === 0 ? undefined : lines.join(",");
};

/** As the client sent it. */
const ofRequest: Readonly<Record<string, Read<RequestRecord>>> = {
  "request.path": (r) => r.facts.target, "request.url_path": (r) => r.facts.target.split("?", 1)[0], "request.query": (r) => queryOf(r.facts.target), "request.host": (r) => r.facts.authority,
  "request.scheme": (r) => r.facts.scheme, "request.method": (r) => r.facts.method, "request.protocol": (r) => r.facts.protocol, "request.id": (r) => r.requestId || undefined,
  "request.referer": (r) => field(r.facts.fields, "referer"), "request.useragent": (r) => field(r.facts.fields, "user-agent"), "request.duration": (r) => r.durationMs, "request.size": (r) => r.bytesReceived,
  // 0: no answer went out.
  "response.code": (r) => (r.status === 0 ? undefined : r.status), "response.code_details": (r) => r.details || undefined, "response.grpc_status": (r) => r.grpcStatus, "response.size": (r) => r.bytesSent,
  "upstream.address": (r) => r.endpoint && formatSocketAddress(r.endpoint.address), "upstream.port": (r) => r.endpoint?.address.port,
  "xds.cluster_name": (r) => r.endpoint?.cluster, "xds.route_name": (r) => routeName(r.plan?.origin),
};

/** What is only of a request is not there for a connection: what asks for it is not true. */
const ofLine: Readonly<Record<string, Read<ConnectionLine>>> = {
  "request.size": (c) => c.bytesReceived, "response.size": (c) => c.bytesSent, "response.code_details": (c) => c.details || undefined, "request.duration": (c) => c.durationMs,
  "connection.requested_server_name": (c) => c.sni, "upstream.address": (c) => c.upstreamHost, "xds.cluster_name": (c) => c.destinationName, "xds.route_name": (c) => routeName(c.route),
};

const own = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined => (Object.hasOwn(table, name) ? table[name] : undefined);

export const REQUEST_ATTRIBUTES: Attributes<RequestRecord> = {
  value: (name) => {
    const party = own(ofConnection, name);
    return party === undefined ? own(ofRequest, name) : (r) => party(r.facts.connection);
  },
  map: (name) => {
    switch (name) {
      case "request.headers": return (r, key) => field(r.facts.fields, key);
      case "response.headers": return (r, key) => field(r.responseFields, key);
      default: return (r, key) => field(r.responseTrailers, key);
    }
  },
};

export const CONNECTION_ATTRIBUTES: Attributes<ConnectionLine> = {
  value: (name) => {
    const party = own(ofConnection, name);
    return party === undefined ? own(ofLine, name) : (c) => party(c.facts);
  },
  map: () => undefined,
};

/** What is known of a connection before anything came of it. */
export const PARTY_ATTRIBUTES: Attributes<ConnectionFacts> = { value: (name) => own(ofConnection, name), map: () => undefined };

/** Filters that are kept: one for each Telemetry of a mesh, mostly the same. */
const KEPT_MAX = 256;

/** Expressions by their text. One that is not understood lets every line pass: a log that says too much is better than one that hides. */
export class LogFilters<R> {
  readonly #attributes: Attributes<R>;
  readonly #onBad: (why: string) => void;
  readonly #compiled = new Map<string, Predicate<R>>();

  constructor(attributes: Attributes<R>, onBad: (why: string) => void) {
    this.#attributes = attributes;
    this.#onBad = onBad;
  }

  passes(filter: string | undefined, record: R): boolean {
    if (filter === undefined) return true;
    let predicate = this.#compiled.get(filter);
    if (predicate === undefined) {
      const made = compilePredicate(filter, this.#attributes);
      if (!made.ok) this.#onBad(`filter: ${made.error}`);
      predicate = made.ok ? made.value : () => true;
      if (this.#compiled.size >= KEPT_MAX) this.#compiled.clear();
      this.#compiled.set(filter, predicate);
    }
    return predicate(record);
  }
}
