// Owns a connection that a pod opened: facts, plan, upstream, bytes.
import { formatSocketAddress, MeshError, type Identity, type SocketAddress, type WorkloadUid } from "@ambit/core";
import { formatAuthority, formatTraceparent, newTraceparent, TunnelRefused } from "@ambit/hbone";
import type { ByteStream, TcpConnection } from "@ambit/transport";
import type { OutboundFacts } from "../facts.ts";
import type { DenyPlan } from "../plan/need.ts";
import { planOutbound, type OutboundPlan } from "../plan/outbound.ts";
import { openUpstream, type Forwarding } from "./open-upstream.ts";
import { mayTryAnother } from "../plan/retry.ts";
import { ConnectionRecord, earlyDenial, type RecordFacts } from "../telemetry/connection-record.ts";
import { endsOf, originalDestination } from "../pod/pod-proxy.ts";
import type { Live } from "./connections.ts";
import { forward, recordEnding, type Opened } from "./forward.ts";
import { refuse, type PodContext } from "./pod-context.ts";

export async function serveOutbound(pod: PodContext, client: TcpConnection): Promise<void> {
  using _counted = pod.telemetry.metrics.socket("source");
  // Two functions: what it took to open the upstream is not kept while bytes flow.
  const opened = await open(pod, client);
  if (opened !== undefined) await forward(opened);
}

/** undefined: refused, and said so. */
async function open(pod: PodContext, client: TcpConnection): Promise<Opened | undefined> {
  using _arriving = pod.arrivals.hold("outbound");
  // Facts. A failure here has too little context for more than a short line.
  const ends = endsOf(client);
  const original = originalDestination(pod.kernel, client);
  if (ends === undefined || original === undefined) {
    earlyDenial(pod.telemetry.access, "?", "?", "outbound", { code: "unknown-source", error: "the client left before its destination was known" });
    client.destroy();
    return undefined;
  }
  const facts: Omit<OutboundFacts, "gathered"> = { pod: pod.info, source: ends.peer, listener: ends.local, original, network: pod.config.network };

  // Plan. Nothing was dialled yet.
  const first = await decide(pod, facts, NONE_FAILED);
  if (first.kind === "deny") {
    deny(pod, client, facts.source, original, first);
    return undefined;
  }

  // Upstream, then bytes. From here on there is one full access line.
  const trace = newTraceparent();
  const record = new ConnectionRecord(pod.telemetry, {
    reporter: "source", src: facts.source, traceId: trace.traceId, source: first.source, sourceIdentity: first.source.identity, ...facingOf(first),
  });
  const live = pod.connections.track({
    pod: pod.uid, direction: "outbound", src: facts.source, originalDst: formatSocketAddress(original), actualDst: first.nextHop, protocol: PROTOCOL[first.kind],
  });
  let upstream: ByteStream | undefined;
  try {
    upstream = await openOneOf(pod, { facts, first, record, live, traceparent: formatTraceparent(trace) });
  } finally {
    if (upstream === undefined) {
      live[Symbol.dispose]();
      record[Symbol.dispose]();
    }
  }
  if (upstream === undefined) {
    refuse(client);
    return undefined;
  }
  return { downstream: pod.share.stream(client), upstream, live, record, clock: pod.clock, permit: "outbound" };
}

const NONE_FAILED: ReadonlySet<WorkloadUid> = new Set();

async function decide(pod: PodContext, facts: Omit<OutboundFacts, "gathered">, failed: ReadonlySet<WorkloadUid>): Promise<Forwarding | DenyPlan> {
  const lately = pod.affinity.of(facts.source.ip);
  const plan = await pod.needs.decide<OutboundPlan>(pod.info, (gathered) => planOutbound(pod.state.view(), { ...facts, gathered: { ...gathered, lately, failed } }, pod.random));
  if (pod.log.enabled("trace")) pod.log.trace("outbound plan", { kind: plan.kind, because: plan.because });
  return plan;
}

