// Public names of @ambit/hbone: tunnels, their pool, the headers they carry, and copying.
export { formatAuthority, parseAuthority, type Authority } from "./authority.ts";
export { formatBaggage, parseBaggage, type Baggage, type BaggageWorkloadType } from "./baggage.ts";
export { copyBidirectional, type CopyOptions, type CopyResult } from "./copy.ts";
export { formatForwarded, parseForwarded, type Forwarded } from "./forwarded.ts";
export { openLoneTunnel, type LoneTunnelOptions } from "./lone-tunnel.ts";
export type { PeerInfo } from "./peer-info.ts";
export { formatRefusal, parseRefusal, REFUSAL_HEADER, type Refusal } from "./refusal.ts";
export { formatTraceparent, newTraceparent, parseTraceparent, type Traceparent } from "./traceparent.ts";
export { TunnelClient, TunnelRefused, type OpenedTunnel, type OpenRequest } from "./tunnel-client.ts";
export { createPool, STREAMS_MAX, type Pool, type PoolKey, type PoolOptions, type TunnelState } from "./tunnel-pool.ts";
export { serveTunnels, type TunnelRequest, type TunnelServerOptions, type TunnelSession } from "./tunnel-server.ts";
