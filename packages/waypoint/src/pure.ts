// Public pure parts of the waypoint, for `ambit why` (ADR 0018): configuration and facts in, the plan out, no I/O.
export type { CheckFacts, ConnectionFacts, PortProtocol, RequestFacts, TokenFacts } from "./facts.ts";
export type { Because, LocalReply, OutgoingHead, Remark, RequestNeed, RequestPlan, ResponseFlag } from "./plan/request-plan.ts";
