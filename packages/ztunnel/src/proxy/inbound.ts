// Owns tunnels that peers open to a pod: the handshake with the pod's identity, then each CONNECT in named phases.
import { decisivePolicy, faultRow, formatIdentity, formatSocketAddress, MeshError, proxyProtocolHeader, type FaultCode } from "@ambit/core";
import {
  formatRefusal, parseBaggage, parseForwarded, parseTraceparent, REFUSAL_HEADER, serveTunnels, type PeerInfo, type Refusal, type TunnelRequest,
} from "@ambit/hbone";
import { errorText, Stop } from "@ambit/runtime";
import { acceptTls, type ByteStream, type TcpConnection } from "@ambit/transport";
import { peerWorkload, planInbound, type ForwardPlan, type InboundPlan } from "../plan/inbound.ts";
import { endsOf } from "../pod/pod-proxy.ts";
import { baggageText } from "../telemetry/baggage-of.ts";
import { ConnectionRecord, earlyDenial, failureText, type RecordFacts } from "../telemetry/connection-record.ts";
import { describeDenial, describeDryRun } from "./connections.ts";
import { dialApplication } from "./dial-application.ts";
import { forward, recordEnding, type Opened } from "./forward.ts";
import { ownWorkload } from "./needs.ts";
import { fingerprintOf, h2Limits, refuse, type Ends, type PodContext, type VerifiedPeer } from "./pod-context.ts";
import { verifyTrustDomain } from "@ambit/proxy/identity";
import { admitWhenKnown } from "./policy-watch.ts";
import { reportTrials } from "./trials.ts";

/** Handshakes under way in one pod: anybody may start one, and each costs a key exchange and up to ten seconds. */
export const HANDSHAKES_MAX = 1024;

/** One TCP connection to 15008. */
export async function serveTunnel(pod: PodContext, connection: TcpConnection): Promise<void> {
  const ends = endsOf(connection);
  if (ends === undefined) return connection.destroy();
  if (pod.handshakes.size >= HANDSHAKES_MAX) {
    refuse(connection);
    return earlyDenial(pod.telemetry.access, formatSocketAddress(ends.peer), formatSocketAddress(ends.local), "inbound", { code: "overloaded", error: `${HANDSHAKES_MAX} TLS handshakes are under way already` });
  }
  using arriving = pod.arrivals.hold("tunnel");
  using _counted = pod.telemetry.metrics.socket("destination");
  const socket = connection.toSocket();
  socket.on("error", () => undefined); // the handshake hears of it too
  pod.handshakes.add(socket);
  let accepted: Awaited<ReturnType<typeof acceptTls<VerifiedPeer>>>;
  try {
    accepted = await handshake(pod, socket);
  } catch (error) {
    if (!socket.destroyed) socket.resetAndDestroy();
    const code: FaultCode = error instanceof MeshError ? error.code : "tls-handshake";
    return earlyDenial(pod.telemetry.access, formatSocketAddress(ends.peer), formatSocketAddress(ends.local), "inbound", { code, error: failureText(error) });
  } finally {
    pod.handshakes.delete(socket);
  }
  const { identity, local, fingerprint } = accepted.peer;
  pod.wires.add(socket, { pod: pod.uid, direction: "inbound", peer: ends.peer })({ ...accepted.negotiated, local, peer: identity });
  const peer: PeerInfo = { identity, certificateFingerprint: fingerprint, remote: ends.peer, local: ends.local };
  const session = serveTunnels(pod.share.stream(accepted.stream), peer, {
    clock: pod.clock, limits: h2Limits(pod.config),
    onBadRequest: (why) => earlyDenial(pod.telemetry.access, formatSocketAddress(ends.peer), formatSocketAddress(ends.local), "inbound", { code: "bad-authority", error: why }),
  }, (request) => {
    const begun = pod.share.begin(() => {
      serveConnect(pod, request, ends).catch((error: unknown) => {
        pod.log.error("defect: a tunnel stream failed in an unforeseen way", { pod: pod.uid, error: errorText(error) });
        request.refuse(500);
      });
    });
    if (!begun) refuseWith(request, "overloaded");
  });
  pod.sessions.add(session);
  using _watched = accepted.peer.watch((reason) => session.destroy(reason));
  arriving[Symbol.dispose]();
  await session.closed;
  pod.sessions.delete(session);
}

async function handshake(pod: PodContext, socket: Parameters<typeof acceptTls>[0]): ReturnType<typeof acceptTls<VerifiedPeer>> {
  await ownWorkload(pod, pod.info);
  const workload = pod.state.view().workloadOfPod(pod.info);
  if (workload === undefined) throw new MeshError("unknown-source", `failed to fetch information about local workload: ${pod.info.namespace}/${pod.info.name} is not known`);
  const { credentials, bundle } = await pod.contexts.material(workload.identity);
  const verify = verifyTrustDomain(workload.identity.trustDomain);
  return acceptTls<VerifiedPeer>(socket, {
    credentials, clock: pod.clock,
    verify: (leaf) => {
      const id = verify(leaf);
      if (!id.ok) return id;
      const refusal = pod.trust.judge(leaf, bundle, "destination");
      if (refusal !== undefined) return { ok: false, error: refusal };
      const watch = (cut: (reason: MeshError) => void): Disposable => pod.trust.track({ leaf, local: workload.identity, reporter: "destination", cut }, bundle);
      return { ok: true, value: { identity: id.value, local: workload.identity, fingerprint: fingerprintOf(leaf), watch } };
    },
  });
}

