// Public names of @ambit/xds.
export { ADDRESS_TYPE, AUTHORIZATION_TYPE, WAYPOINT_TYPE } from "./protocol/messages.ts";
export { proxyNode, type NodeFacts } from "./protocol/node.ts";
export type { SubscriptionStatus } from "./protocol/delta-server.ts";
export type { ClientType } from "./protocol/delta-client.ts";
export { createXdsServer, type Authenticated, type XdsBounds, type XdsServer, type XdsServerOptions } from "./server/server.ts";
export type { ResourceSource, ServedResource } from "./server/source.ts";
export type { ClientStatus } from "./server/stream.ts";
export { createControlPlane, type ControlPlane, type ControlPlaneOptions } from "./client/control-plane.ts";
export { ANSWER_TIMEOUT_MS, createXdsClient, type Delivery, type Handler, type LookupAnswer, type Upsert, type XdsClient, type XdsClientOptions } from "./client/xds-client.ts";
