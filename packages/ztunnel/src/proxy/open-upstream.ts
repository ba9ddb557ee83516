// Owns what a plan means on the wire: a plain socket, a stream in a pooled tunnel, or a tunnel of our own inside such a stream.
import type { Identity, SocketAddress } from "@ambit/core";
import { formatAuthority, formatForwarded, openLoneTunnel, parseBaggage, type OpenRequest } from "@ambit/hbone";
import { toDuplex, type ByteStream } from "@ambit/transport";
import type { OutboundPlan } from "../plan/outbound.ts";
import { baggageText } from "../telemetry/baggage-of.ts";
import type { ConnectionRecord } from "../telemetry/connection-record.ts";
import { connectTrusted } from "./connect-trusted.ts";
import { h2Limits, type PodContext } from "./pod-context.ts";
import type { StopSignal } from "@ambit/runtime";

export type Forwarding = Exclude<OutboundPlan, { kind: "deny" | "need" }>;
type Tunnelled = Exclude<Forwarding, { kind: "passthrough" }>;
type Crossing = Extract<Forwarding, { kind: "double-tunnel" }>;

export interface OpenOptions {
  readonly client: SocketAddress;
  readonly traceparent: string;
  readonly signal: StopSignal;
  /** Learns who is at the far end, where the plan could not know. */
  readonly record: ConnectionRecord;
}

/** Rejects with MeshError or the signal's reason; nothing stays open then. */
export async function openUpstream(pod: PodContext, plan: Forwarding, o: OpenOptions): Promise<ByteStream> {
  if (plan.kind === "passthrough") return pod.share.stream(await pod.dial({ to: plan.nextHop, signal: o.signal }));
  const request = requestOf(plan, o);
  const key = { source: plan.source.identity, expected: plan.kind === "tunnel" ? plan.expect : plan.outer, nextHop: plan.nextHop, sourceIp: o.client.ip };
  const { stream } = await pod.pool.open(key, request, o.signal);
  return plan.kind === "tunnel" ? stream : openInner(pod, plan, stream, request, o);
}

function requestOf(plan: Tunnelled, o: OpenOptions): OpenRequest {
  return {
    authority: formatAuthority(plan.target),
    headers: {
      baggage: baggageText(plan.source),
      forwarded: formatForwarded({ for: o.client, ...(plan.service === undefined ? {} : { host: plan.service.hostname }) }),
      traceparent: o.traceparent,
    },
  };
}

/** The stream ends at a network gateway, which passes octets on: the inner tunnel proves who is beyond it. */
async function openInner(pod: PodContext, plan: Crossing, outer: ByteStream, request: OpenRequest, o: OpenOptions): Promise<ByteStream> {
  const { clock, signal } = { clock: pod.clock, signal: o.signal };
  const inside = toDuplex(outer);
  try {
    const { identity } = plan.source;
    let beyond: Identity | undefined;
    const stream = await connectTrusted(pod, inside, { local: identity, expected: plan.inner, material: await pod.contexts.material(identity), signal, onPeer: (id) => { beyond = id; } });
    const opened = await openLoneTunnel(stream, { ...request, headers: { ...request.headers, "x-forwarded-network": pod.config.network } }, { clock, limits: h2Limits(pod.config) }, signal);
    const claims = parseBaggage(opened.responseHeaders.get("baggage") ?? "");
    o.record.learn({ destinationIdentity: beyond, destinationClaims: claims.ok ? claims.value : {} });
    return opened.stream;
  } catch (error) {
    inside.destroy();
    throw error;
  }
}
