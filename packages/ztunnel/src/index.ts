// Public names of @ambit/ztunnel: what its own process and tests need. Other binaries do not import it.
export { build, type BoundZtunnel, type Ports } from "./app.ts";
export { readConfig, type Config } from "./config.ts";
export { explainConnection, type Explanation, type Question } from "./plan/explain.ts";
export { ProxyState, prepareAddresses, preparePolicies } from "@ambit/proxy/state";
