// Owns what the published schema cannot say about pods: names, references between parts, and what may change later.
import { asObject, asObjects, asString, equalJson, isObject, type Json, type JsonObject } from "../json.ts";
import { duplicateValue, forbiddenField, invalidValue, required, unsupportedValue, type FieldProblem } from "../status.ts";
import { validateName } from "../verbs/names.ts";

const RESTART = ["Always", "OnFailure", "Never"];
const DNS = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const PULL = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS = ["SCTP", "TCP", "UDP"];

export function validatePod(pod: JsonObject, before: JsonObject | null): FieldProblem[] {
  const spec = asObject(pod["spec"]);
  return before === null ? validatePodSpec(spec, "spec") : validateChange(spec, asObject(before["spec"]));
}

export function validatePodSpec(spec: JsonObject, at: string): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const containers = asObjects(spec["containers"]);
  if (containers.length === 0) problems.push(required(`${at}.containers`));
  const volumes = new Set(asObjects(spec["volumes"]).map((volume) => asString(volume["name"])));
  const seen = new Set<string>();
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const [i, container] of asObjects(spec[list]).entries()) {
      problems.push(...validateContainer(container, `${at}.${list}[${i}]`, volumes));
      const name = asString(container["name"]);
      if (seen.has(name)) problems.push(duplicateValue(`${at}.${list}[${i}].name`, name));
      seen.add(name);
    }
  }
  problems.push(...validateVolumes(spec, at));
  problems.push(...oneOf(spec["restartPolicy"], RESTART, `${at}.restartPolicy`));
  problems.push(...oneOf(spec["dnsPolicy"], DNS, `${at}.dnsPolicy`));
  const grace = spec["terminationGracePeriodSeconds"];
  if (typeof grace === "number" && grace < 0) {
    problems.push(invalidValue(`${at}.terminationGracePeriodSeconds`, grace, "must be greater than or equal to 0"));
  }
  return problems;
}

function validateVolumes(spec: JsonObject, at: string): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const seen = new Set<string>();
  for (const [i, volume] of asObjects(spec["volumes"]).entries()) {
    const name = asString(volume["name"]);
    const field = `${at}.volumes[${i}].name`;
    if (name === "") problems.push(required(field));
    else problems.push(...validateName("label", name, field));
    if (seen.has(name)) problems.push(duplicateValue(field, name));
    seen.add(name);
    const sources = Object.keys(volume).filter((key) => key !== "name");
    if (sources.length > 1) problems.push(forbiddenField(`${at}.volumes[${i}].${sources[1]}`, "may not specify more than 1 volume type"));
  }
  return problems;
}

function oneOf(value: unknown, allowed: readonly string[], field: string): FieldProblem[] {
  return typeof value === "string" && !allowed.includes(value) ? [unsupportedValue(field, value, allowed)] : [];
}

function validateContainer(container: JsonObject, at: string, volumes: ReadonlySet<string>): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const name = asString(container["name"]);
  if (name === "") problems.push(required(`${at}.name`));
  else problems.push(...validateName("label", name, `${at}.name`));
  const image = asString(container["image"]);
  if (image.trim() === "") problems.push(required(`${at}.image`));
  else if (image !== image.trim()) problems.push(invalidValue(`${at}.image`, image, "must not have leading or trailing whitespace"));
  problems.push(...oneOf(container["imagePullPolicy"], PULL, `${at}.imagePullPolicy`));
  const ports = new Set<string>();
  for (const [i, port] of asObjects(container["ports"]).entries()) {
    const portName = asString(port["name"]);
    if (portName !== "" && ports.has(portName)) problems.push(duplicateValue(`${at}.ports[${i}].name`, portName));
    ports.add(portName);
    problems.push(...validatePort(port["containerPort"], `${at}.ports[${i}].containerPort`));
    problems.push(...oneOf(port["protocol"], PROTOCOLS, `${at}.ports[${i}].protocol`));
  }
  for (const [i, mount] of asObjects(container["volumeMounts"]).entries()) {
    const volume = asString(mount["name"]);
    if (!volumes.has(volume)) {
      problems.push({ field: `${at}.volumeMounts[${i}].name`, type: "FieldValueNotFound", message: `Not found: ${JSON.stringify(volume)}` });
    }
    if (asString(mount["mountPath"]) === "") problems.push(required(`${at}.volumeMounts[${i}].mountPath`));
  }
  for (const [i, variable] of asObjects(container["env"]).entries()) {
    if (asString(variable["name"]) === "") problems.push(required(`${at}.env[${i}].name`));
    if (variable["valueFrom"] !== undefined && asString(variable["value"]) !== "") {
      problems.push(invalidValue(`${at}.env[${i}].valueFrom`, "", "may not be specified when `value` is not empty"));
    }
  }
  problems.push(...validateResources(asObject(container["resources"]), `${at}.resources`));
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    if (isObject(container[probe])) problems.push(...validateProbe(container[probe], `${at}.${probe}`));
  }
  return problems;
}

function validateResources(resources: JsonObject, at: string): FieldProblem[] {
  const limits = asObject(resources["limits"]);
  const over = Object.entries(asObject(resources["requests"])).filter(([name, asked]) => limits[name] !== undefined && amount(asked) > amount(limits[name]));
  return over.map(([name, asked]) => invalidValue(`${at}.requests`, String(asked), `must be less than or equal to ${name} limit of ${String(limits[name])}`));
}

const SUFFIXES: Record<string, number> = { n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 };

/** A quantity as a number, precise enough to compare two of them. */
function amount(quantity: Json | undefined): number {
  const [, digits = "", suffix = ""] = /^([+-]?[\d.]+)([a-zA-Z]*)$/.exec(String(quantity)) ?? [];
  return SUFFIXES[suffix] === undefined ? Number(quantity) : Number(digits) * SUFFIXES[suffix];
}

function validateProbe(probe: JsonObject, at: string): FieldProblem[] {
  const handlers = ["exec", "httpGet", "tcpSocket", "grpc"].filter((key) => probe[key] !== undefined);
  if (handlers.length === 0) return [required(at, "must specify a handler type")];
  if (handlers.length > 1) return [forbiddenField(`${at}.${handlers[1]}`, "may not specify more than 1 handler type")];
  return [];
}

export function validatePort(port: unknown, field: string): FieldProblem[] {
  const fits = typeof port === "number" && port >= 1 && port <= 65535;
  return fits ? [] : [invalidValue(field, port ?? 0, "must be between 1 and 65535, inclusive")];
}

const FIXED =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
  "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

function validateChange(spec: JsonObject, before: JsonObject): FieldProblem[] {
  return equalJson(fixedPart(spec), fixedPart(before)) ? [] : [forbiddenField("spec", FIXED)];
}

function fixedPart(spec: JsonObject): JsonObject {
  const { activeDeadlineSeconds: _a, tolerations: _t, ...rest } = spec;
  const withoutImages = (list: unknown) => (Array.isArray(list) ? list.map((item) => ({ ...asObject(item), image: "" })) : []);
  return { ...rest, containers: withoutImages(spec["containers"]), initContainers: withoutImages(spec["initContainers"]) };
}
