// Owns answers of our own as they go on the wire, and what an upstream's failure is answered with.
import { grpcStatusOf } from "@ambit/core";
import type { LocalReply, ResponseFlag } from "../plan/request-plan.ts";
import type { AttemptFailure } from "./upstream/upstreams.ts";

const GRPC_DEADLINE_EXCEEDED = 4;

export interface WireReply { readonly status: number; readonly fields: readonly string[]; readonly body: string; readonly grpcStatus: number | undefined }

/** A gRPC client gets trailers-only: 200 with grpc-status and grpc-message, no body. `status` and `body` of others as they are. */
export function renderReply(reply: LocalReply, grpc: boolean): WireReply {
  if (!grpc) {
    const typed = reply.body === "" || reply.fields.includes("content-type");
    return { status: reply.status, fields: typed ? reply.fields : ["content-type", "text/plain", ...reply.fields], body: reply.body, grpcStatus: undefined };
  }
  const grpcStatus = reply.grpcStatus ?? grpcStatusOf(reply.status);
  const fields = ["content-type", "application/grpc", "grpc-status", String(grpcStatus)];
  if (reply.body !== "") fields.push("grpc-message", percentEncoded(reply.body));
  for (let i = 0; i + 1 < reply.fields.length; i += 2) if (reply.fields[i] !== "content-type" && reply.fields[i] !== "content-length") fields.push(reply.fields[i] ?? "", reply.fields[i + 1] ?? "");
  return { status: 200, fields, body: "", grpcStatus };
}

/** As gRPC's HTTP/2 mapping asks: printable ASCII but %, everything else as octets of UTF-8. */
function percentEncoded(text: string): string {
  let out = "";
  for (const octet of new TextEncoder().encode(text)) out += octet >= 0x20 && octet < 0x7f && octet !== 0x25 ? String.fromCharCode(octet) : `%${octet.toString(16).toUpperCase().padStart(2, "0")}`;
  return out;
}

export const reply = (status: number, body: string, flag: ResponseFlag, details: string, fields: readonly string[] = []): LocalReply => ({ status, fields, body, flag, details });

const BEFORE = "upstream connect error or disconnect/reset before headers.";

/** The single table of upstream failures: status, flag, Envoy's details and words. `deadline`: the client gave a grpc-timeout. */
export function failureReply(failure: AttemptFailure, deadline: boolean): LocalReply {
  switch (failure.kind) {
    case "connect":
      return failure.timeout ? reply(503, `${BEFORE} reset reason: connection timeout`, "UF", "upstream_reset_before_response_started{connection_timeout}")
        : reply(503, `${BEFORE} reset reason: remote connection failure, transport failure reason: ${failure.why}`, "UF", "upstream_reset_before_response_started{remote_connection_failure}");
    case "overflow":
      return reply(503, `${BEFORE} reset reason: overflow`, "UO", "upstream_reset_before_response_started{overflow}", ["x-envoy-overloaded", "true"]);
    case "reset":
      switch (failure.by) {
        case "remote":
          return reply(503, `${BEFORE} reset reason: remote reset`, "UR", "upstream_reset_before_response_started{remote_reset}");
        case "connection":
          return reply(503, `${BEFORE} reset reason: connection termination`, "UC", "upstream_reset_before_response_started{connection_termination}");
        case "protocol":
          return reply(502, `${BEFORE} reset reason: protocol error`, "UPE", "upstream_reset_before_response_started{protocol_error}");
      }
      return failure.by;
    case "timeout":
      return { ...reply(504, "upstream request timeout", "UT", "upstream_per_try_timeout"), ...(deadline ? { grpcStatus: GRPC_DEADLINE_EXCEEDED } : {}) };
    case "abandoned":
      return { ...reply(504, "upstream request timeout", "UT", "response_timeout"), ...(deadline ? { grpcStatus: GRPC_DEADLINE_EXCEEDED } : {}) };
  }
}

/** The flag of an answer that broke off after it began. */
export const brokenFlag = (failure: AttemptFailure): ResponseFlag =>
  failure.kind === "reset" ? (failure.by === "remote" ? "UR" : failure.by === "protocol" ? "UPE" : "UC") : failure.kind === "timeout" || failure.kind === "abandoned" ? "UT" : "UC";

export const failureText = (failure: AttemptFailure): string | undefined =>
  failure.kind === "connect" || failure.kind === "reset" ? failure.why : failure.kind === "overflow" ? `limit of ${failure.limit}` : undefined;
