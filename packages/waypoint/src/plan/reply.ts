// Owns every answer that a waypoint gives of its own: status, words, Envoy's flag and details, which users search their logs for.
import type { CheckFacts } from "../facts.ts";
import type { LocalReply, ResponseFlag } from "./request-plan.ts";

const TEXT = ["content-type", "text/plain"];
/** UNAVAILABLE: what a gRPC client is to try again. */
const UNAVAILABLE = 14;

interface ReplyMore { readonly fields?: readonly string[]; readonly grpcStatus?: number }

export const localReply = (status: number, body: string, flag: ResponseFlag, details: string, more: ReplyMore = {}): LocalReply => ({
  status, body, flag, details,
  fields: [...(more.fields ?? []), ...(body === "" ? [] : TEXT)],
  ...(more.grpcStatus === undefined ? {} : { grpcStatus: more.grpcStatus }),
});

export const badRequest = (why: string): LocalReply => localReply(400, why, "IH", `invalid_request{${detail(why)}}`);
export const connectRefused: LocalReply = localReply(403, "", "-", "connect_not_allowed");
export const upgradeRefused = (protocol: string): LocalReply => localReply(403, "", "-", `upgrade_not_allowed{${detail(protocol)}}`);
export const noRoute: LocalReply = localReply(404, "", "NR", "route_not_found");
/** `policy` as Istio writes a policy and its rule; undefined: nothing allowed it. */
export const denied = (policy: string | undefined): LocalReply => localReply(403, "RBAC: access denied", "-", `rbac_access_denied_matched_policy[${policy ?? "none"}]`);
export const tokenRefused = (reason: string, realm: string): LocalReply =>
  localReply(401, reason, "-", `jwt_authn_access_denied{${detail(reason)}}`, { fields: ["www-authenticate", `Bearer realm="${realm}", error="invalid_token"`] });
/** A rule that cannot be carried out as it is written. */
export const ruleFails = (why: string): LocalReply => localReply(500, "", "-", `rule_failed{${detail(why)}}`, { grpcStatus: UNAVAILABLE });
export const backendUnknown = (why: string): LocalReply => localReply(500, "", "NC", `cluster_not_found{${detail(why)}}`, { grpcStatus: UNAVAILABLE });
/** All backends of a rule weigh nothing. */
export const nothingWeighs: LocalReply = localReply(503, "", "UH", "no_weight", { grpcStatus: UNAVAILABLE });
export const noHealthyUpstream: LocalReply = localReply(503, "no healthy upstream", "UH", "no_healthy_upstream");
export function checkDenied(verdict: Exclude<CheckFacts["verdict"], { kind: "allow" }>, statusOnError: number): LocalReply {
  if (verdict.kind === "deny") return { status: verdict.status, fields: verdict.headers.flat(), body: verdict.body, flag: "UAEX", details: "ext_authz_denied" };
  if (verdict.bodyTooLarge) return localReply(413, "", "UAEX", "request_payload_too_large");
  return localReply(statusOnError, "", "UAEX", `ext_authz_error{${detail(verdict.why)}}`);
}

/** Details are one word of a log line (Envoy replaces white space too). */
const detail = (text: string): string => text.replaceAll(/[^\x21-\x7e]+/g, "_").replaceAll(/[{}]/g, "_").slice(0, DETAIL_MAX);
/** Characters: a reason may quote what a peer sent. */
const DETAIL_MAX = 200;
