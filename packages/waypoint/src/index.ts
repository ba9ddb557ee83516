// Public names of @ambit/waypoint: what its own process and tests need. Other binaries do not import it.
export type { CheckFacts, ConnectionFacts, PortProtocol, RequestFacts, TokenFacts } from "./facts.ts";
export type { Because, LocalReply, OutgoingHead, Remark, RequestNeed, RequestPlan, ResponseFlag } from "./plan/request-plan.ts";
