// Owns plaintext connections that were captured on their way to a pod: policy without an identity, then bytes.
import { formatSocketAddress } from "@ambit/core";
import type { TcpConnection } from "@ambit/transport";
import { planPassthrough, peerWorkload, type InboundPlan } from "../plan/inbound.ts";
import { endsOf, originalDestination } from "../pod/pod-proxy.ts";
import { ConnectionRecord, earlyDenial } from "../telemetry/connection-record.ts";
import { describeDenial, describeDryRun } from "./connections.ts";
import { dialApplication } from "./dial-application.ts";
import { forward, recordEnding, type Opened } from "./forward.ts";
import { refuse, type PodContext } from "./pod-context.ts";
import { admitWhenKnown } from "./policy-watch.ts";
import { reportTrials } from "./trials.ts";

export async function servePlaintext(pod: PodContext, client: TcpConnection): Promise<void> {
  using _counted = pod.telemetry.metrics.socket("destination");
  const opened = await open(pod, client);
  if (opened !== undefined) await forward(opened);
}

/** undefined: refused, and said so. */
async function open(pod: PodContext, client: TcpConnection): Promise<Opened | undefined> {
  using _arriving = pod.arrivals.hold("plaintext");
  const ends = endsOf(client);
  const original = originalDestination(pod.kernel, client);
  if (ends === undefined || original === undefined) {
    client.destroy();
    return undefined;
  }

  const plan = await pod.needs.decide<InboundPlan>(pod.info, () =>
    planPassthrough(pod.state.view(), { pod: pod.info, source: ends.peer, original, network: pod.config.network }));
  if (plan.kind === "deny") {
    refuse(client);
    earlyDenial(pod.telemetry.access, formatSocketAddress(ends.peer), formatSocketAddress(original), "inbound", { code: plan.code, error: plan.message });
    return undefined;
  }

  const record = new ConnectionRecord(pod.telemetry, {
    reporter: "destination", src: ends.peer, dst: original, hboneAddr: undefined, traceId: undefined,
    source: peerWorkload(pod.state.view(), pod.config.network, ends.peer.ip, undefined), sourceIdentity: undefined,
    destination: plan.workload, destinationIdentity: undefined, service: plan.service, mutualTls: false,
  });
  const admitted = await admitWhenKnown(pod, {
    pod: pod.uid, direction: "inbound", src: ends.peer, originalDst: formatSocketAddress(original), actualDst: plan.nextHop, protocol: "TCP",
  }, plan.workload, { ...plan.authz, peer: undefined });
  reportTrials(pod.trials, "denied" in admitted ? admitted.denied.dryRun : admitted.dryRun, { src: formatSocketAddress(ends.peer), dst: formatSocketAddress(original), identity: undefined });
  if ("denied" in admitted) {
    refuse(client);
    record.end({ code: "policy-denied", ...describeDenial(admitted.denied) });
    return undefined;
  }
  const { live, permit } = admitted;
  record.note(describeDryRun(admitted.dryRun));

  try {
    const upstream = await dialApplication(pod, plan, live.ended);
    return { downstream: pod.share.stream(client), upstream: pod.share.stream(upstream), live, record, clock: pod.clock, permit };
  } catch (error) {
    refuse(client);
    live[Symbol.dispose]();
    recordEnding(record, error);
    record[Symbol.dispose]();
    return undefined;
  }
}
