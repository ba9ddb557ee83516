// Owns the defaults of Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs.
import { asObject, asObjects, asString, cloneJson, ensureObject, equalJson, setDefault, type JsonObject } from "../json.ts";
import { defaultPodSpec } from "./pod-defaults.ts";

function template(spec: JsonObject): JsonObject {
  const found = ensureObject(spec, "template");
  ensureObject(found, "metadata");
  defaultPodSpec(ensureObject(found, "spec"));
  return found;
}

export function defaultDeployment(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  template(spec);
  setDefault(spec, "replicas", 1);
  setDefault(spec, "revisionHistoryLimit", 10);
  setDefault(spec, "progressDeadlineSeconds", 600);
  const strategy = ensureObject(spec, "strategy");
  setDefault(strategy, "type", "RollingUpdate");
  if (strategy["type"] !== "RollingUpdate") return;
  const rolling = ensureObject(strategy, "rollingUpdate");
  setDefault(rolling, "maxUnavailable", "25%");
  setDefault(rolling, "maxSurge", "25%");
}

export function defaultReplicaSet(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  template(spec);
  setDefault(spec, "replicas", 1);
}

export function defaultStatefulSet(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  template(spec);
  setDefault(spec, "podManagementPolicy", "OrderedReady");
  setDefault(spec, "replicas", 1);
  setDefault(spec, "revisionHistoryLimit", 10);
  setDefault(spec, "serviceName", "");
  const strategy = ensureObject(spec, "updateStrategy");
  setDefault(strategy, "type", "RollingUpdate");
  if (strategy["type"] === "RollingUpdate") setDefault(ensureObject(strategy, "rollingUpdate"), "partition", 0);
  const retention = ensureObject(spec, "persistentVolumeClaimRetentionPolicy");
  setDefault(retention, "whenDeleted", "Retain");
  setDefault(retention, "whenScaled", "Retain");
}

export function defaultDaemonSet(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  template(spec);
  setDefault(spec, "revisionHistoryLimit", 10);
  const strategy = ensureObject(spec, "updateStrategy");
  setDefault(strategy, "type", "RollingUpdate");
  if (strategy["type"] !== "RollingUpdate") return;
  const rolling = ensureObject(strategy, "rollingUpdate");
  setDefault(rolling, "maxUnavailable", 1);
  setDefault(rolling, "maxSurge", 0);
}

const JOB_NAME = "batch.kubernetes.io/job-name";
const CONTROLLER_UID = "batch.kubernetes.io/controller-uid";

function defaultJobSpec(spec: JsonObject): void {
  const pod = template(spec);
  // A Job's template has no restartPolicy of its own when none was given; validation asks for one.
  setDefault(spec, "completions", spec["parallelism"] === undefined ? 1 : (spec["completions"] ?? null));
  if (spec["completions"] === null) delete spec["completions"];
  setDefault(spec, "parallelism", 1);
  setDefault(spec, "backoffLimit", 6);
  setDefault(spec, "completionMode", "NonIndexed");
  setDefault(spec, "suspend", false);
  setDefault(spec, "podReplacementPolicy", asObject(spec)["podFailurePolicy"] === undefined ? "TerminatingOrFailed" : "Failed");
  ensureObject(pod, "metadata");
}

export function defaultJob(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  defaultJobSpec(spec);
  setDefault(spec, "manualSelector", false);
}

/** A Job selects its pods by its own uid, unless its author took that over. */
export function prepareJob(object: JsonObject, before: JsonObject | null): void {
  const spec = asObject(object["spec"]);
  if (before !== null || spec["manualSelector"] === true) return;
  const metadata = asObject(object["metadata"]);
  const uid = metadata["uid"] ?? "";
  const labels = ensureObject(ensureObject(asObject(spec["template"]), "metadata"), "labels");
  for (const key of ["controller-uid", CONTROLLER_UID]) setDefault(labels, key, uid);
  for (const key of ["job-name", JOB_NAME]) setDefault(labels, key, metadata["name"] ?? "");
  if (Object.keys(asObject(metadata["labels"])).length === 0) metadata["labels"] = cloneJson(labels);
  if (spec["selector"] === undefined) spec["selector"] = { matchLabels: { [CONTROLLER_UID]: cloneJson(uid) } };
}