async function serveConnect(pod: PodContext, request: TunnelRequest, ends: Ends): Promise<void> {
  const opened = await open(pod, request, ends);
  if (opened !== undefined) await forward(opened);
}

/** One CONNECT. Every way out before `accept` answers a status; after it, failures can only cut the stream. undefined: refused, and said so. */
async function open(pod: PodContext, request: TunnelRequest, ends: Ends): Promise<Opened | undefined> {
  const { peer } = request;
  const forwarded = parseForwarded(request.headers.get("forwarded") ?? "");
  const traceparent = parseTraceparent(request.headers.get("traceparent") ?? "");

  // Plan: does it belong here, and where does it go?
  const plan = await pod.needs.decide<InboundPlan>(pod.info, (gathered) => planInbound(pod.state.view(), {
    pod: pod.info, source: ends.peer, listener: ends.local, target: request.target, network: pod.config.network,
    forwardedHost: forwarded.ok ? forwarded.value.host : undefined, gathered, tunnelsOnLoopback: pod.config.tunnelsOnLoopback,
  }));
  if (pod.log.enabled("trace")) pod.log.trace("inbound plan", { kind: plan.kind, because: plan.because });
  if (plan.kind === "deny") {
    refuseWith(request, plan.code);
    earlyDenial(pod.telemetry.access, formatSocketAddress(ends.peer), formatSocketAddress(ends.local), "inbound", { code: plan.code, error: plan.message });
    return undefined;
  }

  // Permit: on the list first, then judged, so that a policy change always finds it.
  const record = new ConnectionRecord(pod.telemetry, {
    reporter: "destination", src: ends.peer, dst: ends.local, hboneAddr: request.authority, traceId: traceparent.ok ? traceparent.value.traceId : undefined,
    ...sourceOf(pod, request, ends), sourceIdentity: peer.identity,
    destination: plan.workload, destinationIdentity: plan.workload.identity, service: plan.service, mutualTls: true,
  });
  const admitted = await admitWhenKnown(pod, {
    pod: pod.uid, direction: "inbound", src: ends.peer, originalDst: request.authority, actualDst: plan.nextHop, protocol: "HBONE",
  }, plan.workload, { ...plan.authz, peer: peer.identity });
  const dryRun = "denied" in admitted ? admitted.denied.dryRun : admitted.dryRun;
  if (dryRun.length > 0) reportTrials(pod.trials, dryRun, { src: formatSocketAddress(ends.peer), dst: formatSocketAddress(ends.local), identity: formatIdentity(peer.identity) });
  if ("denied" in admitted) {
    const policy = decisivePolicy(admitted.denied);
    refuseWith(request, "policy-denied", { reason: admitted.denied.reason, ...(policy === undefined ? {} : { policy }) });
    record.end({ code: "policy-denied", ...describeDenial(admitted.denied) });
    return undefined;
  }
  const { live, permit } = admitted;
  record.note(describeDryRun(admitted.dryRun));

  // Dial: 200 promises that the application is there.
  const given = new Stop();
  const [unlive, unasked] = [given.follow(live.ended), given.follow(request.signal)];
  try {
    const upstream = await dialApplication(pod, plan, given);
    // The promise, then bytes.
    writeProxyHeader(plan, upstream, ends, peer);
    const downstream = request.accept(pod.config.responseBaggage ? { baggage: baggageText(plan.workload) } : {});
    return { downstream, upstream: pod.share.stream(upstream), live, record, clock: pod.clock, permit };
  } catch (error) {
    refuseWith(request, error instanceof MeshError ? error.code : "connect-refused");
    live[Symbol.dispose]();
    recordEnding(record, error);
    record[Symbol.dispose]();
    return undefined;
  } finally {
    unlive();
    unasked();
  }
}

function refuseWith(request: TunnelRequest, code: FaultCode, more: Partial<Refusal> = {}): void {
  request.refuse(faultRow(code).hbone ?? 503, { [REFUSAL_HEADER]: formatRefusal({ code, ...more }) });
}

/**
 * Who the peer is, for telemetry only: what the control plane says of its address, else what it says of itself. Across networks the
 * address is the gateway's, and tells nothing.
 */
function sourceOf(pod: PodContext, request: TunnelRequest, ends: Ends): Pick<RecordFacts, "source" | "sourceClaims"> {
  const network = request.headers.get("x-forwarded-network");
  const away = network !== undefined && network.toLowerCase() !== pod.config.network.toLowerCase();
  const source = away ? undefined : peerWorkload(pod.state.view(), pod.config.network, ends.peer.ip, request.peer.identity);
  if (source !== undefined) return { source, sourceClaims: undefined }; // its own words count for nothing then
  const claims = parseBaggage(request.headers.get("baggage") ?? "");
  return { source, sourceClaims: claims.ok ? claims.value : undefined };
}

function writeProxyHeader(plan: ForwardPlan, upstream: ByteStream, ends: Ends, peer: PeerInfo): void {
  if (plan.proxyHeader !== undefined) upstream.write(proxyProtocolHeader("v2", ends.peer, plan.proxyHeader, peer.identity));
}
