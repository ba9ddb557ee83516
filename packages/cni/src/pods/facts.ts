// Owns what the agent reads out of a pod object.
import type { Pod } from "@ambit/kube";
import type { PodFacts } from "../plan/select.ts";
import type { PodRules } from "../rules/inpod.ts";

export const podIps = (pod: Pod): string[] => (pod.status?.podIPs ?? (pod.status?.podIP === undefined ? [] : [{ ip: pod.status.podIP }])).map((p) => p.ip);
export const nameOf = (pod: Pod | { readonly name: string; readonly namespace: string }): string =>
  "metadata" in pod ? `${pod.metadata.namespace ?? ""}/${pod.metadata.name}` : `${pod.namespace}/${pod.name}`;
export const isTerminal = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";

/** As the kernel takes them, without what nft, iptables and shells would read as something else. */
const INTERFACE_NAME = /^[A-Za-z0-9_.-]{1,15}$/;
const INTERFACES = "istio.io/reroute-virtual-interfaces";

/**
 * The annotations a pod may carry; anything but true and false means the default. Throws where an interface's name is none: a pod
 * whose traffic cannot be captured as asked is not captured by halves.
 */
export function podSwitches(pod: Pod, dnsDefault: boolean): Pick<PodRules, "bypassInbound" | "dnsCapture" | "virtualInterfaces"> {
  const annotations = pod.metadata.annotations ?? {};
  const dns = annotations["ambient.istio.io/dns-capture"];
  const virtualInterfaces = [...new Set((annotations[INTERFACES] ?? "").split(",").map((name) => name.trim()).filter(Boolean))];
  const bad = virtualInterfaces.find((name) => !INTERFACE_NAME.test(name));
  if (bad !== undefined) throw new Error(`annotation ${INTERFACES}: ${JSON.stringify(bad)} is no interface's name`);
  return {
    virtualInterfaces,
    bypassInbound: annotations["ambient.istio.io/bypass-inbound-capture"] === "true",
    dnsCapture: dns === "true" ? true : dns === "false" ? false : dnsDefault,
  };
}

/** The same; what a pod asks for and cannot have leaves no namespace behind. */
export function switchesOf(pod: Pod, dnsDefault: boolean, netns: Disposable): ReturnType<typeof podSwitches> {
  try {
    return podSwitches(pod, dnsDefault);
  } catch (error) {
    netns[Symbol.dispose]();
    throw error;
  }
}

export function factsOf(pod: Pod, namespaceLabels: Readonly<Record<string, string>>): PodFacts {
  return {
    name: pod.metadata.name, namespace: pod.metadata.namespace ?? "", labels: pod.metadata.labels ?? {}, annotations: pod.metadata.annotations ?? {},
    namespaceLabels, hostNetwork: pod.spec.hostNetwork === true, terminal: isTerminal(pod),
  };
}
