// Owns the kinds the controllers decide about, as the API names them.
import type { Kind } from "@ambit/kube";

const kind = (group: string, plural: string, name: string, namespaced = true, version = "v1"): Kind => ({
  group, version, plural, kind: name, namespaced,
});

export const POD = kind("", "pods", "Pod");
export const NODE = kind("", "nodes", "Node", false);
export const SERVICE = kind("", "services", "Service");
export const NAMESPACE = kind("", "namespaces", "Namespace", false);
export const SERVICE_ACCOUNT = kind("", "serviceaccounts", "ServiceAccount");
export const CONFIG_MAP = kind("", "configmaps", "ConfigMap");
export const EVENT = kind("", "events", "Event");
export const ENDPOINTS = kind("", "endpoints", "Endpoints");
export const ENDPOINT_SLICE = kind("discovery.k8s.io", "endpointslices", "EndpointSlice");
export const DEPLOYMENT = kind("apps", "deployments", "Deployment");
export const REPLICA_SET = kind("apps", "replicasets", "ReplicaSet");
export const STATEFUL_SET = kind("apps", "statefulsets", "StatefulSet");
export const DAEMON_SET = kind("apps", "daemonsets", "DaemonSet");
export const CONTROLLER_REVISION = kind("apps", "controllerrevisions", "ControllerRevision");
export const JOB = kind("batch", "jobs", "Job");
export const CRON_JOB = kind("batch", "cronjobs", "CronJob");
export const LEASE = kind("coordination.k8s.io", "leases", "Lease");
export const POD_DISRUPTION_BUDGET = kind("policy", "poddisruptionbudgets", "PodDisruptionBudget");

export const apiVersionOf = (k: Kind): string => (k.group === "" ? k.version : `${k.group}/${k.version}`);
