// Owns plaintext connections that were captured on their way to a pod: policy without an identity, then bytes.
import { formatSocketAddress } from "@ambit/core";
import { KEEPALIVE_IDLE_MS, type TcpConnection } from "@ambit/transport";
import { planPassthrough, peerWorkload, type InboundPlan } from "../plan/inbound.ts";
import { endsOf, originalDestination } from "../pod/pod-proxy.ts";
import { ConnectionRecord, earlyDenial } from "../telemetry/connection-record.ts";
import { describeDenial, describeDryRun } from "./connections.ts";
import { dialApplication } from "./dial-application.ts";
import { forward, recordEnding } from "./forward.ts";
import { refuse, type PodContext } from "./pod-context.ts";
import { admitWhenKnown } from "./policy-watch.ts";
import { reportTrials } from "./trials.ts";

export async function servePlaintext(pod: PodContext, client: TcpConnection): Promise<void> {
  using arriving = pod.arrivals.hold("plaintext");
  using _counted = pod.telemetry.metrics.socket("destination");
  const ends = endsOf(client);
  const original = originalDestination(pod.kernel, client);
  if (ends === undefined || original === undefined) return client.destroy();

  const plan = await pod.needs.decide<InboundPlan>(pod.info, () =>
    planPassthrough(pod.state.view(), { pod: pod.info, source: ends.peer, original, network: pod.config.network }));
  if (plan.kind === "deny") {
    refuse(client);
    return earlyDenial(pod.telemetry.access, formatSocketAddress(ends.peer), formatSocketAddress(original), "inbound", { code: plan.code, error: plan.message });
  }

  using record = new ConnectionRecord(pod.telemetry, {
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
    return record.finish({ code: "policy-denied", ...describeDenial(admitted.denied) });
  }
  using live = admitted.live;
  record.note(describeDryRun(admitted.dryRun));

  let application: TcpConnection;
  try {
    application = await dialApplication(pod, plan, live.ended);
  } catch (error) {
    recordEnding(record, error);
    return refuse(client);
  }
  client.keepAlive(KEEPALIVE_IDLE_MS);
  arriving[Symbol.dispose]();
  await forward({ downstream: client, upstream: application, live, record, clock: pod.clock, permit: admitted.permit });
}
