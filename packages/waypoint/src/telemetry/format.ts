// Owns Envoy's access log format: command operators in text or JSON, compiled once to what reads their values off a record.
import { err, ok, type Result } from "@ambit/core";

/** Reads one value off a record; undefined: `-`. */
export type OperatorValue<R> = (record: R) => string | number | undefined;
/** What an operator reads; asked once, when a format is compiled. `argument` is what stands in parentheses. */
export type Operators<R> = (operator: string, argument: string | undefined) => OperatorValue<R>;
export type LineFormat<R> = (record: R) => string;

/** Istio's default, one line of text. */
export const DEFAULT_TEXT = '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%';

/** The same fields, and after them ours: which policy or rule answered. */
const DEFAULT_JSON: Readonly<Record<string, string>> = {
  start_time: "%START_TIME%", route_name: "%ROUTE_NAME%", method: "%REQ(:METHOD)%", path: "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", protocol: "%PROTOCOL%",
  response_code: "%RESPONSE_CODE%", response_flags: "%RESPONSE_FLAGS%", response_code_details: "%RESPONSE_CODE_DETAILS%",
  connection_termination_details: "%CONNECTION_TERMINATION_DETAILS%", bytes_received: "%BYTES_RECEIVED%", bytes_sent: "%BYTES_SENT%", duration: "%DURATION%",
  upstream_service_time: "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", x_forwarded_for: "%REQ(X-FORWARDED-FOR)%", user_agent: "%REQ(USER-AGENT)%", request_id: "%REQ(X-REQUEST-ID)%",
  authority: "%REQ(:AUTHORITY)%", upstream_host: "%UPSTREAM_HOST%", upstream_cluster: "%UPSTREAM_CLUSTER_RAW%", upstream_local_address: "%UPSTREAM_LOCAL_ADDRESS%",
  downstream_local_address: "%DOWNSTREAM_LOCAL_ADDRESS%", downstream_remote_address: "%DOWNSTREAM_REMOTE_ADDRESS%", requested_server_name: "%REQUESTED_SERVER_NAME%",
  upstream_transport_failure_reason: "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
};

export const OPERATORS: ReadonlySet<string> = new Set([
  "START_TIME", "REQ", "RESP", "TRAILER", "PROTOCOL", "RESPONSE_CODE", "RESPONSE_FLAGS", "RESPONSE_CODE_DETAILS", "CONNECTION_TERMINATION_DETAILS",
  "UPSTREAM_TRANSPORT_FAILURE_REASON", "BYTES_RECEIVED", "BYTES_SENT", "DURATION", "REQUEST_DURATION", "RESPONSE_DURATION", "RESPONSE_TX_DURATION", "UPSTREAM_HOST",
  "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_LOCAL_ADDRESS", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS",
  "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_PEER_URI_SAN", "REQUESTED_SERVER_NAME", "ROUTE_NAME", "HOSTNAME", "GRPC_STATUS", "GRPC_STATUS_NUMBER",
  "CONNECTION_ID", "STREAM_ID", "TRACE_ID", "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT",
  "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT", "REQ_WITHOUT_QUERY",
]);
const WITH_ARGUMENT: ReadonlySet<string> = new Set(["REQ", "REQ_WITHOUT_QUERY", "RESP", "TRAILER"]);
const FORMAT_MAX = 16_384;
const FIELDS_MAX = 128;

/** undefined: Istio's default of that encoding. A JSON format is an object of formats. Errors name the operator. */
export function compileFormat<R>(encoding: "text" | "json", format: string | undefined, operators: Operators<R>): Result<LineFormat<R>, string> {
  if (format !== undefined && format.length > FORMAT_MAX) return err(`the format has ${format.length} characters, at most ${FORMAT_MAX} are read`);
  if (encoding === "text") {
    const compiled = compileText((format ?? DEFAULT_TEXT).replace(/\n$/, ""), operators);
    return compiled.ok ? ok((record) => textOf(compiled.value, record)) : compiled;
  }
  const fields = format === undefined ? DEFAULT_JSON : parseFields(format);
  if (typeof fields === "string") return err(fields);
  const parts: [string, readonly OperatorValue<R>[]][] = [];
  for (const [name, text] of Object.entries(fields)) {
    const compiled = compileText(text, operators);
    if (!compiled.ok) return err(`${name}: ${compiled.error}`);
    parts.push([name, compiled.value]);
  }
  return ok((record) => JSON.stringify(Object.fromEntries(parts.map(([name, list]) => [name, list.length === 1 ? (list[0]?.(record) ?? null) : textOf(list, record)]))));
}

function parseFields(format: string): Readonly<Record<string, string>> | string {
  let read: unknown;
  try {
    read = JSON.parse(format);
  } catch (error) {
    return `not JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (typeof read !== "object" || read === null || Array.isArray(read)) return "not an object of formats";
  const entries = Object.entries(read);
  if (entries.length > FIELDS_MAX) return `${entries.length} fields, at most ${FIELDS_MAX}`;
  const bad = entries.find(([, v]) => typeof v !== "string");
  return bad === undefined ? (read as Record<string, string>) : `${bad[0]}: not a text`;
}

function textOf<R>(parts: readonly OperatorValue<R>[], record: R): string {
  let line = "";
  for (const part of parts) line += part(record) ?? "-";
  return line;
}

function compileText<R>(text: string, operators: Operators<R>): Result<readonly OperatorValue<R>[], string> {
  const parts: OperatorValue<R>[] = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf("%", at);
    if (open < 0) { parts.push(literal(text.slice(at))); break; }
    if (open > at) parts.push(literal(text.slice(at, open)));
    if (text[open + 1] === "%") { parts.push(literal("%")); at = open + 2; continue; }
    const part = operatorAt(text, open, operators);
    if (!part.ok) return part;
    parts.push(part.value.part);
    at = part.value.end;
  }
  return ok(parts.length === 0 ? [literal("")] : parts);
}

const literal = (text: string) => (): string => text;
const OPERATOR = /%([A-Z_]+)(?:\(([^()%]*)\))?(?::(\d{1,5}))?%/y;

function operatorAt<R>(text: string, at: number, operators: Operators<R>): Result<{ part: OperatorValue<R>; end: number }, string> {
  OPERATOR.lastIndex = at;
  const m = OPERATOR.exec(text);
  if (m === null) return err(`at ${at}: ${JSON.stringify(text.slice(at, at + 30))} is not %OPERATOR%, %OPERATOR(X)% or %OPERATOR(X):N%`);
  const [whole, name = "", argument, limit] = m;
  if (!OPERATORS.has(name)) return err(`%${name}% is not known`);
  if (WITH_ARGUMENT.has(name) !== (argument !== undefined)) return err(`%${name}% ${argument === undefined ? "needs the name of a header" : "takes no argument"}`);
  const read = WITH_ARGUMENT.has(name) ? firstOf(name, argument ?? "", operators) : operators(name, argument);
  if (limit === undefined) return ok({ part: read, end: at + whole.length });
  const max = Number(limit);
  const part: OperatorValue<R> = (record) => {
    const value = read(record);
    return typeof value === "string" ? value.slice(0, max) : value;
  };
  return ok({ part, end: at + whole.length });
}

/** `X?Y`: the second header where the first is missing. */
function firstOf<R>(name: string, argument: string, operators: Operators<R>): OperatorValue<R> {
  const [main = "", otherwise] = argument.toLowerCase().split("?");
  const first = operators(name, main);
  if (otherwise === undefined) return first;
  const second = operators(name, otherwise);
  return (record) => first(record) ?? second(record);
}
