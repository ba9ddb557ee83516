// Owns what an installation creates, as rights to ask for.
import { MESH_NAMESPACE, type Objects } from "./model/facts.ts";

export interface Right {
  readonly group: string; readonly resource: string; readonly namespace?: string;
  /** Not needed where what it would make is there. */
  readonly unless?: (objects: Objects) => boolean;
}
/** Server-side apply asks for both, whether the object is there or not. */
export const APPLY_VERBS: readonly string[] = ["create", "patch"];
const apply = (group: string, resource: string, namespace?: string): Right => ({ group, resource, ...(namespace === undefined ? {} : { namespace }) });

const RBAC = "rbac.authorization.k8s.io";
const hasCrd = (o: Objects, name: string): boolean => o.crds.some((c) => c.metadata.name === name);

export const INSTALL_RIGHTS: readonly Right[] = [
  { ...apply("", "namespaces"), unless: (o) => o.namespaces.some((n) => n.metadata.name === MESH_NAMESPACE) },
  { ...apply("apiextensions.k8s.io", "customresourcedefinitions"), unless: (o) => hasCrd(o, "httproutes.gateway.networking.k8s.io") && hasCrd(o, "authorizationpolicies.security.istio.io") },
  apply(RBAC, "clusterroles"), apply(RBAC, "clusterrolebindings"), apply(RBAC, "roles", MESH_NAMESPACE), apply(RBAC, "rolebindings", MESH_NAMESPACE),
  apply("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
  apply("", "serviceaccounts", MESH_NAMESPACE), apply("", "configmaps", MESH_NAMESPACE), apply("", "services", MESH_NAMESPACE),
  apply("apps", "deployments", MESH_NAMESPACE), apply("apps", "daemonsets", MESH_NAMESPACE),
  apply("networking.k8s.io", "networkpolicies", MESH_NAMESPACE), apply("", "resourcequotas", MESH_NAMESPACE), apply("policy", "poddisruptionbudgets", MESH_NAMESPACE),
];
