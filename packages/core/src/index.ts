// Public names of @ambit/core.
export { assertNever, describeProblems, err, invariant, ok, problem, type Problem, type Result } from "./result.ts";
export { familyOf, ipBytes, ipFromBytes, isLoopback, LOOPBACK_V4, parseIp, UNSPECIFIED_V4, type Family, type Ip } from "./net/ip.ts";
export { cidrContains, cidrFromBytes, formatCidr, parseCidr, type Cidr } from "./net/cidr.ts";
export { proxyProtocolHeader } from "./net/proxy-protocol.ts";
export { formatSocketAddress, networkAddressKey, parseSocketAddress, type NetworkAddress, type SocketAddress } from "./net/socket-address.ts";
export { formatIdentity, parseIdentity, principalOf, sameIdentity, type Identity } from "./identity/spiffe.ts";
export { serviceKey, type Endpoint, type GatewayAddress, type LoadBalancing, type Locality, type PolicyKey, type PortMap, type Service, type ServiceKey, type ServicePort, type Vip, type Workload, type WorkloadUid } from "./workload/workload.ts";
export { EMPTY_MATCH, policyKey, type Clause, type Match, type Policy, type Rule, type ServiceAccountMatch, type StringMatch } from "./policy/policy.ts";
export { authorize, type AuthzFacts, type Denial, type DryRunResult, type MissingPolicy, type PolicySet, type Verdict } from "./policy/authorize.ts";
export { decisivePolicy, denialText, explainVerdict } from "./policy/explain.ts";
export { eligible, targetPort, type Candidate, type ResolutionMode } from "./balance/eligible.ts";
export { nearest } from "./balance/rank-locality.ts";
export { pickWeighted } from "./balance/pick.ts";
export { pickForClient } from "./balance/rendezvous.ts";
export { FAULT_CODES, faultRow, type FaultCode, type Flag } from "./fault/codes.ts";
export { MeshError } from "./fault/mesh-error.ts";
export type { GrpcMethodMatch, HeaderMatch, PathMatch, QueryMatch, RequestMatch, TextMatch } from "./route/match.ts";
export type {
  Backend, Cors, Fault, Filters, Fraction, HeaderChange, HttpRoute, Mirror, PathRewrite, PortRoutes, Redirect, RetryCondition, RetryPolicy, Rewrite,
  RouteAction, RouteOrigin, ServiceRoutes, SessionPersistence, TcpRoute, Timeouts, WeightedBackend,
} from "./route/route.ts";
export type { Balancer, ConnectionPool, HashKey, LocalityBalancing, OutlierDetection, RetryBudget, Subset, TrafficPolicy, TrafficSettings, UpstreamTls } from "./route/traffic-policy.ts";
export { CHECKED_BODY_MAX_OCTETS, type AuthorizationProvider } from "./route/authorization-provider.ts";
export type { PathNormalization, TelemetrySettings, TracingProvider, WaypointConfig } from "./route/waypoint-config.ts";
export { decodeWaypointConfig, encodeWaypointConfig } from "./route/waypoint-wire.ts";
export type {
  ConditionKey, Either, JwtRule, PathPattern, PolicyCondition, PolicyOperation, PolicySource, PolicyTarget, RequestAuthentication, RequestPolicy, RequestRule,
} from "./policy/request-policy.ts";
export { changeFields, authorityOf, fieldLines, fieldValue, withField, withoutFields } from "./route/fields.ts";
export { RouteTable } from "./route/route-table.ts";
export { matchRequest, matchSource, failingDemand, textMatches, describeText, firstParameter, cookieValue, claimTexts, decodeForm, type MatchFacts } from "./route/match-request.ts";
export { compareGrpcRoutes, compareHttpRoutes, compareOrigins, compareTcpRoutes } from "./route/precedence.ts";
export { locationOf, rewritePath, type RedirectFacts } from "./route/rewrite.ts";
export { originAllowed, preflightFields, preflightOf, withCors, type Preflight } from "./route/cors.ts";
export { normalizeTarget, targetOf, type RequestTarget } from "./route/normalize-path.ts";
export { chooseBackend, drawShare } from "./route/share.ts";
export { bareHost, compareHostnames, hostnameMatches, splitAuthority } from "./route/hostname.ts";
export { grpcStatusOf, httpStatusOf } from "./route/grpc-status.ts";
export { checkSubstitution, compileRegex, type Regex } from "./route/regex/regex.ts";
export { authorizeRequest, type HttpAuthzFacts, type RequestAuthzFacts, type RequestCheck, type RequestDecider, type RequestDenial, type RequestField, type RequestRemark, type RequestVerdict, type TokenIdentity } from "./policy/authorize-request.ts";
export { checkTemplate } from "./policy/match-values.ts";
export { DEFAULT_TRAFFIC, trafficSettings } from "./route/traffic-defaults.ts";
export { sameScope, type Place } from "./balance/rank-locality.ts";
export { explainRequestVerdict } from "./policy/explain-request.ts";
export { ATTRIBUTES, compilePredicate, compileText, expressionProblem, type Attribute, type Attributes, type Predicate, type TextOf } from "./telemetry/expression.ts";
export { compileTime } from "./telemetry/time-format.ts";
export { compileFormat, formatProblem, OPERATORS, type LineFormat, type LineOutput, type Memory, type Operators, type OperatorValue, type Remembered, type Variety } from "./telemetry/access-format.ts";
