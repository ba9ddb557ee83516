// Public names of @ambit/xds/testing: the machines of both ends, without a transport, for simulations. Only for tests.
export { DeltaClient } from "../protocol/delta-client.ts";
export { ServerSubscription } from "../protocol/delta-server.ts";
export { ADDRESS_TYPE, AUTHORIZATION_TYPE, type DeltaRequest, type DeltaResponse } from "../protocol/messages.ts";
export { proxyNode } from "../protocol/node.ts";
export { planReconnect } from "../protocol/reconnect.ts";
export { ResourceTable } from "../server/source.ts";
export { createXdsServer, type XdsServer } from "../server/server.ts";
import { decodeResponse } from "../wire/decode.ts";
import type { DeltaResponse } from "../protocol/messages.ts";

export const decodeDeltaResponse = (bytes: Uint8Array): DeltaResponse => decodeResponse(bytes).response;
