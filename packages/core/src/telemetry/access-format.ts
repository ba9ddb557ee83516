// Owns Envoy's access log format: command operators in text or JSON, compiled once to what reads their values off a record.
import { err, ok, type Result } from "../result.ts";
import { compileTime } from "./time-format.ts";

/** Reads one value off a record; undefined: `-`. */
export type OperatorValue<R> = (record: R) => string | number | undefined;
/** How an operator's value differs from one record of a connection to the next: `steady`, not while `Memory` says so; `seldom`, mostly not; `always`. */
export type Variety = "steady" | "seldom" | "always";
export interface Operator<R> { readonly read: OperatorValue<R>; readonly variety: Variety }
/** What an operator reads; asked once, when a format is compiled. `argument` is what stands in parentheses. */
export type Operators<R> = (operator: string, argument: string | undefined) => Operator<R>;
/** Where a line goes, part by part; octets are UTF-8. */
export interface LineOutput { text(text: string): void; octets(octets: Uint8Array): void }
/** Writes a line, without a newline. `memory`: of the record's connection; what does not differ from its last line is not put together again. */
export type LineFormat<R> = (record: R, memory: Memory<R> | undefined, out: LineOutput) => void;

/** A part of the last line as it went out, and the values in it that may differ. */
export interface Remembered { octets: Uint8Array | undefined; readonly values: (string | number | undefined)[] }
export interface Memory<R> {
  /** By number of the part; undefined, where the format or what is steady is not the last record's: what is met once is not worth remembering. */
  of(format: object, record: R): Remembered[] | undefined;
}

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
    return compiled.ok ? ok(lineOf(piecesOf(compiled.value))) : compiled;
  }
  const fields = format === undefined ? DEFAULT_JSON : parseFields(format);
  if (typeof fields === "string") return err(fields);
  const parts: Part<R>[] = [];
  for (const [name, text] of Object.entries(fields)) {
    const compiled = compileText(text, operators);
    if (!compiled.ok) return err(`${name}: ${compiled.error}`);
    const [only, more] = compiled.value;
    parts.push({ literal: `${parts.length === 0 ? "{" : ","}${JSON.stringify(name)}:` });
    // One operator keeps its kind (a number, null); several are a text.
    if (only !== undefined && more === undefined && !("literal" in only)) parts.push({ read: (r) => jsonText(only.read(r)), variety: only.variety });
    else parts.push({ read: (r) => JSON.stringify(textOf(compiled.value, r)), variety: compiled.value.every((p) => "literal" in p || p.variety === "steady") ? "steady" : "always" });
  }
  return ok(lineOf(piecesOf([...parts, { literal: parts.length === 0 ? "{}" : "}" }])));
}

const jsonText = (value: string | number | undefined): string => (value === undefined ? "null" : JSON.stringify(value));

type Part<R> = { readonly literal: string } | Operator<R>;
/** One value with what stands before it; or several parts that seldom differ: then `seldom` reads those that may. */
interface Piece<R> { readonly before: string; readonly read: OperatorValue<R>; readonly parts: readonly Part<R>[]; readonly seldom: readonly OperatorValue<R>[] }

/** What does not always differ becomes one piece with its neighbours, literals included. */
function piecesOf<R>(parts: readonly Part<R>[]): { readonly pieces: readonly Piece<R>[]; readonly after: string } {
  const pieces: Piece<R>[] = [];
  let group: Part<R>[] = [];
  const settle = (): string => {
    const settled = group;
    group = [];
    const operators = settled.flatMap((p) => ("literal" in p ? [] : p));
    if (operators.length === 0) return settled.map((p) => ("literal" in p ? p.literal : "")).join("");
    pieces.push({ before: "", read: (r) => textOf(settled, r), parts: settled, seldom: operators.filter((o) => o.variety === "seldom").map((o) => o.read) });
    return "";
  };
  for (const part of parts) {
    if ("literal" in part || part.variety !== "always") group.push(part);
    else pieces.push({ before: settle(), read: part.read, parts: [], seldom: [] });
  }
  return { after: settle(), pieces };
}

