// Owns the answer to "what would happen?": the same plans and the same policy decision as for a real connection, in words.
import {
  authorize, decisivePolicy, explainVerdict, formatIdentity, formatSocketAddress, type Ip, type SocketAddress, type Workload,
} from "@ambit/core";
import { NOTHING_GATHERED } from "../facts.ts";
import type { StateView } from "@ambit/proxy/state";
import type { Need, Step } from "./need.ts";
import { HBONE_PORT, planOutbound } from "./outbound.ts";

export interface Question {
  readonly view: StateView;
  /** The workload that would open the connection. */
  readonly source: Workload;
  readonly destination: SocketAddress;
  readonly network: string;
  readonly random: () => number;
  /** DNS answers, if the asker has them. */
  readonly hosts?: ReadonlyMap<string, readonly Ip[]>;
}

export interface Explanation {
  readonly outcome: "allowed" | "denied" | "unknown";
  /** One sentence. */
  readonly summary: string;
  readonly steps: readonly Step[];
  /** The words of the policy decision; empty when nothing reached one. */
  readonly policy: readonly string[];
  readonly decisivePolicy: string | undefined;
}

/** Plans as the source's ztunnel would, then decides as the destination's ztunnel would. */
export function explainConnection(question: Question): Explanation {
  const { view, source, destination, network, random } = question;
  const ip = source.addresses[0] ?? ("0.0.0.0" as Ip);
  const plan = source.protocol === "hbone"
    ? planOutbound(view, {
        pod: { name: source.name, namespace: source.namespace, serviceAccount: source.identity.serviceAccount },
        source: { ip, port: 0 }, original: destination, listener: { ip: "127.0.0.1" as Ip, port: 15001 }, network,
        gathered: question.hosts === undefined ? NOTHING_GATHERED : { hosts: question.hosts },
      }, random)
    : undefined;
  if (plan?.kind === "deny") return answer("denied", plan.message, plan.because);
  if (plan?.kind === "need") {
    return answer("unknown", `depends on ${describeNeed(plan.need, source)}, which are not known here`, plan.because);
  }

  const steps: Step[] = [...(plan?.because ?? [{ step: "source", saw: source.uid, chose: "not enrolled: nothing is captured, plain to the destination" }])];
  const nextHop = plan?.nextHop ?? destination;
  if (plan?.kind === "tunnel" && plan.hop === "waypoint")
    return answer("unknown", `goes to the waypoint ${plan.destination.uid}, which decides what follows`, steps);
  if (plan?.kind === "double-tunnel")
    return answer("unknown", `goes through the network gateway ${plan.destination.uid} to another network, where ${plan.inner.map(formatIdentity).join(" or ")} decides`, steps);
  const target = plan?.kind === "tunnel" && plan.target.kind === "address" ? plan.target.address : nextHop;
  const workload = plan?.destination ?? view.workloadAt(network, nextHop.ip);
  if (workload === undefined) return answer("allowed", `leaves the mesh in plaintext to ${formatSocketAddress(nextHop)}`, steps);
  if (workload.protocol !== "hbone") return answer("allowed", `goes in plaintext to ${workload.uid}, which is not enrolled: nothing checks it`, steps);

  const peer = plan?.kind === "tunnel" ? source.identity : undefined;
  const set = view.policiesFor(workload);
  const facts = { peer, sourceIp: ip, destination: target };
  const verdict = authorize(set, facts);
  const how = peer === undefined ? "in plaintext" : `in mutual TLS as ${formatIdentity(peer)} to ${formatIdentity(workload.identity)} on port ${HBONE_PORT}`;
  return {
    ...answer(verdict.kind === "allow" ? "allowed" : "denied", `${verdict.kind === "allow" ? "reaches" : "is refused by"} ${workload.uid} at ${formatSocketAddress(target)}, ${how}`, steps),
    policy: explainVerdict(set, facts, verdict),
    decisivePolicy: decisivePolicy(verdict),
  };
}

function describeNeed(need: Need, source: Workload): string {
  switch (need.kind) {
    case "dns": return `the addresses of ${need.hostname}`;
    case "address": return `what the control plane has for ${need.name}`;
    case "own-workload": return `the workload of ${source.namespace}/${source.name}`;
  }
}

const answer = (outcome: Explanation["outcome"], summary: string, steps: readonly Step[]): Explanation =>
  ({ outcome, summary, steps, policy: [], decisivePolicy: undefined });

