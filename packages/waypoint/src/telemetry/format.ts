// Owns Envoy's access log format: command operators in text or JSON, compiled once, applied to a record's operator values.
import { err, ok, type Result } from "@ambit/core";

/** Gives the value of an operator, or undefined for `-`. `argument` is what stands in parentheses. */
export type OperatorSource = (operator: string, argument: string | undefined) => string | number | undefined;
export type LineFormat = (source: OperatorSource) => string;

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
  "CONNECTION_ID", "STREAM_ID",
]);
const WITH_ARGUMENT: ReadonlySet<string> = new Set(["REQ", "RESP", "TRAILER"]);
const FORMAT_MAX = 16_384;
const FIELDS_MAX = 128;

/** undefined: Istio's default of that encoding. A JSON format is an object of formats. Errors name the operator. */
export function compileFormat(encoding: "text" | "json", format: string | undefined): Result<LineFormat, string> {
  if (format !== undefined && format.length > FORMAT_MAX) return err(`the format has ${format.length} characters, at most ${FORMAT_MAX} are read`);
  if (encoding === "text") {
    const compiled = compileText((format ?? DEFAULT_TEXT).replace(/\n$/, ""));
    return compiled.ok ? ok((source) => textOf(compiled.value, source)) : compiled;
  }
  const fields = format === undefined ? DEFAULT_JSON : parseFields(format);
  if (typeof fields === "string") return err(fields);
  const parts: [string, readonly Part[]][] = [];
  for (const [name, text] of Object.entries(fields)) {
    const compiled = compileText(text);
    if (!compiled.ok) return err(`${name}: ${compiled.error}`);
    parts.push([name, compiled.value]);
  }
  return ok((source) => JSON.stringify(Object.fromEntries(parts.map(([name, list]) => [name, list.length === 1 ? (list[0]?.(source) ?? null) : textOf(list, source)]))));
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

type Part = (source: OperatorSource) => string | number | undefined;

function textOf(parts: readonly Part[], source: OperatorSource): string {
  let line = "";
  for (const part of parts) line += part(source) ?? "-";
  return line;
}

function compileText(text: string): Result<readonly Part[], string> {
  const parts: Part[] = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf("%", at);
    if (open < 0) { parts.push(literal(text.slice(at))); break; }
    if (open > at) parts.push(literal(text.slice(at, open)));
    if (text[open + 1] === "%") { parts.push(literal("%")); at = open + 2; continue; }
    const part = operatorAt(text, open);
    if (!part.ok) return part;
    parts.push(part.value.part);
    at = part.value.end;
  }
  return ok(parts.length === 0 ? [literal("")] : parts);
}

const literal = (text: string): Part => () => text;
const OPERATOR = /%([A-Z_]+)(?:\(([^()%]*)\))?(?::(\d{1,5}))?%/y;

function operatorAt(text: string, at: number): Result<{ part: Part; end: number }, string> {
  OPERATOR.lastIndex = at;
  const m = OPERATOR.exec(text);
  if (m === null) return err(`at ${at}: ${JSON.stringify(text.slice(at, at + 30))} is not %OPERATOR%, %OPERATOR(X)% or %OPERATOR(X):N%`);
  const [whole, name = "", argument, limit] = m;
  if (!OPERATORS.has(name)) return err(`%${name}% is not known`);
  if (WITH_ARGUMENT.has(name) !== (argument !== undefined) && name !== "START_TIME") return err(`%${name}% ${argument === undefined ? "needs the name of a header" : "takes no argument"}`);
  const read = WITH_ARGUMENT.has(name) ? firstOf(name, argument ?? "") : (source: OperatorSource) => source(name, argument);
  if (limit === undefined) return ok({ part: read, end: at + whole.length });
  const max = Number(limit);
  const part: Part = (source) => {
    const value = read(source);
    return typeof value === "string" ? value.slice(0, max) : value;
  };
  return ok({ part, end: at + whole.length });
}

/** `X?Y`: the second header where the first is missing. */
function firstOf(name: string, argument: string): Part {
  const [main = "", otherwise] = argument.toLowerCase().split("?");
  return otherwise === undefined ? (source) => source(name, main) : (source) => source(name, main) ?? source(name, otherwise);
}
