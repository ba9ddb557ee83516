// Owns the access line of a request, and that of a connection that is not HTTP: what each operator of Envoy's format stands for here.
import { formatIdentity, formatSocketAddress, type RouteOrigin, type TelemetrySettings } from "@ambit/core";
import { fieldValue } from "@ambit/http";
import type { ConnectionFacts } from "../facts.ts";
import type { RequestRecord } from "../http/options.ts";
import { compileFormat, type LineFormat, type OperatorSource } from "./format.ts";
import { flagsOf } from "./labels.ts";

type Settings = TelemetrySettings["accessLog"];

export interface AccessLogOptions {
  readonly write: (line: string) => void;
  /** A format that cannot be compiled: once for each. Its lines come in the default format. */
  readonly onBadFormat: (why: string) => void;
  readonly local: string;
  readonly hostname: string;
}

export interface AccessLog {
  request(record: RequestRecord, settings: Settings): void;
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
}

export function createAccessLog(o: AccessLogOptions): AccessLog {
  const compiled = new Map<string, LineFormat>();
  let last: { readonly settings: Settings; readonly format: LineFormat } | undefined;
  const lineFormat = (s: Settings): LineFormat => {
    if (last?.settings === s) return last.format;
    const key = `${s.encoding} ${s.format ?? ""}`;
    let format = compiled.get(key);
    if (format === undefined) {
      const made = compileFormat(s.encoding, s.format);
      if (!made.ok) o.onBadFormat(made.error);
      format = made.ok ? made.value : defaultOf(s.encoding);
      compiled.set(key, format);
    }
    last = { settings: s, format };
    return format;
  };
  return {
    request: (r, s) => { if (s.enabled) o.write(lineFormat(s)(ofRequest(r, o))); },
    connection: (c, s) => { if (s.enabled) o.write(lineFormat(s)(ofConnection(c, o))); },
  };
}

function defaultOf(encoding: "text" | "json"): LineFormat {
  const made = compileFormat(encoding, undefined);
  if (!made.ok) throw new Error(`defect: the default format: ${made.error}`);
  return made.value;
}

const GRPC_NAMES = ["OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
  "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"];

const ofRequest = (r: RequestRecord, o: AccessLogOptions): OperatorSource => (operator, argument = "") => {
  const { facts } = r;
  switch (operator) {
    case "START_TIME": return startTime(r.startedAt);
    case "REQ": return requestField(r, argument);
    case "RESP": return fieldValue(r.responseFields, argument);
    case "TRAILER": return fieldValue(r.responseTrailers, argument);
    case "PROTOCOL": return facts.protocol;
    case "RESPONSE_CODE": return r.status;
    case "RESPONSE_FLAGS": return flagsOf(r);
    case "RESPONSE_CODE_DETAILS": return r.details || undefined;
    case "UPSTREAM_TRANSPORT_FAILURE_REASON": return r.upstreamFailure;
    case "BYTES_RECEIVED": return r.bytesReceived;
    case "BYTES_SENT": return r.bytesSent;
    case "DURATION": return Math.round(r.durationMs);
    case "REQUEST_DURATION": return rounded(r.requestEndMs);
    case "RESPONSE_DURATION": return rounded(r.responseStartMs);
    case "RESPONSE_TX_DURATION": return r.responseStartMs === undefined ? undefined : Math.round(r.durationMs - r.responseStartMs);
    case "UPSTREAM_HOST": return r.endpoint && formatSocketAddress(r.endpoint.address);
    case "UPSTREAM_CLUSTER": case "UPSTREAM_CLUSTER_RAW": return r.endpoint?.cluster;
    case "UPSTREAM_REQUEST_ATTEMPT_COUNT": return r.attempts;
    case "ROUTE_NAME": return routeName(r.plan?.origin);
    case "GRPC_STATUS": return r.grpcStatus === undefined ? undefined : (GRPC_NAMES[r.grpcStatus] ?? String(r.grpcStatus));
    case "GRPC_STATUS_NUMBER": return r.grpcStatus;
    case "STREAM_ID": return r.requestId;
    default: return ofParties(facts.connection, operator, o);
  }
};

const ofConnection = (c: ConnectionLine, o: AccessLogOptions): OperatorSource => (operator) => {
  switch (operator) {
    case "START_TIME": return startTime(c.startedAt);
    case "RESPONSE_CODE": return 0;
    case "RESPONSE_FLAGS": return c.flag;
    case "RESPONSE_CODE_DETAILS": return undefined;
    case "CONNECTION_TERMINATION_DETAILS": return c.details || undefined;
    case "UPSTREAM_TRANSPORT_FAILURE_REASON": return c.upstreamFailure;
    case "BYTES_RECEIVED": return c.bytesReceived;
    case "BYTES_SENT": return c.bytesSent;
    case "DURATION": return Math.round(c.durationMs);
    case "UPSTREAM_HOST": return c.upstreamHost;
    case "UPSTREAM_CLUSTER": case "UPSTREAM_CLUSTER_RAW": return c.destinationName;
    case "ROUTE_NAME": return routeName(c.route);
    default: return ofParties(c.facts, operator, o);
  }
};

function ofParties(c: ConnectionFacts, operator: string, o: AccessLogOptions): string | undefined {
  switch (operator) {
    case "UPSTREAM_LOCAL_ADDRESS": return o.local;
    case "DOWNSTREAM_LOCAL_ADDRESS": return formatSocketAddress(c.address);
    case "DOWNSTREAM_REMOTE_ADDRESS": case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": return formatSocketAddress(c.source);
    case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": return c.source.ip;
    case "DOWNSTREAM_PEER_URI_SAN": return formatIdentity(c.peer);
    case "HOSTNAME": return o.hostname;
    case "CONNECTION_ID": return c.id;
    default: return undefined;
  }
}

/** As the client sent it; fields that were made here (the request's id, the original path) as they left. */
function requestField(r: RequestRecord, name: string): string | undefined {
  const { facts, outgoing } = r;
  switch (name) {
    case ":method": return facts.method || undefined;
    case ":path": return (outgoing?.target ?? facts.target) || undefined;
    case ":authority": case "host": return (outgoing?.authority ?? facts.authority) || undefined;
    case ":scheme": return facts.scheme;
    case "x-request-id": return r.requestId || undefined;
    default: return fieldValue(facts.fields, name) ?? (outgoing === undefined ? undefined : fieldValue(outgoing.fields, name));
  }
}

/** `HTTPRoute shop/reviews rule 1 (canary)`, or the bare name of a VirtualService's rule, as Istio has it. */
export function routeName(origin: RouteOrigin | undefined): string {
  if (origin === undefined) return "default";
  if (origin.kind === "VirtualService") return origin.ruleName ?? `${origin.namespace}.${origin.name}.${origin.rule}`;
  return `${origin.namespace}.${origin.name}.${origin.ruleName ?? origin.rule}`;
}

/** Requests come in bursts: many lines have the time of the one before. */
let lastTime = -1;
let lastTimeText = "";
function startTime(ms: number): string {
  if (ms === lastTime) return lastTimeText;
  lastTimeText = new Date(ms).toISOString();
  lastTime = ms;
  return lastTimeText;
}

const rounded = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : Math.round(ms));
