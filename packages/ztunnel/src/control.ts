// Owns what comes from the control plane: pushes become state, state becomes wishes for certificates.
import { formatIdentity, type Identity, type Problem } from "@ambit/core";
import { nextTurn, type Clock, type Logger, type Random } from "@ambit/runtime";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, createXdsClient, proxyNode, type ControlPlane, type Delivery, type XdsClient } from "@ambit/xds";
import type { Config } from "./config.ts";
import { prepareAddresses, preparePolicies, type Change, type ProxyState } from "@ambit/proxy/state";
import type { TrafficMetrics } from "./telemetry/traffic-metrics.ts";

export interface ControlOptions {
  readonly config: Config;
  readonly plane: ControlPlane;
  readonly state: ProxyState;
  readonly metrics: TrafficMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
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
      return applyPush(o, typeUrl, delivery);
    },
    onDisconnected: ({ code }) => metrics.xdsTerminations.with({ reason: terminationReason(code) }).inc(),
    clock: o.clock, random: o.random, log: o.log,
  });
}

/** Resources decoded before the time is looked at: some tenths of a millisecond. */
const DECODE_AT_ONCE = 64;
/** Connections wait at most about so long for a push that is decoded between them. */
const DECODE_SLICE_MS = 5;

/** Prepared outside, in slices when it is large, and applied in one step; what is refused is the NACK. */
function applyPush(o: Pick<ControlOptions, "state" | "clock">, typeUrl: string, delivery: Delivery): readonly Problem[] | Promise<readonly Problem[]> {
  const prepare = typeUrl === ADDRESS_TYPE ? prepareAddresses : preparePolicies;
  const apply = (changes: readonly Change[], rejects: readonly Problem[]): readonly Problem[] => {
    o.state.apply({ changes });
    return rejects;
  };
  if (delivery.upserts.length > DECODE_AT_ONCE) return prepareInSlices(o.clock, prepare, delivery).then(({ batch, rejects }) => apply(batch.changes, rejects));
  const { batch, rejects } = prepare(delivery);
  return apply(batch.changes, rejects);
}

async function prepareInSlices(clock: Clock, prepare: typeof prepareAddresses, delivery: Delivery): Promise<ReturnType<typeof prepareAddresses>> {
  const changes: Change[] = [...prepare({ upserts: [], removed: delivery.removed }).batch.changes];
  const rejects: Problem[] = [];
  let began = clock.monotonic();
  for (let at = 0; at < delivery.upserts.length; at += DECODE_AT_ONCE) {
    const part = prepare({ upserts: delivery.upserts.slice(at, at + DECODE_AT_ONCE), removed: [] });
    changes.push(...part.batch.changes);
    rejects.push(...part.rejects);
    if (clock.monotonic() - began < DECODE_SLICE_MS) continue;
    await nextTurn();
    began = clock.monotonic();
  }
  return { batch: { changes }, rejects };
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
