// Decides whether a pod is in the mesh, and says why.
import { matches, type EnablementSelector, type Labels } from "./selectors.ts";

export interface PodFacts {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly namespaceLabels: Labels;
  readonly hostNetwork: boolean;
  /** Succeeded or Failed: its processes are over. */
  readonly terminal: boolean;
}
export interface EnrolmentRules {
  readonly selectors: readonly EnablementSelector[];
  readonly excludeNamespaces: readonly string[];
  /** Where ztunnel itself runs: its pods are never enrolled. */
  readonly systemNamespace: string;
}
export interface Selection { readonly enrolled: boolean; readonly because: string }

const no = (because: string): Selection => ({ enrolled: false, because });

/** Order as in Istio's agent and plugin (protocol §7.2). */
export function selectPod(rules: EnrolmentRules, pod: PodFacts): Selection {
  if (pod.terminal) return no("the pod has ended");
  if (pod.hostNetwork) return no("the pod uses its node's network");
  if (pod.annotations["sidecar.istio.io/status"] !== undefined) return no("the pod has a sidecar");
  if (rules.excludeNamespaces.includes(pod.namespace)) return no(`namespace ${pod.namespace} is excluded`);
  if (pod.labels["app"] === "ztunnel" && pod.namespace === rules.systemNamespace) return no("the pod is a ztunnel");
  const at = rules.selectors.findIndex((s) => matches(s.pod, pod.labels) && matches(s.namespace, pod.namespaceLabels));
  return at < 0 ? no("no enablement selector matches its labels") : { enrolled: true, because: `enablement selector ${at + 1} matches` };
}
