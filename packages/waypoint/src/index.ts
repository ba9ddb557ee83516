// Public names of @ambit/waypoint: what its own process and tests need. Other binaries do not import it.
export { build, type BoundWaypoint } from "./app.ts";
export { prepareHeap } from "./heap.ts";
export type { CheckFacts, ConnectionFacts, PortProtocol, RequestFacts, TokenFacts } from "./facts.ts";
export type { Because, LocalReply, OutgoingHead, Remark, RequestNeed, RequestPlan, ResponseFlag } from "./plan/request-plan.ts";
export type {
  AttemptOutcome, BodyPeek, FinalPlan, ForwardPlan, HttpOptions, HttpSession, RequestRecord, Served, UpstreamChoice, UpstreamEndpoint, UpstreamGoal, UpstreamsOptions,
} from "./http/options.ts";
export { serveHttp } from "./http/serve.ts";
export { createHttpUpstreams } from "./http/upstream/http-upstreams.ts";
export type { HttpUpstreams } from "./http/upstream/upstreams.ts";
export { planRequest } from "./plan/request.ts";
export { choosePortProtocol, planTcp, type TcpPlan } from "./plan/tcp.ts";
export { HBONE_PORT, planUpstream, planWorkload, type NextHop, type UpstreamHints, type UpstreamPlan } from "./plan/upstream.ts";
export { HashTables } from "./plan/balance/hash.ts";
export type { Session, SessionSeal } from "./plan/session.ts";
export { findTokens, tokenRulesFor, type TokenCandidate, type TokenRules } from "./plan/tokens.ts";
export { satisfyNeed } from "./auth/needs.ts";
export { ANSWER_MAX_BYTES, type CheckAnswer, type CheckMessage, type CheckPorts } from "./auth/external-check.ts";
export { KeySets } from "./auth/key-set.ts";
export { createSessionSeal } from "./auth/session-seal.ts";
export { isRetryable, mayRetry, retryDelayMs } from "./plan/retry.ts";
export { judgeOutcome, OutlierDetector, type Judgement } from "./resilience/outlier.ts";
