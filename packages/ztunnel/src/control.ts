// Owns what comes from the control plane: pushes become state, state becomes wishes for certificates.
import { formatIdentity, type Identity } from "@ambit/core";
import type { Clock, Logger, LoopWatch, Random } from "@ambit/runtime";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, createXdsClient, proxyNode, type ControlPlane, type Delivery, type XdsClient } from "@ambit/xds";
import type { Config } from "./config.ts";
import type { ProxyState } from "@ambit/proxy/state";
import { applyPush } from "./push-queue.ts";
import type { TrafficMetrics } from "./telemetry/traffic-metrics.ts";

export interface ControlOptions {
  readonly config: Config;
  readonly plane: ControlPlane;
  readonly state: ProxyState;
  readonly metrics: TrafficMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly loop?: LoopWatch;
  readonly log: Logger;
  /** Whoever else keeps a state hears of every push. */
  readonly onPush?: ((typeUrl: string, delivery: Delivery) => void) | undefined;
}

export function followControlPlane(o: ControlOptions): XdsClient {
  const { config, metrics } = o;
  return createXdsClient({
    connect: o.plane,
    node: proxyNode({ role: "ztunnel", ip: config.instanceIp, podName: config.podName, podNamespace: config.podNamespace, nodeName: config.nodeName, extra: config.nodeMetadata }),
    types: [{ typeUrl: ADDRESS_TYPE, onDemand: config.onDemand }, { typeUrl: AUTHORIZATION_TYPE, onDemand: false }],
    handler: (typeUrl, delivery) => {
      metrics.xdsMessages.with({ url: typeUrl }).inc();
      metrics.xdsBytes.with({ url: typeUrl }).inc(delivery.upserts.reduce((sum, u) => sum + u.bytes.length, 0));
      const problems = applyPush(o, typeUrl, delivery);
      o.onPush?.(typeUrl, delivery);
      return problems;
    },
    onDisconnected: ({ code }) => metrics.xdsTerminations.with({ reason: terminationReason(code) }).inc(),
    clock: o.clock, random: o.random, log: o.log,
  });
}

const GRPC_OK = 0;
const GRPC_UNAVAILABLE = 14;
const terminationReason = (code: number): string => (code === GRPC_OK ? "Complete" : code === GRPC_UNAVAILABLE ? "ConnectionError" : "Error");

/** The part of a certificate store that follows the state. */
export interface IdentityWishes { prefetch(identity: Identity): void; forget(identity: Identity): void }

/** Local HBONE workloads get their certificate before the first connection; the last one of an identity takes it away. */
export function followIdentities(state: ProxyState, wishes: IdentityWishes): () => void {
  const wanted = new Map<string, Identity>();
  return state.onApplied((applied) => {
    if (applied.workloads.size === 0) return;
    const now = new Map(state.localIdentities().map((id) => [formatIdentity(id), id]));
    for (const [uri, id] of now) if (!wanted.has(uri)) { wanted.set(uri, id); wishes.prefetch(id); }
    for (const [uri, id] of wanted) if (!now.has(uri) && !state.hasLocalIdentity(id)) { wanted.delete(uri); wishes.forget(id); }
  });
}
