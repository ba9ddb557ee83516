// Public names of @ambit/proxy/state: what a proxy knows of the mesh. No I/O.
export { Problems } from "./decode.ts";
export { keyOf } from "./key.ts";
export { prepareAddresses, preparePolicies, type Batch, type Change, type RejectedPolicy } from "./prepare.ts";
export { ProxyState, type Applied } from "./proxy-state.ts";
export type { JoinedEndpoint, PodInfo, StateView } from "./view.ts";