interface Opening {
  readonly facts: Omit<OutboundFacts, "gathered">;
  readonly first: Forwarding;
  readonly record: ConnectionRecord;
  readonly live: Live;
  readonly traceparent: string;
}

/** The planned upstream, or another endpoint's while that is worth a try; undefined: the record says why not. */
async function openOneOf(pod: PodContext, o: Opening): Promise<ByteStream | undefined> {
  const began = pod.clock.monotonic();
  let plan = o.first;
  let failed: Set<WorkloadUid> | undefined;
  for (let tries = 1; ; tries++) {
    try {
      const upstream = await openUpstream(pod, plan, { client: o.facts.source, traceparent: o.traceparent, signal: o.live.ended, record: o.record });
      if (plan.keep !== undefined) pod.affinity.keep(o.facts.source.ip, plan.keep.service, plan.keep.workload, plan.keep.idleMs);
      if (tries > 1) o.record.note({ tries });
      return upstream;
    } catch (error) {
      const next = await another(pod, o, plan, { failed: (failed ??= new Set()), error, tries, elapsedMs: pod.clock.monotonic() - began });
      if (next === undefined) {
        recordEnding(o.record, error);
        return undefined;
      }
      plan = next;
      o.record.learn(facingOf(plan));
      o.live.retarget(plan.nextHop, PROTOCOL[plan.kind]);
    }
  }
}

/** A plan that leads elsewhere, if there is one. */
async function another(pod: PodContext, o: Opening, plan: Forwarding, t: { readonly failed: Set<WorkloadUid>; readonly error: unknown; readonly tries: number; readonly elapsedMs: number }): Promise<Forwarding | undefined> {
  const { failed, error, tries, elapsedMs } = t;
  const failedUid = plan.destination?.uid;
  if (o.live.ended.aborted || failedUid === undefined || plan.service === undefined || !(error instanceof MeshError)) return undefined;
  if (!mayTryAnother({ code: error.code, status: error instanceof TunnelRefused ? error.status : undefined, tries, elapsedMs })) return undefined;
  failed.add(failedUid);
  const next = await decide(pod, o.facts, failed);
  if (next.kind === "deny" || next.destination === undefined || failed.has(next.destination.uid)) return undefined;
  pod.log.debug("another endpoint is tried", { failed: failedUid, next: next.destination.uid, error: error.message });
  return next;
}

/** What the record says of the side that is dialled. */
function facingOf(plan: Forwarding): Pick<RecordFacts, "dst" | "hboneAddr" | "destination" | "destinationIdentity" | "service" | "mutualTls"> {
  const target = plan.kind === "passthrough" ? undefined : formatAuthority(plan.target);
  return { dst: plan.nextHop, hboneAddr: target, destination: plan.destination, destinationIdentity: nextHopIdentity(plan), service: plan.service, mutualTls: target !== undefined };
}

const PROTOCOL = { passthrough: "TCP", tunnel: "HBONE", "double-tunnel": "DOUBLEHBONE" } as const;
const nextHopIdentity = (plan: Forwarding): Identity | undefined => (plan.kind === "passthrough" ? undefined : plan.kind === "tunnel" ? plan.expect[0] : plan.outer[0]);

function deny(pod: PodContext, client: TcpConnection, src: SocketAddress, dst: SocketAddress, plan: DenyPlan): void {
  refuse(client);
  const source = pod.state.view().workloadOfPod(pod.info);
  if (source === undefined)
    return earlyDenial(pod.telemetry.access, formatSocketAddress(src), formatSocketAddress(dst), "outbound", { code: plan.code, error: plan.message });
  using record = new ConnectionRecord(pod.telemetry, {
    reporter: "source", src, dst, hboneAddr: undefined, traceId: undefined, source, sourceIdentity: source.identity,
    destination: undefined, destinationIdentity: undefined, service: pod.state.view().serviceAt(pod.config.network, dst.ip, source.namespace), mutualTls: false,
  });
  record.finish({ code: plan.code, error: plan.message });
}