function lineOf<R>({ pieces, after }: { readonly pieces: readonly Piece<R>[]; readonly after: string }): LineFormat<R> {
  return (record, memory, out) => {
    const remembered = memory?.of(pieces, record);
    for (let i = 0; i < pieces.length; i++) {
      const piece = pieces[i];
      if (piece === undefined) continue;
      if (piece.parts.length > 0) {
        if (remembered === undefined) for (const part of piece.parts) out.text("literal" in part ? part.literal : valueText(part.read(record)));
        else out.octets(recalled(piece, (remembered[i] ??= { octets: undefined, values: [] }), record));
      } else {
        if (piece.before !== "") out.text(piece.before);
        out.text(valueText(piece.read(record)));
      }
    }
    if (after !== "") out.text(after);
  };
}

const valueText = (value: string | number | undefined): string => (value === undefined ? "-" : typeof value === "number" ? String(value) : value);

const UTF8 = new TextEncoder();

function recalled<R>({ parts, seldom }: Piece<R>, last: Remembered, record: R): Uint8Array {
  let same = last.octets !== undefined;
  for (let i = 0; i < seldom.length; i++) {
    const value = seldom[i]?.(record);
    if (value === last.values[i]) continue;
    last.values[i] = value;
    same = false;
  }
  return same && last.octets !== undefined ? last.octets : (last.octets = UTF8.encode(textOf(parts, record)));
}

/** What is not understood of a format; undefined: nothing. For whoever tells its author before anybody writes lines by it. */
export function formatProblem(encoding: "text" | "json", format: string | undefined): string | undefined {
  const made = compileFormat<undefined>(encoding, format, () => ({ read: () => undefined, variety: "always" }));
  return made.ok ? undefined : made.error;
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

const textOf = <R>(parts: readonly Part<R>[], record: R): string => parts.map((part) => ("literal" in part ? part.literal : valueText(part.read(record)))).join("");

function compileText<R>(text: string, operators: Operators<R>): Result<readonly Part<R>[], string> {
  const parts: Part<R>[] = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf("%", at);
    if (open < 0) { parts.push({ literal: text.slice(at) }); break; }
    if (open > at) parts.push({ literal: text.slice(at, open) });
    if (text[open + 1] === "%") { parts.push({ literal: "%" }); at = open + 2; continue; }
    const part = operatorAt(text, open, operators);
    if (!part.ok) return part;
    parts.push(part.value.part);
    at = part.value.end;
  }
  return ok(parts);
}

/** A time's format has its own per cent signs. */
const OPERATOR = /%([A-Z_]+)(?:\(((?<=%START_TIME\()[^()]*|[^()%]*)\))?(?::(\d{1,5}))?%/y;

function operatorAt<R>(text: string, at: number, operators: Operators<R>): Result<{ part: Part<R>; end: number }, string> {
  OPERATOR.lastIndex = at;
  const m = OPERATOR.exec(text);
  if (m === null) return err(`at ${at}: ${JSON.stringify(text.slice(at, at + 30))} is not %OPERATOR%, %OPERATOR(X)% or %OPERATOR(X):N%`);
  const [whole, name = "", argument, limit] = m;
  if (!OPERATORS.has(name)) return err(`%${name}% is not known`);
  const time = name === "START_TIME" && argument !== undefined ? compileTime(argument) : undefined;
  if (time?.ok === false) return err(`%START_TIME%: ${time.error}`);
  if (time === undefined && WITH_ARGUMENT.has(name) !== (argument !== undefined)) return err(`%${name}% ${argument === undefined ? "needs the name of a header" : "takes no argument"}`);
  const { read, variety } = WITH_ARGUMENT.has(name) ? firstOf(name, argument ?? "", operators) : operators(name, argument);
  if (limit === undefined) return ok({ part: { read, variety }, end: at + whole.length });
  const max = Number(limit);
  const cut: OperatorValue<R> = (record) => {
    const value = read(record);
    return typeof value === "string" ? value.slice(0, max) : value;
  };
  return ok({ part: { read: cut, variety }, end: at + whole.length });
}

/** `X?Y`: the second header where the first is missing. */
function firstOf<R>(name: string, argument: string, operators: Operators<R>): Operator<R> {
  const [main = "", otherwise] = argument.toLowerCase().split("?");
  const first = operators(name, main);
  if (otherwise === undefined) return first;
  const second = operators(name, otherwise);
  return { read: (record) => first.read(record) ?? second.read(record), variety: first.variety === second.variety ? first.variety : "always" };
}