const TEMPLATE_GENERATION = "deprecated.daemonset.template.generation";

/** Counts the versions of a DaemonSet's template, as its annotation has done since before generations. */
export function prepareDaemonSet(object: JsonObject, before: JsonObject | null): void {
  const annotations = ensureObject(ensureObject(object, "metadata"), "annotations");
  const was = Number(asString(asObject(asObject(before?.["metadata"])["annotations"])[TEMPLATE_GENERATION]) || "0");
  const changed = before === null || !equalJson(asObject(object["spec"])["template"] ?? null, asObject(before["spec"])["template"] ?? null);
  annotations[TEMPLATE_GENERATION] = String(changed ? was + 1 : was);
}

export function defaultAutoscaler(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  setDefault(spec, "minReplicas", 1);
  setDefault(spec, "metrics", [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } }]);
}

export function defaultCronJob(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  setDefault(spec, "concurrencyPolicy", "Allow");
  setDefault(spec, "suspend", false);
  setDefault(spec, "successfulJobsHistoryLimit", 3);
  setDefault(spec, "failedJobsHistoryLimit", 1);
  const job = ensureObject(ensureObject(spec, "jobTemplate"), "spec");
  const kept = { ...job };
  const pod = ensureObject(job, "template");
  ensureObject(pod, "metadata");
  defaultPodSpec(ensureObject(pod, "spec"));
  ensureObject(asObject(spec["jobTemplate"]), "metadata");
  Object.assign(job, kept, { template: pod });
}

export function defaultService(object: JsonObject): void {
  const spec = ensureObject(object, "spec");
  setDefault(spec, "sessionAffinity", "None");
  setDefault(spec, "type", "ClusterIP");
  if (spec["sessionAffinity"] === "None") delete spec["sessionAffinityConfig"];
  if (spec["sessionAffinity"] === "ClientIP") {
    setDefault(ensureObject(ensureObject(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800);
  }
  for (const port of asObjects(spec["ports"])) {
    setDefault(port, "protocol", "TCP");
    const target = port["targetPort"];
    if (target === undefined || target === 0 || target === "") port["targetPort"] = port["port"] ?? 0;
  }
  const external = spec["type"] === "NodePort" || spec["type"] === "LoadBalancer";
  if (external) setDefault(spec, "externalTrafficPolicy", "Cluster");
  if (spec["type"] !== "ExternalName") setDefault(spec, "internalTrafficPolicy", "Cluster");
  if (spec["type"] === "LoadBalancer") setDefault(spec, "allocateLoadBalancerNodePorts", true);
}

/** stringData is written into data and not kept. */
export function defaultSecret(object: JsonObject): void {
  setDefault(object, "type", "Opaque");
  const plain = asObject(object["stringData"]);
  if (Object.keys(plain).length > 0) {
    const data = ensureObject(object, "data");
    for (const [key, value] of Object.entries(plain)) data[key] = Buffer.from(asString(value)).toString("base64");
  }
  delete object["stringData"];
}

export function defaultEndpointSlice(object: JsonObject): void {
  for (const endpoint of asObjects(object["endpoints"])) ensureObject(endpoint, "conditions");
  for (const port of asObjects(object["ports"])) {
    setDefault(port, "name", "");
    setDefault(port, "protocol", "TCP");
  }
}

export function defaultEndpoints(object: JsonObject): void {
  for (const port of asObjects(object["subsets"]).flatMap((subset) => asObjects(subset["ports"]))) setDefault(port, "protocol", "TCP");
}
