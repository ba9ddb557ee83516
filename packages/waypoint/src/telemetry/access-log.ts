// Owns the access line of a request, and that of a connection that is not HTTP: what each operator of Envoy's format stands for here.
import {
  compileFormat, compileTime, formatIdentity, formatSocketAddress, type LineFormat, type LineOutput, type Memory, type Operators, type OperatorValue, type Remembered, type RouteOrigin, type SocketAddress, type TelemetrySettings, type Variety,
} from "@ambit/core";
import { fieldValue } from "@ambit/http";
import type { ConnectionFacts } from "../facts.ts";
import type { RequestRecord, UpstreamEndpoint } from "../http/options.ts";
import { flagsOf } from "./labels.ts";
import { CONNECTION_ATTRIBUTES, LogFilters, REQUEST_ATTRIBUTES } from "./log-filter.ts";
import { routeName } from "./route-name.ts";

type Settings = TelemetrySettings["accessLog"];

export interface AccessLogOptions {
  readonly out: LineOutput & { /** A line ends here, newline included. */ end(): void };
  /** A format that cannot be compiled: once for each. Its lines come in the default format. */
  readonly onBadFormat: (why: string) => void;
  readonly local: string;
  readonly hostname: string;
}

export interface AccessLog {
  /** `memory`: of the request's connection. */
  request(record: RequestRecord, settings: Settings, memory?: LineMemory): void;
  connection(record: ConnectionLine, settings: Settings): void;
}

/** A connection that was carried as TCP. */
export interface ConnectionLine {
  readonly facts: ConnectionFacts;
  readonly startedAt: number;
  readonly durationMs: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly flag: string;
  readonly details: string;
  readonly upstreamHost: string | undefined;
  readonly destinationName: string | undefined;
  readonly upstreamFailure: string | undefined;
  readonly route: RouteOrigin | undefined;
  /** What a client of TLS asked for. */
  readonly sni: string | undefined;
}

/** What of one connection's last line is the next one's, too: the connection is the same, so endpoint and route decide. */
export class LineMemory implements Memory<RequestRecord> {
  #format: object | undefined = undefined;
  #endpoint: UpstreamEndpoint | undefined = undefined;
  #origin: RouteOrigin | undefined = undefined;
  #parts: Remembered[] | undefined = undefined;

  /** From the second line of a kind on: connections that ask once keep nothing, nor do requests that take turns among endpoints. */
  of(format: object, { endpoint, plan }: RequestRecord): Remembered[] | undefined {
    const origin = plan?.origin;
    if (this.#format === format && this.#endpoint === endpoint && this.#origin === origin) return (this.#parts ??= []);
    this.#format = format;
    this.#endpoint = endpoint;
    this.#origin = origin;
    this.#parts = undefined;
    return undefined;
  }
}

export function createAccessLog(o: AccessLogOptions): AccessLog {
  const requests = new Formats<RequestRecord>((operator, argument) => ({ read: ofRequest(operator, argument ?? "", o), variety: varietyOf(operator, argument) }), o.onBadFormat);
  const connections = new Formats<ConnectionLine>((operator, argument) => ({ read: ofConnection(operator, argument ?? "", o), variety: "always" }), () => undefined);
  const ofRequests = new LogFilters(REQUEST_ATTRIBUTES, o.onBadFormat);
  const ofConnections = new LogFilters(CONNECTION_ATTRIBUTES, o.onBadFormat);
  return {
    request: (r, s, memory) => { if (s.enabled && ofRequests.passes(s.filter, r)) write(requests.of(s), r, memory, o.out); },
    connection: (c, s) => { if (s.enabled && ofConnections.passes(s.filter, c)) write(connections.of(s), c, undefined, o.out); },
  };
}

function write<R>(format: LineFormat<R>, record: R, memory: Memory<R> | undefined, out: AccessLogOptions["out"]): void {
  format(record, memory, out);
  out.text("\n");
  out.end();
}

/** Lines as texts, for whoever wants each by itself. */
export function textLines(take: (line: string) => void): AccessLogOptions["out"] {
  let line = "";
  return {
    text: (text) => { line += text; },
    octets: (octets) => { line += UTF8.decode(octets); },
    end: () => {
      take(line.slice(0, -1));
      line = "";
    },
  };
}
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Formats by their text; the settings of a configuration never change, so the last are mostly met again. */
class Formats<R> {
  readonly #operators: Operators<R>;
  readonly #onBad: (why: string) => void;
  readonly #compiled = new Map<string, LineFormat<R>>();
  #last: { readonly settings: Settings; readonly format: LineFormat<R> } | undefined;

  constructor(operators: Operators<R>, onBad: (why: string) => void) {
    this.#operators = operators;
    this.#onBad = onBad;
  }

