// Owns asking an authorization provider about a request, over HTTP or gRPC, and what its answer, its silence or its failure means.
import { fieldLines, fieldValue, normalizeTarget, targetOf, withField, withoutFields, type AuthorizationProvider } from "@ambit/core";
import type { CheckFacts, ConnectionFacts, RequestFacts } from "../facts.ts";
import { decodeCheck } from "./decode-check.ts";
import { encodeCheck } from "./encode-check.ts";

/** One exchange with the provider's service. */
export interface CheckMessage {
  /** gRPC needs it. */
  readonly protocol: "http1" | "http2";
  readonly method: string;
  readonly authority: string;
  readonly target: string;
  /** Without what frames the message: that is the sender's. */
  readonly fields: readonly string[];
  readonly body: Uint8Array;
}
export interface CheckAnswer { readonly status: number; readonly fields: readonly string[]; readonly trailers: readonly string[]; readonly body: Uint8Array }

/** Octets of an answer's body that are taken; the sender cuts off what is longer by failing. An answer to a denied client is a page, not a download. */
export const ANSWER_MAX_BYTES = 64 * 1024;

export interface CheckPorts {
  /** Sends to an endpoint of the provider's service and collects the answer. Rejects when that fails; must stop when the signal aborts. */
  send(provider: AuthorizationProvider, message: CheckMessage, signal: AbortSignal): Promise<CheckAnswer>;
  /** Aborts after so long. `dispose` when it is not needed any more. */
  deadline(ms: number): { readonly signal: AbortSignal; dispose(): void };
  /** The first octets of the request's body. */
  peek(maxBytes: number): Promise<{ readonly bytes: Uint8Array; readonly complete: boolean }>;
}

/** What is asked: the request as the application would see it, its token included. */
export interface CheckSubject { readonly facts: RequestFacts; readonly fields: readonly string[]; readonly policy: string; readonly pathNormalization: Parameters<typeof normalizeTarget>[1] }

/** Never rejects: a provider that cannot be asked has failed, and the plan decides what then. */
export async function checkExternally(provider: AuthorizationProvider, subject: CheckSubject, ports: CheckPorts): Promise<CheckFacts> {
  const deadline = ports.deadline(provider.timeoutMs);
  try {
    const wanted = provider.includeRequestBody;
    const peeked = wanted === undefined ? undefined : await ports.peek(wanted.maxBytes);
    if (wanted !== undefined && peeked?.complete === false && !wanted.allowPartial) return failed(provider, `the body is longer than ${wanted.maxBytes} octets`, true);
    const body = peeked && { bytes: peeked.bytes, asBytes: wanted?.packAsBytes ?? false };
    const normal = normalizeTarget(subject.facts.target, subject.pathNormalization);
    const target = normal.ok ? targetOf(normal.value.path, normal.value.query) : subject.facts.target;
    const fields = peeked === undefined ? subject.fields : withField(subject.fields, "x-envoy-auth-partial-body", String(!peeked.complete));
    const asked = { ...subject, fields, target, body };
    const { onlyRequestHeaders: only } = provider;
    const told = only === undefined ? asked : { ...asked, fields: withoutFields(fields, (name) => !only.includes(name) && name !== "x-envoy-auth-partial-body") };
    const answer = await ports.send(provider, provider.protocol === "grpc" ? grpcMessage(provider, encodeCheck({ connection: subject.facts.connection, now: subject.facts.now, policy: subject.policy, http: told }), fields) : httpMessage(provider, asked), deadline.signal);
    return { provider: provider.name, verdict: provider.protocol === "grpc" ? readGrpc(answer) : readHttp(provider, answer) };
  } catch (error) {
    return failed(provider, reasonOf(error, deadline.signal, provider), false);
  } finally {
    deadline.dispose();
  }
}

/** Of a TCP connection; only gRPC providers can be asked. Never rejects. */
export async function checkConnection(provider: AuthorizationProvider, connection: ConnectionFacts, policy: string, now: number, ports: Omit<CheckPorts, "peek">): Promise<CheckFacts> {
  const deadline = ports.deadline(provider.timeoutMs);
  try {
    const answer = await ports.send(provider, grpcMessage(provider, encodeCheck({ connection, now, policy, http: undefined }), []), deadline.signal);
    return { provider: provider.name, verdict: readGrpc(answer) };
  } catch (error) {
    return failed(provider, reasonOf(error, deadline.signal, provider), false);
  } finally {
    deadline.dispose();
  }
}

const reasonOf = (error: unknown, signal: AbortSignal, { timeoutMs }: AuthorizationProvider): string =>
  signal.aborted ? `no answer within ${timeoutMs} ms` : error instanceof Error ? error.message : String(error);

const failed = (provider: AuthorizationProvider, why: string, bodyTooLarge: boolean): CheckFacts => ({ provider: provider.name, verdict: { kind: "failed", why, bodyTooLarge } });

