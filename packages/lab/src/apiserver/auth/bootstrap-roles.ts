// Owns the default roles and bindings of a new cluster: the same names and, for what this server has, the same powers as upstream's.
import type { JsonObject } from "../json.ts";

interface Item {
  readonly resource: "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings";
  readonly object: JsonObject;
}

const READ = ["get", "list", "watch"];
const WRITE = ["create", "delete", "deletecollection", "patch", "update"];
const LABELS = { "kubernetes.io/bootstrapping": "rbac-defaults" };
const AUTOUPDATE = { "rbac.authorization.kubernetes.io/autoupdate": "true" };
const GROUP = "rbac.authorization.k8s.io";

function rule(apiGroups: string[], resources: string[], verbs: string[]): JsonObject {
  return { apiGroups, resources, verbs };
}

function paths(...nonResourceURLs: string[]): JsonObject {
  return { nonResourceURLs, verbs: ["get"] };
}

function meta(name: string, labels: JsonObject = {}): JsonObject {
  return { name, labels: { ...LABELS, ...labels }, annotations: { ...AUTOUPDATE } };
}

function clusterRole(name: string, rules: JsonObject[], labels: JsonObject = {}): Item {
  return { resource: "clusterroles", object: { metadata: meta(name, labels), rules } };
}

/** A role that is the sum of others, which join it by label. */
function aggregate(name: string): Item {
  const matchLabels = { [`${GROUP}/aggregate-to-${name}`]: "true" };
  const object = { metadata: meta(name), aggregationRule: { clusterRoleSelectors: [{ matchLabels }] }, rules: [] };
  return { resource: "clusterroles", object };
}

function bind(name: string, role: string, subjects: [kind: "User" | "Group", name: string][]): Item {
  const object: JsonObject = {
    metadata: meta(name),
    roleRef: { apiGroup: GROUP, kind: "ClusterRole", name: role },
    subjects: subjects.map(([kind, subject]) => ({ apiGroup: GROUP, kind, name: subject })),
  };
  return { resource: "clusterrolebindings", object };
}

const WORKLOADS: [string[], string[]][] = [
  [["apps"], ["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"]],
  [["batch"], ["cronjobs", "jobs"]],
  [["autoscaling"], ["horizontalpodautoscalers"]],
  [["policy"], ["poddisruptionbudgets"]],
  [["networking.k8s.io"], ["ingresses", "networkpolicies"]],
];
const SCALES = ["deployments/scale", "replicasets/scale", "statefulsets/scale"];
const CORE = ["configmaps", "endpoints", "persistentvolumeclaims", "pods", "replicationcontrollers", "serviceaccounts", "services"];

const viewRules = [
  rule([""], [...CORE, "bindings", "events", "limitranges", "namespaces", "pods/log", "pods/status", "namespaces/status", "services/status"], READ),
  rule(["discovery.k8s.io"], ["endpointslices"], READ),
  ...WORKLOADS.map(([groups, resources]) => rule(groups, [...resources, ...resources.map((name) => `${name}/status`)], READ)),
  rule(["apps"], SCALES, READ),
];

const editRules = [
  rule([""], CORE, WRITE),
  rule([""], ["secrets"], [...READ, ...WRITE]),
  rule([""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"], [...READ, ...WRITE]),
  rule([""], ["pods/eviction", "serviceaccounts/token"], ["create"]),
  rule([""], ["serviceaccounts"], ["impersonate"]),
  rule([""], ["events"], WRITE),
  ...WORKLOADS.map(([groups, resources]) => rule(groups, resources, WRITE)),
  rule(["apps"], SCALES, WRITE),
  rule(["coordination.k8s.io"], ["leases"], [...READ, ...WRITE]),
];

const adminRules = [
  rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"]),
  rule([GROUP], ["rolebindings", "roles"], [...READ, ...WRITE]),
];

/** What a kubelet needs; which node's objects they are is not checked. */
const nodeRules = [
  rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
  rule(["authorization.k8s.io"], ["localsubjectaccessreviews", "subjectaccessreviews"], ["create"]),
  rule([""], ["services", "endpoints", "configmaps", "secrets"], READ),
  rule(["discovery.k8s.io"], ["endpointslices"], READ),
  rule([""], ["nodes"], ["create", ...READ, "patch", "update"]),
  rule([""], ["nodes/status"], ["patch", "update"]),
  rule([""], ["events"], ["create", "patch", "update"]),
  rule(["events.k8s.io"], ["events"], ["create", "patch", "update"]),
  rule([""], ["pods"], [...READ, "create", "delete"]),
  rule([""], ["pods/status"], ["patch", "update"]),
  rule([""], ["pods/eviction"], ["create"]),
  rule([""], ["serviceaccounts/token"], ["create"]),
  rule([""], ["serviceaccounts", "namespaces"], READ),
  rule(["coordination.k8s.io"], ["leases"], [...READ, ...WRITE]),
];

/** The lab's controllers run under one user: everything that upstream grants its controllers one by one. */
const controllerRules = [
  rule(["*"], ["*"], [...READ, ...WRITE]),
  rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
  rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
];

const healthPaths = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
const discoveryPaths = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", ...healthPaths];
const issuerPaths = ["/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"];

export function bootstrapRbac(): Item[] {
  const authenticated: ["Group", string] = ["Group", "system:authenticated"];
  return [
    clusterRole("cluster-admin", [rule(["*"], ["*"], ["*"]), { nonResourceURLs: ["*"], verbs: ["*"] }]),
    clusterRole("system:discovery", [paths(...discoveryPaths)]),
    clusterRole("system:public-info-viewer", [paths(...healthPaths)]),
    clusterRole("system:service-account-issuer-discovery", [paths(...issuerPaths)]),
    clusterRole("system:basic-user", [
      rule(["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
      rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
    ]),
    clusterRole("system:auth-delegator", [
      rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
      rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
    ]),
    aggregate("view"),
    aggregate("edit"),
    aggregate("admin"),
    clusterRole("system:aggregate-to-view", viewRules, joins("view", "edit", "admin")),
    clusterRole("system:aggregate-to-edit", editRules, joins("edit", "admin")),
    clusterRole("system:aggregate-to-admin", adminRules, joins("admin")),
    clusterRole("system:node", nodeRules),
    clusterRole("system:kube-controller-manager", controllerRules),
    bind("cluster-admin", "cluster-admin", [["Group", "system:masters"]]),
    bind("system:discovery", "system:discovery", [authenticated]),
    bind("system:basic-user", "system:basic-user", [authenticated]),
    bind("system:public-info-viewer", "system:public-info-viewer", [authenticated, ["Group", "system:unauthenticated"]]),
    bind("system:service-account-issuer-discovery", "system:service-account-issuer-discovery", [["Group", "system:serviceaccounts"]]),
    bind("system:node", "system:node", [["Group", "system:nodes"]]),
    bind("system:kube-controller-manager", "system:kube-controller-manager", [["User", "system:kube-controller-manager"]]),
  ];
}

function joins(...roles: string[]): JsonObject {
  return Object.fromEntries(roles.map((role) => [`${GROUP}/aggregate-to-${role}`, "true"]));
}
