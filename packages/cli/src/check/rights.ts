// Owns what an installation creates, as rights to ask for.
import { MESH_NAMESPACE, type Objects } from "./model/facts.ts";

export interface Right {
  readonly verb: string; readonly group: string; readonly resource: string; readonly namespace?: string;
  /** Not needed where what it would make is there. */
  readonly unless?: (objects: Objects) => boolean;
}
const create = (group: string, resource: string, namespace?: string): Right => ({ verb: "create", group, resource, ...(namespace === undefined ? {} : { namespace }) });

const RBAC = "rbac.authorization.k8s.io";
const hasCrd = (o: Objects, name: string): boolean => o.crds.some((c) => c.metadata.name === name);

export const INSTALL_RIGHTS: readonly Right[] = [
  { ...create("", "namespaces"), unless: (o) => o.namespaces.some((n) => n.metadata.name === MESH_NAMESPACE) },
  { ...create("apiextensions.k8s.io", "customresourcedefinitions"), unless: (o) => hasCrd(o, "httproutes.gateway.networking.k8s.io") && hasCrd(o, "authorizationpolicies.security.istio.io") },
  create(RBAC, "clusterroles"), create(RBAC, "clusterrolebindings"), create(RBAC, "roles", MESH_NAMESPACE), create(RBAC, "rolebindings", MESH_NAMESPACE),
  create("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
  create("", "serviceaccounts", MESH_NAMESPACE), create("", "configmaps", MESH_NAMESPACE), create("", "services", MESH_NAMESPACE),
  create("apps", "deployments", MESH_NAMESPACE), create("apps", "daemonsets", MESH_NAMESPACE),
  create("networking.k8s.io", "networkpolicies", MESH_NAMESPACE), create("", "resourcequotas", MESH_NAMESPACE), create("policy", "poddisruptionbudgets", MESH_NAMESPACE),
];
