// Owns the admission of pods: service account, its token volume, priority and standing tolerations.
import { asArray, asNumber, asObject, asObjects, asString, type Json, type JsonObject } from "../json.ts";
import { forbidden } from "../status.ts";
import { generateName, metadataOf } from "../verbs/metadata.ts";
import type { Admission } from "./admit.ts";

const TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** One hour and seven seconds: upstream's mark of a token that the server added. */
const TOKEN_LIFE_S = 3607;
/** How long pods stay on a node that is not ready or not reachable. */
const NODE_TOLERATION_S = 300;
const DEFAULT_PRIORITY = 0;
const SYSTEM_PRIORITIES: Record<string, number | undefined> = {
  "system-cluster-critical": 2_000_000_000,
  "system-node-critical": 2_000_001_000,
};

export function admitPod(request: Admission, pod: JsonObject): void {
  const spec = asObject(pod["spec"]);
  const isMirror = asObject(metadataOf(pod)["annotations"])["kubernetes.io/config.mirror"] !== undefined;
  if (!isMirror) addServiceAccount(request, pod, spec);
  addPriority(request, pod, spec);
  addTolerations(spec);
}

function refuse(request: Admission, pod: JsonObject, why: string) {
  return forbidden(request.row, asString(metadataOf(pod)["name"]), why);
}

function addServiceAccount(request: Admission, pod: JsonObject, spec: JsonObject): void {
  const name = asString(spec["serviceAccountName"]) || asString(spec["serviceAccount"]) || "default";
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
  const key = `${request.namespace}/${name}`;
  const account = request.api.store.get("/serviceaccounts", key);
  if (account === undefined) {
    throw refuse(request, pod, `error looking up service account ${key}: serviceaccount "${name}" not found`);
  }
  const wanted = spec["automountServiceAccountToken"] ?? account.object["automountServiceAccountToken"];
  if (wanted !== false) mountToken(spec);
  const secrets = asArray(account.object["imagePullSecrets"]);
  if (spec["imagePullSecrets"] === undefined && secrets.length > 0) spec["imagePullSecrets"] = structuredClone(secrets);
}

function mountToken(spec: JsonObject): void {
  const containers = [...asObjects(spec["initContainers"]), ...asObjects(spec["containers"])];
  const lacking = containers.filter((container) => {
    return !asObjects(container["volumeMounts"]).some((mount) => mount["mountPath"] === TOKEN_MOUNT);
  });
  if (lacking.length === 0) return;
  const name = generateName("kube-api-access-");
  for (const container of lacking) {
    const mounts = asArray(container["volumeMounts"]);
    container["volumeMounts"] = [...mounts, { name, readOnly: true, mountPath: TOKEN_MOUNT }];
  }
  spec["volumes"] = [...asArray(spec["volumes"]), { name, projected: { sources: tokenSources(), defaultMode: 0o644 } }];
}

function tokenSources(): Json[] {
  return [
    { serviceAccountToken: { expirationSeconds: TOKEN_LIFE_S, path: "token" } },
    { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
    { downwardAPI: { items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }] } },
  ];
}

function addPriority(request: Admission, pod: JsonObject, spec: JsonObject): void {
  const className = asString(spec["priorityClassName"]);
  let priority = DEFAULT_PRIORITY;
  let preemption: Json = "PreemptLowerPriority";
  if (className === "") {
    const fallback = request.api.store
      .list("scheduling.k8s.io/priorityclasses")
      .find((entry) => entry.object["globalDefault"] === true);
    if (fallback !== undefined) {
      spec["priorityClassName"] = asString(metadataOf(fallback.object)["name"]);
      priority = asNumber(fallback.object["value"]);
      preemption = fallback.object["preemptionPolicy"] ?? preemption;
    }
  } else {
    const entry = request.api.store.get("scheduling.k8s.io/priorityclasses", className);
    const value = entry === undefined ? SYSTEM_PRIORITIES[className] : asNumber(entry.object["value"]);
    if (value === undefined) throw refuse(request, pod, `no PriorityClass with name ${className} was found`);
    priority = value;
    preemption = entry?.object["preemptionPolicy"] ?? preemption;
  }
  const asked = spec["priority"];
  if (typeof asked === "number" && asked !== priority) {
    const text = `the integer value of priority (${asked}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`;
    throw refuse(request, pod, text);
  }
  spec["priority"] = priority;
  if (spec["preemptionPolicy"] === undefined) spec["preemptionPolicy"] = preemption;
}

function addTolerations(spec: JsonObject): void {
  const tolerations = asObjects(spec["tolerations"]);
  for (const key of ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]) {
    const covered = tolerations.some((toleration) => {
      const fitsKey = toleration["key"] === key || (toleration["key"] === undefined && toleration["operator"] === "Exists");
      return fitsKey && (toleration["effect"] === undefined || toleration["effect"] === "" || toleration["effect"] === "NoExecute");
    });
    if (!covered) tolerations.push({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: NODE_TOLERATION_S });
  }
  spec["tolerations"] = tolerations;
}
