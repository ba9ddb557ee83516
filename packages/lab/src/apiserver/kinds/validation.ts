// Owns what the published schema cannot say about workloads, Services and bindings.
import { asObject, asObjects, asString, asStringMap, equalJson, isObject, type JsonObject } from "../json.ts";
import { labelSelectorOf, matchesLabels } from "../selectors.ts";
import { duplicateValue, invalidValue, required, unsupportedValue, type FieldProblem } from "../status.ts";
import { validateName } from "../verbs/names.ts";
import { validatePodSpec, validatePort } from "./pod-validation.ts";

/** Deployments, ReplicaSets, StatefulSets, DaemonSets: the selector is fixed and fits the template. */
export function validateWorkload(object: JsonObject, before: JsonObject | null): FieldProblem[] {
  const spec = asObject(object["spec"]);
  const problems = validateCount(spec["replicas"], "spec.replicas");
  const template = asObject(spec["template"]);
  problems.push(...validatePodSpec(asObject(template["spec"]), "spec.template.spec"));
  const restart = asObject(template["spec"])["restartPolicy"];
  if (restart !== undefined && restart !== "Always") {
    problems.push(unsupportedValue("spec.template.spec.restartPolicy", restart, ["Always"]));
  }
  const selector = labelSelectorOf(spec["selector"]);
  const labels = asStringMap(asObject(template["metadata"])["labels"]);
  const misfit = invalidValue("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
  if (!isObject(spec["selector"])) problems.push(required("spec.selector"), misfit);
  else if (selector === null || selector.length === 0) {
    problems.push(invalidValue("spec.selector", spec["selector"], "empty selector is invalid for this kind"));
  } else if (!matchesLabels(selector, labels)) problems.push(misfit);
  const fixed = asObject(before?.["spec"])["selector"];
  if (before !== null && !equalJson(spec["selector"], fixed)) {
    problems.push(invalidValue("spec.selector", spec["selector"], "field is immutable"));
  }
  return problems;
}

function validateCount(value: unknown, field: string): FieldProblem[] {
  if (typeof value !== "number" || value >= 0) return [];
  return [invalidValue(field, value, "must be greater than or equal to 0")];
}

export function validateJob(object: JsonObject, before: JsonObject | null): FieldProblem[] {
  const spec = asObject(object["spec"]);
  const template = asObject(spec["template"]);
  const problems = validateJobTemplate(template, "spec.template");
  for (const field of ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]) {
    problems.push(...validateCount(spec[field], `spec.${field}`));
  }
  if (before === null) return problems;
  const was = asObject(before["spec"]);
  for (const field of ["selector", "template", "completionMode"]) {
    if (!equalJson(spec[field], was[field])) problems.push(invalidValue(`spec.${field}`, spec[field], "field is immutable"));
  }
  return problems;
}

function validateJobTemplate(template: JsonObject, at: string): FieldProblem[] {
  const pod = asObject(template["spec"]);
  const problems = validatePodSpec(pod, `${at}.spec`);
  const restart = pod["restartPolicy"];
  if (restart === "Always" || restart === undefined) {
    const message = `Required value: valid values: "OnFailure", "Never"`;
    problems.push({ field: `${at}.spec.restartPolicy`, type: "FieldValueRequired", message });
  }
  return problems;
}

export function validateCronJob(object: JsonObject): FieldProblem[] {
  const spec = asObject(object["spec"]);
  const problems: FieldProblem[] = [];
  const schedule = asString(spec["schedule"]);
  if (schedule === "") problems.push(required("spec.schedule"));
  else if (!schedule.startsWith("@") && schedule.trim().split(/\s+/).length !== 5) {
    problems.push(invalidValue("spec.schedule", schedule, `expected exactly 5 fields, found ${schedule.trim().split(/\s+/).length}: [${schedule.trim().split(/\s+/).join(" ")}]`));
  }
  if (!["Allow", "Forbid", "Replace"].includes(asString(spec["concurrencyPolicy"]))) {
    problems.push(unsupportedValue("spec.concurrencyPolicy", spec["concurrencyPolicy"], ["Allow", "Forbid", "Replace"]));
  }
  const template = asObject(asObject(asObject(spec["jobTemplate"])["spec"])["template"]);
  problems.push(...validateJobTemplate(template, "spec.jobTemplate.spec.template"));
  return problems;
}

const TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS = ["SCTP", "TCP", "UDP"];

