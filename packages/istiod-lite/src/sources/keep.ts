// Owns what is thrown away of objects on their way in: the bulk that no translation reads. Named, not guessed: what is not listed here is kept.
import type { KubeObject } from "@ambit/kube";
import { CA_KEY } from "../collections/waypoint/ca-bundle.ts";

/** Who wrote which field when: often half of an object. */
const METADATA: readonly string[] = ["managedFields"];
/** kubectl's copy of the whole object. */
const ANNOTATIONS: readonly string[] = ["kubectl.kubernetes.io/last-applied-configuration"];
const POD_SPEC: readonly string[] = ["volumes", "tolerations", "affinity", "topologySpreadConstraints", "imagePullSecrets", "ephemeralContainers", "resources"];
const POD_STATUS: readonly string[] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses", "resourceClaimStatuses", "resize"];
const CONTAINER: readonly string[] = ["env", "envFrom", "resources", "volumeMounts", "volumeDevices", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "command", "args",
  "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "resizePolicy"];
const NODE_STATUS: readonly string[] = ["images", "volumesInUse", "volumesAttached", "capacity", "allocatable", "nodeInfo", "config"];

/** Of a ConfigMap: all that is ever read. */
const CONFIG_MAP_KEYS: readonly string[] = ["mesh", "meshNetworks", CA_KEY];

/** Changes the object in place: it has just come off the wire and nobody else has it. What has an unexpected shape stays for the check that names it. */
export function keepNeeded(object: KubeObject): KubeObject {
  drop(object.metadata, METADATA);
  drop(object.metadata?.annotations, ANNOTATIONS);
  if (object.kind === "Pod" && object.apiVersion === "v1") {
    const spec = record(object["spec"]);
    drop(spec, POD_SPEC);
    for (const list of [spec?.["containers"], spec?.["initContainers"]]) if (Array.isArray(list)) for (const c of list) drop(c, CONTAINER);
    drop(object["status"], POD_STATUS);
  }
  if (object.kind === "Node" && object.apiVersion === "v1") drop(object["status"], NODE_STATUS);
  if (object.kind === "ConfigMap" && object.apiVersion === "v1") {
    drop(object, ["binaryData"]);
    drop(object["data"], Object.keys(record(object["data"]) ?? {}).filter((key) => !CONFIG_MAP_KEYS.includes(key)));
  }
  return object;
}

function drop(from: unknown, fields: readonly string[]): void {
  const o = record(from);
  if (o !== undefined) for (const field of fields) if (field in o) delete o[field];
}

const record = (v: unknown): Record<string, unknown> | undefined => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined);
