// Owns a connection that a pod opened: facts, plan, upstream, bytes.
import type { Socket } from "node:net";
import { formatSocketAddress, type SocketAddress } from "@ambit/core";
import { formatAuthority, formatBaggage, formatForwarded, formatTraceparent, newTraceparent } from "@ambit/hbone";
import { fromSocket, KEEPALIVE_IDLE_MS, type ByteStream } from "@ambit/transport";
import type { OutboundFacts } from "../facts.ts";
import type { DenyPlan } from "../plan/need.ts";
import { planOutbound, type OutboundPlan } from "../plan/outbound.ts";
import { ConnectionRecord, earlyDenial } from "../telemetry/connection-record.ts";
import { baggageOf } from "../telemetry/baggage-of.ts";
import { endsOf } from "../pod/pod-proxy.ts";
import { forward, recordEnding } from "./forward.ts";
import { refuse, type PodContext } from "./pod-context.ts";

type Forwarding = Exclude<OutboundPlan, { kind: "deny" | "need" }>;

export async function serveOutbound(pod: PodContext, socket: Socket): Promise<void> {
  using arriving = pod.arrivals.hold("outbound");
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
  const tunnel = plan.kind === "tunnel" ? plan : undefined;
  const trace = newTraceparent();
  using record = new ConnectionRecord(pod.telemetry, {
    reporter: "source", src: facts.source, dst: plan.nextHop, hboneAddr: tunnel && formatAuthority(tunnel.target), traceId: trace.traceId,
    source: plan.source, sourceIdentity: plan.source.identity, destination: plan.destination, destinationIdentity: tunnel?.expect[0],
    service: plan.service, mutualTls: tunnel !== undefined,
  });
  using live = pod.connections.track({
    pod: pod.uid, direction: "outbound", src: facts.source, originalDst: formatSocketAddress(original), actualDst: plan.nextHop, protocol: tunnel ? "HBONE" : "TCP",
  });
  let upstream: ByteStream;
  try {
    upstream = await open(pod, plan, facts.source, formatTraceparent(trace), live.ended);
  } catch (error) {
    recordEnding(record, error);
    return refuse(socket);
  }
  arriving[Symbol.dispose]();
  await forward({ downstream: fromSocket(socket, { keepAliveMs: KEEPALIVE_IDLE_MS }), upstream, live, record, clock: pod.clock, permit: "outbound" });
}

async function open(pod: PodContext, plan: Forwarding, client: SocketAddress, traceparent: string, signal: AbortSignal): Promise<ByteStream> {
  if (plan.kind === "passthrough") return fromSocket(await pod.dial({ to: plan.nextHop, signal }));
  const key = { source: plan.source.identity, expected: plan.expect, nextHop: plan.nextHop, sourceIp: client.ip };
  const headers = {
    baggage: formatBaggage(baggageOf(plan.source)),
    forwarded: formatForwarded({ for: client, ...(plan.service === undefined ? {} : { host: plan.service.hostname }) }),
    traceparent,
  };
  const { stream } = await pod.pool.open(key, { authority: formatAuthority(plan.target), headers }, signal);
  return stream;
}

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