  of(settings: Settings): LineFormat<R> {
    if (this.#last?.settings === settings) return this.#last.format;
    const key = `${settings.encoding} ${settings.format ?? ""}`;
    let format = this.#compiled.get(key);
    if (format === undefined) this.#compiled.set(key, (format = this.#compile(settings)));
    this.#last = { settings, format };
    return format;
  }

  #compile({ encoding, format }: Settings): LineFormat<R> {
    const made = compileFormat(encoding, format, this.#operators);
    if (made.ok) return made.value;
    this.#onBad(made.error);
    const standard = compileFormat(encoding, undefined, this.#operators);
    if (!standard.ok) throw new Error(`defect: the default format: ${standard.error}`);
    return standard.value;
  }
}

const GRPC_NAMES = ["OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
  "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"];

/** Operators that are the same for every request while connection, endpoint and route are. */
const STEADY: ReadonlySet<string> = new Set([
  "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_LOCAL_ADDRESS", "ROUTE_NAME", "HOSTNAME", "CONNECTION_ID",
  "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_PORT",
  "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_PEER_URI_SAN", "REQUESTED_SERVER_NAME", "CONNECTION_TERMINATION_DETAILS",
]);

/** Operators that mostly are what they were for the request before. */
const SELDOM: ReadonlySet<string> = new Set(["PROTOCOL", "RESPONSE_CODE", "RESPONSE_FLAGS", "RESPONSE_CODE_DETAILS", "UPSTREAM_TRANSPORT_FAILURE_REASON", "GRPC_STATUS", "GRPC_STATUS_NUMBER", "UPSTREAM_REQUEST_ATTEMPT_COUNT"]);
/** Fields of which that may be said, too. */
const SELDOM_FIELDS: ReadonlySet<string> = new Set([":method", ":authority", ":scheme", "host", "user-agent", "x-forwarded-for", "x-forwarded-proto", "content-type"]);

const varietyOf = (operator: string, argument: string | undefined): Variety => STEADY.has(operator) ? "steady" : SELDOM.has(operator) || (operator === "REQ" && SELDOM_FIELDS.has(argument ?? "")) ? "seldom" : "always";

type RequestValue = OperatorValue<RequestRecord>;

function ofRequest(operator: string, argument: string, o: AccessLogOptions): RequestValue {
  switch (operator) {
    case "START_TIME": { const write = timeWriter(argument); return (r) => write(r.startedAt); }
    case "REQ": return requestField(argument);
    case "REQ_WITHOUT_QUERY": {
      const field = requestField(argument);
      return (r) => withoutQuery(field(r));
    }
    case "TRACE_ID": return (r) => r.plan?.trace?.traceId;
    case "RESP": return (r) => fieldValue(r.responseFields, argument);
    case "TRAILER": return (r) => fieldValue(r.responseTrailers, argument);
    case "PROTOCOL": return (r) => r.facts.protocol;
    case "RESPONSE_CODE": return (r) => r.status;
    case "RESPONSE_FLAGS": return flagsOf;
    case "RESPONSE_CODE_DETAILS": return (r) => r.details || undefined;
    case "UPSTREAM_TRANSPORT_FAILURE_REASON": return (r) => oneLine(r.upstreamFailure);
    case "BYTES_RECEIVED": return (r) => r.bytesReceived;
    case "BYTES_SENT": return (r) => r.bytesSent;
    case "DURATION": return (r) => Math.round(r.durationMs);
    case "REQUEST_DURATION": return (r) => rounded(r.requestEndMs);
    case "RESPONSE_DURATION": return (r) => rounded(r.responseStartMs);
    case "RESPONSE_TX_DURATION": return (r) => (r.responseStartMs === undefined ? undefined : Math.round(r.durationMs - r.responseStartMs));
    case "UPSTREAM_HOST": case "UPSTREAM_REMOTE_ADDRESS": return (r) => r.endpoint && addressText(r.endpoint.address);
    case "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": return (r) => r.endpoint?.address.ip;
    case "UPSTREAM_CLUSTER": case "UPSTREAM_CLUSTER_RAW": return (r) => r.endpoint?.cluster;
    case "UPSTREAM_REQUEST_ATTEMPT_COUNT": return (r) => r.attempts;
    case "ROUTE_NAME": return (r) => routeName(r.plan?.origin);
    case "GRPC_STATUS": return (r) => (r.grpcStatus === undefined ? undefined : (GRPC_NAMES[r.grpcStatus] ?? String(r.grpcStatus)));
    case "GRPC_STATUS_NUMBER": return (r) => r.grpcStatus;
    case "STREAM_ID": return (r) => r.requestId;
    default: {
      const party = ofParties(operator, o);
      return (r) => party(r.facts.connection);
    }
  }
}

function ofConnection(operator: string, argument: string, o: AccessLogOptions): OperatorValue<ConnectionLine> {
  switch (operator) {
    case "START_TIME": { const write = timeWriter(argument); return (c) => write(c.startedAt); }
    case "RESPONSE_CODE": return () => 0;
    case "RESPONSE_FLAGS": return (c) => c.flag;
    case "RESPONSE_CODE_DETAILS": return () => undefined;
    case "CONNECTION_TERMINATION_DETAILS": return (c) => c.details || undefined;
    case "UPSTREAM_TRANSPORT_FAILURE_REASON": return (c) => oneLine(c.upstreamFailure);
    case "BYTES_RECEIVED": return (c) => c.bytesReceived;
    case "BYTES_SENT": return (c) => c.bytesSent;
    case "DURATION": return (c) => Math.round(c.durationMs);
    case "UPSTREAM_HOST": case "UPSTREAM_REMOTE_ADDRESS": return (c) => c.upstreamHost;
    case "REQUESTED_SERVER_NAME": return (c) => c.sni;
    case "UPSTREAM_CLUSTER": case "UPSTREAM_CLUSTER_RAW": return (c) => c.destinationName;
    case "ROUTE_NAME": return (c) => routeName(c.route);
    default: {
      const party = ofParties(operator, o);
      return (c) => party(c.facts);
    }
  }
}

function ofParties(operator: string, o: AccessLogOptions): OperatorValue<ConnectionFacts> {
  switch (operator) {
    case "UPSTREAM_LOCAL_ADDRESS": return () => o.local;
    case "DOWNSTREAM_LOCAL_ADDRESS": return (c) => addressText(c.address);
    case "DOWNSTREAM_REMOTE_ADDRESS": case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": return (c) => addressText(c.source);
    case "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": return (c) => c.address.ip;
    case "DOWNSTREAM_LOCAL_PORT": return (c) => String(c.address.port);
    case "DOWNSTREAM_REMOTE_PORT": return (c) => String(c.source.port);
    case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": return (c) => c.source.ip;
    case "DOWNSTREAM_PEER_URI_SAN": return (c) => formatIdentity(c.peer);
    case "HOSTNAME": return () => o.hostname;
    case "CONNECTION_ID": return (c) => c.id;
    default: return () => undefined;
  }
}

/** As the client sent it; fields that were made here (the request's id, the original path) as they left. */
function requestField(name: string): RequestValue {
  switch (name) {
    case ":method": return (r) => r.facts.method || undefined;
    case ":path": return (r) => (r.outgoing?.target ?? r.facts.target) || undefined;
    case ":authority": case "host": return (r) => (r.outgoing?.authority ?? r.facts.authority) || undefined;
    case ":scheme": return (r) => r.facts.scheme;
    case "x-request-id": return (r) => r.requestId || undefined;
    // A client's is gone before there are facts, and ours is there only after a rewrite.
    case "x-envoy-original-path": return (r) => (r.outgoing === undefined || r.outgoing.target === r.facts.target ? undefined : fieldValue(r.outgoing.fields, name));
    default: return MADE_LATE.has(name) ? (r) => fieldValue(r.facts.fields, name) ?? fieldValue(r.outgoing?.fields ?? NO_FIELDS, name)
      : (r) => fieldValue(r.facts.fields, name) ?? (r.outgoing === undefined || leftAsTheyCame(r) ? undefined : fieldValue(r.outgoing.fields, name));
  }
}

const NO_FIELDS: readonly string[] = [];
/** Written for each attempt, whatever the plan says. */
const MADE_LATE: ReadonlySet<string> = new Set(["x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "sec-websocket-key"]);
/** The plan put nothing in. */
const leftAsTheyCame = ({ plan, facts }: RequestRecord): boolean => plan?.kind === "forward" && plan.head.fields === facts.fields;

/** Addresses of connections and origins of routes are met again with every request: each becomes text once. */
const addressTexts = new WeakMap<SocketAddress, string>();
function addressText(address: SocketAddress): string {
  let text = addressTexts.get(address);
  if (text === undefined) addressTexts.set(address, (text = formatSocketAddress(address)));
  return text;
}

/** The words of a library or a peer: a line of the log is a line. */
const oneLine = (text: string | undefined): string | undefined => text?.replaceAll(/[^ -~\u0080-\uffff]+/g, " ");

const withoutQuery = (value: string | number | undefined): string | number | undefined => (typeof value === "string" ? value.split("?", 1)[0] : value);

/** Requests come in bursts: many lines have the time of the one before. */
let lastTime = -1;
let lastTimeText = "";
function startTime(ms: number): string {
  if (ms === lastTime) return lastTimeText;
  lastTimeText = new Date(ms).toISOString();
  lastTime = ms;
  return lastTimeText;
}

function timeWriter(format: string): (ms: number) => string {
  const made = format === "" ? undefined : compileTime(format);
  // Formats with a time that is not understood are not compiled at all.
  return made?.ok === true ? made.value : startTime;
}

const rounded = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : Math.round(ms));
