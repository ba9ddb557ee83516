// Public pure parts of the waypoint, for `ambit why` (ADR 0018): configuration and facts in, the plan out, no I/O.
export type { CheckFacts, ConnectionFacts, PortProtocol, RequestFacts, TokenFacts } from "./facts.ts";
export type { Because, LocalReply, OutgoingHead, Remark, RequestNeed, RequestPlan, ResponseFlag } from "./plan/request-plan.ts";
export { planRequest } from "./plan/request.ts";
export { choosePortProtocol, planTcp, type TcpPlan } from "./plan/tcp.ts";
export { HBONE_PORT, planUpstream, planWorkload, type NextHop, type UpstreamHints, type UpstreamPlan } from "./plan/upstream.ts";
export { HashTables } from "./plan/balance/hash.ts";
export type { Session, SessionSeal } from "./plan/session.ts";
export { findTokens, tokenRulesFor, type TokenCandidate, type TokenRules } from "./plan/tokens.ts";
export { explainRequest, type RequestExplanation, type RequestQuestion } from "./plan/explain.ts";
