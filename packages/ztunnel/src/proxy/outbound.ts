// Owns a connection that a pod opened: facts, plan, upstream, bytes.
import type { Socket } from "node:net";
import { formatSocketAddress, type Identity, type SocketAddress } from "@ambit/core";
import { formatAuthority, formatTraceparent, newTraceparent } from "@ambit/hbone";
import { fromSocket, KEEPALIVE_IDLE_MS, type ByteStream } from "@ambit/transport";
import type { OutboundFacts } from "../facts.ts";
import type { DenyPlan } from "../plan/need.ts";
import { planOutbound, type OutboundPlan } from "../plan/outbound.ts";
import { openUpstream, type Forwarding } from "./open-upstream.ts";
import { ConnectionRecord, earlyDenial } from "../telemetry/connection-record.ts";
import { endsOf } from "../pod/pod-proxy.ts";
import { forward, recordEnding } from "./forward.ts";
import { refuse, type PodContext } from "./pod-context.ts";

export async function serveOutbound(pod: PodContext, socket: Socket): Promise<void> {
  using arriving = pod.arrivals.hold("outbound");
  using _counted = pod.telemetry.metrics.socket("source");
  // Facts. A failure here has too little context for more than a short line.
  const ends = endsOf(socket);
  const original = pod.kernel.originalDestination(socket);
  if (ends === undefined || original === undefined) {
    earlyDenial(pod.telemetry.access, socket.remoteAddress ?? "?", "?", "outbound", { code: "unknown-source", error: "the client left before its destination was known" });
    return void socket.destroy();
  }
  const facts: Omit<OutboundFacts, "gathered"> = { pod: pod.info, source: ends.peer, listener: ends.local, original, network: pod.config.network };

  // Plan. Nothing was dialled yet.
  const plan = await pod.needs.decide<OutboundPlan>(pod.info, (gathered) => planOutbound(pod.state.view(), { ...facts, gathered }, pod.random));
  if (pod.log.enabled("trace")) pod.log.trace("outbound plan", { kind: plan.kind, because: plan.because });
  if (plan.kind === "deny") return deny(pod, socket, facts.source, original, plan);

  // Upstream, then bytes. From here on there is one full access line.
  const target = plan.kind === "passthrough" ? undefined : formatAuthority(plan.target);
  const trace = newTraceparent();
  using record = new ConnectionRecord(pod.telemetry, {
    reporter: "source", src: facts.source, dst: plan.nextHop, hboneAddr: target, traceId: trace.traceId,
    source: plan.source, sourceIdentity: plan.source.identity, destination: plan.destination, destinationIdentity: nextHopIdentity(plan),
    service: plan.service, mutualTls: target !== undefined,
  });
  using live = pod.connections.track({
    pod: pod.uid, direction: "outbound", src: facts.source, originalDst: formatSocketAddress(original), actualDst: plan.nextHop, protocol: PROTOCOL[plan.kind],
  });
  let upstream: ByteStream;
  try {
    upstream = await openUpstream(pod, plan, { client: facts.source, traceparent: formatTraceparent(trace), signal: live.ended, record });
  } catch (error) {
    recordEnding(record, error);
    return refuse(socket);
  }
  arriving[Symbol.dispose]();
  await forward({ downstream: fromSocket(socket, { keepAliveMs: KEEPALIVE_IDLE_MS }), upstream, live, record, clock: pod.clock, permit: "outbound" });
}

const PROTOCOL = { passthrough: "TCP", tunnel: "HBONE", "double-tunnel": "DOUBLEHBONE" } as const;
const nextHopIdentity = (plan: Forwarding): Identity | undefined => (plan.kind === "passthrough" ? undefined : plan.kind === "tunnel" ? plan.expect[0] : plan.outer[0]);

function deny(pod: PodContext, socket: Socket, src: SocketAddress, dst: SocketAddress, plan: DenyPlan): void {
  refuse(socket);
  const source = pod.state.view().workloadOfPod(pod.info);
  if (source === undefined)
    return earlyDenial(pod.telemetry.access, formatSocketAddress(src), formatSocketAddress(dst), "outbound", { code: plan.code, error: plan.message });
  using record = new ConnectionRecord(pod.telemetry, {
    reporter: "source", src, dst, hboneAddr: undefined, traceId: undefined, source, sourceIdentity: source.identity,
    destination: undefined, destinationIdentity: undefined, service: pod.state.view().serviceAt(pod.config.network, dst.ip, source.namespace), mutualTls: false,
  });
  record.finish({ code: plan.code, error: plan.message });
}
