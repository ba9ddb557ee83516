// Public pure parts of ztunnel, for `ambit why` (ADR 0018): wire resources in, the decision in words out, no I/O.
export { explainConnection, type Explanation, type Question } from "./plan/explain.ts";
export { prepareAddresses, preparePolicies } from "./state/prepare.ts";
export { ProxyState } from "./state/proxy-state.ts";
export type { StateView } from "./state/view.ts";
