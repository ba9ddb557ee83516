// Owns the defaults of pods and pod templates, as kube-apiserver fills them in.
import { asObject, asObjects, asString, ensureObject, setDefault, type JsonObject } from "../json.ts";

const GRACE_S = 30;
const DEFAULT_FILE_MODE = 0o644;

/** Defaults of a PodSpec; changes it. */
export function defaultPodSpec(spec: JsonObject): void {
  setDefault(spec, "restartPolicy", "Always");
  setDefault(spec, "terminationGracePeriodSeconds", GRACE_S);
  setDefault(spec, "dnsPolicy", "ClusterFirst");
  setDefault(spec, "schedulerName", "default-scheduler");
  ensureObject(spec, "securityContext");
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const container of asObjects(spec[list])) defaultContainer(container, spec);
  }
  for (const volume of asObjects(spec["volumes"])) defaultVolume(volume);
}

function defaultContainer(container: JsonObject, spec: JsonObject): void {
  setDefault(container, "terminationMessagePath", "/dev/termination-log");
  setDefault(container, "terminationMessagePolicy", "File");
  setDefault(container, "imagePullPolicy", pullPolicy(asString(container["image"])));
  ensureObject(container, "resources");
  for (const port of asObjects(container["ports"])) {
    setDefault(port, "protocol", "TCP");
    if (spec["hostNetwork"] === true) setDefault(port, "hostPort", port["containerPort"] ?? 0);
  }
  for (const variable of asObjects(container["env"])) {
    const reference = asObject(variable["valueFrom"])["fieldRef"];
    if (reference !== undefined) setDefault(asObject(reference), "apiVersion", "v1");
  }
  for (const name of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    if (container[name] !== undefined) defaultProbe(asObject(container[name]));
  }
  defaultRequests(asObject(container["resources"]));
  for (const hook of ["postStart", "preStop"]) {
    const get = asObject(asObject(container["lifecycle"])[hook])["httpGet"];
    if (get !== undefined) defaultHttpGet(asObject(get));
  }
}

/** No tag or `latest` means the image may have changed. */
function pullPolicy(image: string): string {
  const name = image.slice(image.lastIndexOf("/") + 1);
  if (name.includes("@")) return "IfNotPresent";
  const tag = name.includes(":") ? name.slice(name.indexOf(":") + 1) : "latest";
  return tag === "latest" ? "Always" : "IfNotPresent";
}

/** A limit without a request is also the request. */
function defaultRequests(resources: JsonObject): void {
  const limits = asObject(resources["limits"]);
  if (Object.keys(limits).length === 0) return;
  const requests = ensureObject(resources, "requests");
  for (const [name, amount] of Object.entries(limits)) setDefault(requests, name, amount);
}

function defaultProbe(probe: JsonObject): void {
  setDefault(probe, "timeoutSeconds", 1);
  setDefault(probe, "periodSeconds", 10);
  setDefault(probe, "successThreshold", 1);
  setDefault(probe, "failureThreshold", 3);
  if (probe["httpGet"] !== undefined) defaultHttpGet(asObject(probe["httpGet"]));
  if (probe["grpc"] !== undefined) setDefault(asObject(probe["grpc"]), "service", "");
}

function defaultHttpGet(get: JsonObject): void {
  setDefault(get, "path", "/");
  setDefault(get, "scheme", "HTTP");
}

function defaultVolume(volume: JsonObject): void {
  const sources = Object.keys(volume).filter((key) => key !== "name");
  if (sources.length === 0) volume["emptyDir"] = {};
  for (const key of ["secret", "configMap", "downwardAPI", "projected"]) {
    if (volume[key] !== undefined) setDefault(asObject(volume[key]), "defaultMode", DEFAULT_FILE_MODE);
  }
  if (volume["hostPath"] !== undefined) setDefault(asObject(volume["hostPath"]), "type", "");
  for (const item of asObjects(asObject(volume["downwardAPI"])["items"])) defaultFieldRef(item);
  for (const source of asObjects(asObject(volume["projected"])["sources"])) {
    const token = source["serviceAccountToken"];
    if (token !== undefined) setDefault(asObject(token), "expirationSeconds", 3600);
    for (const item of asObjects(asObject(source["downwardAPI"])["items"])) defaultFieldRef(item);
  }
}

function defaultFieldRef(item: JsonObject): void {
  if (item["fieldRef"] !== undefined) setDefault(asObject(item["fieldRef"]), "apiVersion", "v1");
}

export function defaultPod(pod: JsonObject): void {
  const spec = ensureObject(pod, "spec");
  setDefault(spec, "enableServiceLinks", true);
  defaultPodSpec(spec);
  for (const condition of asObjects(asObject(pod["status"])["conditions"])) {
    for (const field of ["lastProbeTime", "lastTransitionTime"]) condition[field] ??= null;
  }
}

/** Deleting a pod: nothing to wait for before it runs or after it ended. */
export function podGrace(pod: JsonObject, asked: number | undefined): number {
  const spec = asObject(pod["spec"]);
  const phase = asObject(pod["status"])["phase"];
  const configured = spec["terminationGracePeriodSeconds"];
  if (asString(spec["nodeName"]) === "" || phase === "Succeeded" || phase === "Failed") return 0;
  return asked ?? (typeof configured === "number" ? configured : GRACE_S);
}

/** Status of a new pod: Pending, and its quality of service class. */
export function preparePod(pod: JsonObject, before: JsonObject | null): void {
  if (before === null) pod["status"] = { phase: "Pending", qosClass: qosClass(asObject(pod["spec"])) };
}

function qosClass(spec: JsonObject): string {
  const containers = [...asObjects(spec["containers"]), ...asObjects(spec["initContainers"])];
  let any = false;
  let guaranteed = true;
  for (const container of containers) {
    const resources = asObject(container["resources"]);
    const limits = asObject(resources["limits"]);
    const requests = asObject(resources["requests"]);
    for (const name of ["cpu", "memory"]) {
      if (limits[name] !== undefined || requests[name] !== undefined) any = true;
      if (limits[name] === undefined || requests[name] !== limits[name]) guaranteed = false;
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}