interface Asked extends CheckSubject { readonly target: string; readonly body: { readonly bytes: Uint8Array; readonly asBytes: boolean } | undefined }

/** Only what is listed goes to the provider, beside host, method, path and Authorization; headers of ours win over the client's. */
function httpMessage(provider: AuthorizationProvider, { facts, fields, target, body }: Asked): CheckMessage {
  const ours = new Set(provider.includeAdditionalHeaders.map(([name]) => name.toLowerCase()));
  const kept = withoutFields(fields, (name) => ours.has(name) || name === "content-length" || !(name === "authorization" || name === "x-envoy-auth-partial-body" || listed(provider.includeRequestHeaders, name)));
  for (const [name, value] of provider.includeAdditionalHeaders) kept.push(name.toLowerCase(), value);
  const bytes = body?.bytes ?? new Uint8Array();
  return { protocol: "http1", method: facts.method, authority: facts.authority, target: `${provider.pathPrefix.replace(/\/$/, "")}${target}`, fields: kept, body: bytes };
}

/** 200 allows; a 5xx is the provider's own failure; anything else is its answer to the client. */
function readHttp(provider: AuthorizationProvider, { status, fields, body }: CheckAnswer): CheckFacts["verdict"] {
  const pairs = fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1] ?? ""] as const] : []));
  if (status === 200) {
    return {
      kind: "allow", append: [], remove: [], set: pairs.filter(([name]) => (provider.headersToUpstreamOnAllow.includes("*") ? !OF_THE_ANSWER.has(name) : listed(provider.headersToUpstreamOnAllow, name))),
      toDownstream: pairs.filter(([name]) => listed(provider.headersToDownstreamOnAllow, name)),
    };
  }
  if (status >= 500) return { kind: "failed", why: `the provider answered ${status}`, bodyTooLarge: false };
  const all = provider.headersToDownstreamOnDeny.length === 0;
  const headers = pairs.filter(([name]) => !FRAMING.has(name) && (all || ALWAYS_ON_DENY.has(name) || listed(provider.headersToDownstreamOnDeny, name)));
  return { kind: "deny", status, headers, body: new TextDecoder().decode(body) };
}
const ALWAYS_ON_DENY = new Set(["www-authenticate", "location", "content-type"]);
/** Our answer is framed by us. */
const FRAMING = new Set(["content-length", "transfer-encoding", "connection", "keep-alive", "date", "server"]);
/** About the provider's answer, not about the request: how it is framed, who gave it when, what its body is. */
const OF_THE_ANSWER = new Set([...FRAMING, "host", "proxy-connection", "upgrade", "te", "trailer", "content-type", "content-encoding"]);

/** Exact, `prefix*` or `*suffix`, in any case. */
function listed(patterns: readonly string[], name: string): boolean {
  return patterns.some((p) => {
    const pattern = p.toLowerCase();
    if (pattern.startsWith("*")) return name.endsWith(pattern.slice(1));
    return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
  });
}

/** Compressed flag (never) and length (gRPC over HTTP/2). */
const FRAME_HEAD = 5;

function grpcMessage(provider: AuthorizationProvider, message: Uint8Array, fields: readonly string[]): CheckMessage {
  const frame = new Uint8Array(FRAME_HEAD + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, FRAME_HEAD);
  const traced = ["traceparent", "tracestate", "x-request-id", "b3"].flatMap((name) => fieldLines(fields, name).flatMap((value) => [name, value]));
  return {
    protocol: "http2", method: "POST", authority: `${provider.service.split("/")[1] ?? provider.service}:${provider.port}`, target: "/envoy.service.auth.v3.Authorization/Check",
    fields: ["content-type", "application/grpc", "te", "trailers", "grpc-timeout", `${Math.min(provider.timeoutMs, 99_999_999)}m`, ...traced], body: frame,
  };
}

function readGrpc({ status, fields, trailers, body }: CheckAnswer): CheckFacts["verdict"] {
  const grpcStatus = fieldValue(trailers, "grpc-status") ?? fieldValue(fields, "grpc-status");
  if (status !== 200 || grpcStatus !== "0") return { kind: "failed", why: `the provider answered ${status}, grpc-status ${grpcStatus ?? "missing"}: ${fieldValue(trailers, "grpc-message") ?? fieldValue(fields, "grpc-message") ?? ""}`, bodyTooLarge: false };
  const length = body.length < FRAME_HEAD ? -1 : new DataView(body.buffer, body.byteOffset).getUint32(1);
  if (body[0] !== 0 || length !== body.length - FRAME_HEAD) return { kind: "failed", why: "the answer is not one plain gRPC message", bodyTooLarge: false };
  return decodeCheck(body.subarray(FRAME_HEAD));
}