export function validateService(object: JsonObject): FieldProblem[] {
  const spec = asObject(object["spec"]);
  const type = asString(spec["type"]);
  const problems: FieldProblem[] = [];
  if (!TYPES.includes(type)) problems.push(unsupportedValue("spec.type", type, TYPES));
  if (type === "ExternalName" && asString(spec["externalName"]) === "") problems.push(required("spec.externalName"));
  const ports = asObjects(spec["ports"]);
  const headless = spec["clusterIP"] === "None";
  if (ports.length === 0 && !headless && type !== "ExternalName") problems.push(required("spec.ports"));
  if (headless && (type === "NodePort" || type === "LoadBalancer")) {
    problems.push(invalidValue("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${type} services`));
  }
  const names = new Set<string>();
  const pairs = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const at = `spec.ports[${i}]`;
    const name = asString(port["name"]);
    if (name === "" && ports.length > 1) problems.push(required(`${at}.name`));
    if (name !== "") problems.push(...validateName("label", name, `${at}.name`));
    if (name !== "" && names.has(name)) problems.push(duplicateValue(`${at}.name`, name));
    names.add(name);
    problems.push(...validatePort(port["port"], `${at}.port`));
    if (!PROTOCOLS.includes(asString(port["protocol"]))) problems.push(unsupportedValue(`${at}.protocol`, port["protocol"], PROTOCOLS));
    const target = port["targetPort"];
    if (typeof target === "number") problems.push(...validatePort(target, `${at}.targetPort`));
    const pair = `${String(port["port"])}/${asString(port["protocol"])}`;
    if (pairs.has(pair)) problems.push(duplicateValue(at, { port: port["port"], protocol: port["protocol"] }));
    pairs.add(pair);
  }
  return problems;
}

/** Role bindings: a role is named, and stays the same for good. */
export function requiresRoleRef(object: JsonObject, before: JsonObject | null): FieldProblem[] {
  const reference = asObject(object["roleRef"]);
  const problems: FieldProblem[] = [];
  if (asString(reference["name"]) === "") problems.push(required("roleRef.name"));
  if (!["Role", "ClusterRole"].includes(asString(reference["kind"]))) {
    problems.push(unsupportedValue("roleRef.kind", reference["kind"] ?? "", ["ClusterRole", "Role"]));
  }
  if (before !== null && !equalJson(reference, asObject(before["roleRef"]))) {
    const shown = { APIGroup: reference["apiGroup"] ?? "", Kind: reference["kind"] ?? "", Name: reference["name"] ?? "" };
    problems.push(invalidValue("roleRef", shown, "cannot change roleRef"));
  }
  for (const [i, subject] of asObjects(object["subjects"]).entries()) {
    if (asString(subject["name"]) === "") problems.push(required(`subjects[${i}].name`));
    if (!["User", "Group", "ServiceAccount"].includes(asString(subject["kind"]))) {
      problems.push(unsupportedValue(`subjects[${i}].kind`, subject["kind"] ?? "", ["Group", "ServiceAccount", "User"]));
    }
  }
  return problems;
}

/** Roles: a rule names verbs, and either addresses or groups with resources. */
export function validateRole(object: JsonObject): FieldProblem[] {
  const cluster = object["kind"] === "ClusterRole";
  return asObjects(object["rules"]).flatMap((rule, i) => {
    const at = `rules[${i}]`;
    const size = (field: string) => (Array.isArray(rule[field]) ? rule[field].length : 0);
    const problems = size("verbs") === 0 ? [required(`${at}.verbs`, "verbs must contain at least one value")] : [];
    if (size("nonResourceURLs") > 0) {
      if (!cluster) problems.push(invalidValue(`${at}.nonResourceURLs`, rule["nonResourceURLs"], "namespaced rules cannot apply to non-resource URLs"));
      if (size("apiGroups") + size("resources") + size("resourceNames") === 0) return problems;
      return [...problems, invalidValue(`${at}.nonResourceURLs`, rule["nonResourceURLs"], "rules cannot apply to both regular resources and non-resource URLs")];
    }
    if (size("apiGroups") === 0) problems.push(required(`${at}.apiGroups`, "resource rules must supply at least one api group"));
    if (size("resources") === 0) problems.push(required(`${at}.resources`, "resource rules must supply at least one resource"));
    return problems;
  });
}

export function validateLease(object: JsonObject): FieldProblem[] {
  const spec = asObject(object["spec"]);
  const seconds = spec["leaseDurationSeconds"];
  const moves = spec["leaseTransitions"];
  const problems: FieldProblem[] = [];
  if (typeof seconds === "number" && seconds <= 0) problems.push(invalidValue("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
  if (typeof moves === "number" && moves < 0) problems.push(invalidValue("spec.leaseTransitions", moves, "must be greater than or equal to 0"));
  return problems;
}
