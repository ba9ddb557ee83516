// Owns what the agent reads out of a pod object.
import type { Pod } from "@ambit/kube";
import type { PodFacts } from "../plan/select.ts";

export const podIps = (pod: Pod): string[] => (pod.status?.podIPs ?? (pod.status?.podIP === undefined ? [] : [{ ip: pod.status.podIP }])).map((p) => p.ip);
export const isTerminal = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";

/** The two annotations a pod may carry; anything but true and false means the default. */
export function podSwitches(pod: Pod, dnsDefault: boolean): { bypassInbound: boolean; dnsCapture: boolean } {
  const annotations = pod.metadata.annotations ?? {};
  const dns = annotations["ambient.istio.io/dns-capture"];
  return {
    bypassInbound: annotations["ambient.istio.io/bypass-inbound-capture"] === "true",
    dnsCapture: dns === "true" ? true : dns === "false" ? false : dnsDefault,
  };
}

export function factsOf(pod: Pod, namespaceLabels: Readonly<Record<string, string>>): PodFacts {
  return {
    name: pod.metadata.name, namespace: pod.metadata.namespace ?? "", labels: pod.metadata.labels ?? {}, annotations: pod.metadata.annotations ?? {},
    namespaceLabels, hostNetwork: pod.spec.hostNetwork === true, terminal: isTerminal(pod),
  };
}
