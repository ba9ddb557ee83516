// Owns what every namespace is given: the ServiceAccount "default" and the cluster's CA as a ConfigMap.
import type { ConfigMap, KubeObject } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { NOTHING, planOf } from "./action.ts";
import { CONFIG_MAP, SERVICE_ACCOUNT } from "./kinds.ts";

export const ROOT_CA = "kube-root-ca.crt";
const ROOT_CA_ABOUT = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

export interface NamespaceFacts {
  readonly namespace: KubeObject | undefined;
  readonly account: KubeObject | undefined;
  readonly rootCa: ConfigMap | undefined;
  /** PEM; undefined when the kubeconfig carries no CA (plain http in tests). */
  readonly ca: string | undefined;
}

export function isTerminatingNamespace(namespace: KubeObject): boolean {
  return namespace.metadata.deletionTimestamp !== undefined || (namespace["status"] as { phase?: string } | undefined)?.phase === "Terminating";
}

export function planNamespaceDefaults(facts: NamespaceFacts): Plan {
  const { namespace, account, rootCa, ca } = facts;
  if (namespace === undefined || isTerminatingNamespace(namespace)) return NOTHING;
  const actions: Action[] = [];
  const metadata = { namespace: namespace.metadata.name };
  if (account === undefined) {
    actions.push({ do: "create", kind: SERVICE_ACCOUNT, object: { apiVersion: "v1", kind: "ServiceAccount", metadata: { ...metadata, name: "default" } } });
  }
  if (ca === undefined) return planOf(actions);
  const data = { "ca.crt": ca };
  if (rootCa === undefined) {
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { ...metadata, name: ROOT_CA, annotations: { "kubernetes.io/description": ROOT_CA_ABOUT } }, data };
    actions.push({ do: "create", kind: CONFIG_MAP, object });
  } else if (rootCa.data?.["ca.crt"] !== ca || Object.keys(rootCa.data).length !== 1) {
    actions.push({ do: "replace", kind: CONFIG_MAP, object: { ...rootCa, data } });
  }
  return planOf(actions);
}
