// Owns which traffic settings hold for one service at one waypoint: whose DestinationRule, and how several of one host add up.
import type { Collection, Context, Index } from "@ambit/collections";
import type { Subset, TrafficPolicy } from "@ambit/core";
import type { ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";
import { withBackendTls, type BackendTlsInputs } from "./backend-tls.ts";
import type { DestinationRuleInfo } from "./destination-rule.ts";
import { forHost } from "./istio-hosts.ts";

export interface TrafficInputs extends BackendTlsInputs {
  readonly settings: Settings;
  readonly destinationRules: Collection<DestinationRuleInfo>;
  /** Value: host, or WILDCARD_HOSTS. */
  readonly destinationRulesByHost: Index<DestinationRuleInfo>;
}

/** The namespaces that may speak, in the order in which they are asked: the client's (the waypoint's), the service's, the root's. */
export const speakersOn = (settings: Settings, waypoint: string, service: string): string[] => [...new Set([waypoint, service, settings.rootNamespace])];

/** undefined: nobody says anything, Istio's defaults hold. */
export function trafficPolicyOf(ctx: Context, inputs: TrafficInputs, s: ServiceInfo, waypointNamespace: string): TrafficPolicy | undefined {
  const found = ruleOf(ctx, inputs, s, waypointNamespace);
  return withBackendTls(ctx, inputs, s, found?.policy, found?.tlsBy !== undefined);
}

/** `tlsBy`: the DestinationRule that speaks of TLS, if one does. */
export function ruleOf(ctx: Context, inputs: TrafficInputs, s: ServiceInfo, waypointNamespace: string): { readonly policy: TrafficPolicy; readonly tlsBy: string | undefined } | undefined {
  for (const namespace of speakersOn(inputs.settings, waypointNamespace, s.service.namespace)) {
    const rules = forHost(ctx, inputs.destinationRules, inputs.destinationRulesByHost, s.service.hostname, waypointNamespace, [namespace]).filter((r) => r.traffic !== undefined);
    const [first] = rules;
    if (first?.traffic === undefined) continue;
    const subsets = new Map<string, Subset>();
    // The oldest that says something speaks for all; each adds the subsets that those before it do not have.
    const { settings, ports } = rules.find((r) => r.traffic?.says === true)?.traffic ?? first.traffic;
    for (const { traffic } of rules)
      for (const [name, subset] of traffic?.subsets ?? []) if (!subsets.has(name)) subsets.set(name, traffic?.inheriting.has(name) === true ? { ...subset, settings, ports } : subset);
    return { policy: { service: s.key, origin: rules.map((r) => r.key).join(", "), settings, ports, subsets }, tlsBy: rules.find((r) => r.traffic?.saysTls === true)?.key };
  }
  return undefined;
}
