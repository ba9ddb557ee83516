// Owns the rows of apps, batch, autoscaling and policy.
import { asString, type JsonObject } from "../json.ts";
import { validateCronJob, validateJob, validateWorkload } from "../kinds/validation.ts";
import * as defaults from "../kinds/workload-defaults.ts";
import * as printers from "../table/workloads.ts";
import { row, type Row } from "./row.ts";

const APPS = { group: "apps", version: "v1", namespaced: true, generation: true };
const STATUS = { metadata: false, atCreate: false };
const SCALE = { spec: ".spec.replicas", status: ".status.replicas", selector: ".spec.selector" };
const ALL = ["all"];

export const workloadRows: readonly Row[] = [
  row({
    ...APPS,
    resource: "deployments",
    kind: "Deployment",
    shortNames: ["deploy"],
    categories: ALL,
    status: STATUS,
    scale: SCALE,
    defaults: defaults.defaultDeployment,
    validate: validateWorkload,
    printer: printers.deployments,
  }),
  row({
    ...APPS,
    resource: "replicasets",
    kind: "ReplicaSet",
    shortNames: ["rs"],
    categories: ALL,
    status: STATUS,
    scale: SCALE,
    newStatus: { replicas: 0 },
    defaults: defaults.defaultReplicaSet,
    validate: validateWorkload,
    fields: (object) => ({ "status.replicas": String((object["status"] as JsonObject | undefined)?.["replicas"] ?? 0) }),
    fieldNames: ["status.replicas"],
    printer: printers.replicaSets,
  }),
  row({
    ...APPS,
    resource: "statefulsets",
    kind: "StatefulSet",
    shortNames: ["sts"],
    categories: ALL,
    status: STATUS,
    scale: SCALE,
    newStatus: { replicas: 0, availableReplicas: 0 },
    defaults: defaults.defaultStatefulSet,
    validate: validateWorkload,
    printer: printers.statefulSets,
  }),
  row({
    ...APPS,
    resource: "daemonsets",
    kind: "DaemonSet",
    shortNames: ["ds"],
    categories: ALL,
    status: STATUS,
    newStatus: { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 },
    defaults: defaults.defaultDaemonSet,
    prepare: defaults.prepareDaemonSet,
    validate: validateWorkload,
    printer: printers.daemonSets,
  }),
  row({ ...APPS, generation: false, resource: "controllerrevisions", kind: "ControllerRevision", printer: printers.controllerRevisions }),
  row({
    group: "batch",
    version: "v1",
    resource: "jobs",
    kind: "Job",
    namespaced: true,
    categories: ALL,
    status: STATUS,
    generation: true,
    defaults: defaults.defaultJob,
    prepare: defaults.prepareJob,
    validate: validateJob,
    fields: (object) => ({ "status.successful": String((object["status"] as JsonObject | undefined)?.["succeeded"] ?? 0) }),
    fieldNames: ["status.successful"],
    printer: printers.jobs,
  }),
  row({
    group: "batch",
    version: "v1",
    resource: "cronjobs",
    kind: "CronJob",
    namespaced: true,
    shortNames: ["cj"],
    categories: ALL,
    status: STATUS,
    generation: true,
    defaults: defaults.defaultCronJob,
    validate: validateCronJob,
    printer: printers.cronJobs,
  }),
  row({
    group: "autoscaling",
    version: "v2",
    resource: "horizontalpodautoscalers",
    kind: "HorizontalPodAutoscaler",
    namespaced: true,
    shortNames: ["hpa"],
    categories: ALL,
    status: STATUS,
    newStatus: { desiredReplicas: 0, currentMetrics: null },
    defaults: defaults.defaultAutoscaler,
    printer: printers.autoscalers,
  }),
  row({
    group: "policy",
    version: "v1",
    resource: "poddisruptionbudgets",
    kind: "PodDisruptionBudget",
    namespaced: true,
    shortNames: ["pdb"],
    status: STATUS,
    newStatus: { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 },
    generation: true,
    printer: printers.disruptionBudgets,
    validate: (object) => {
      const spec = (object["spec"] ?? {}) as JsonObject;
      const both = spec["minAvailable"] !== undefined && spec["maxUnavailable"] !== undefined;
      const message = "Invalid value: minAvailable and maxUnavailable cannot be both set";
      return both ? [{ field: "spec", type: "FieldValueInvalid", message: `${message} (${asString(spec["minAvailable"])})` }] : [];
    },
  }),
];
