// Public pure parts of ztunnel, for `ambit why` (ADR 0018): wire resources in, the decision in words out, no I/O.
export { explainConnection, type Explanation, type Question } from "./plan/explain.ts";
export { planAnswer } from "./dns/plan/answer.ts";
export { prepareAddresses, preparePolicies, ProxyState, type StateView } from "@ambit/proxy/state";
