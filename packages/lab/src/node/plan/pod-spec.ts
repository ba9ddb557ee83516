// Owns the part of a pod's spec that a node acts on: its shape, and what this node refuses to run.
import type { ObjectMeta, OwnerReference } from "@ambit/kube";

export interface KeyItem { readonly key: string; readonly path: string; readonly mode?: number }
export interface FieldRef { readonly fieldPath: string }
export interface ResourceFieldRef { readonly resource: string; readonly containerName?: string; readonly divisor?: string | number }
export interface KeyRef { readonly name?: string; readonly key: string; readonly optional?: boolean }
export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly fieldRef?: FieldRef; readonly resourceFieldRef?: ResourceFieldRef; readonly configMapKeyRef?: KeyRef; readonly secretKeyRef?: KeyRef };
}
export interface EnvFrom { readonly prefix?: string; readonly configMapRef?: { readonly name: string; readonly optional?: boolean }; readonly secretRef?: { readonly name: string; readonly optional?: boolean } }

export interface DownwardFile { readonly path: string; readonly mode?: number; readonly fieldRef?: FieldRef; readonly resourceFieldRef?: ResourceFieldRef }
export interface ProjectionSource {
  readonly configMap?: { readonly name: string; readonly items?: readonly KeyItem[]; readonly optional?: boolean };
  readonly secret?: { readonly name: string; readonly items?: readonly KeyItem[]; readonly optional?: boolean };
  readonly downwardAPI?: { readonly items?: readonly DownwardFile[] };
  readonly serviceAccountToken?: { readonly path: string; readonly audience?: string; readonly expirationSeconds?: number };
}
export interface Volume {
  readonly name: string;
  readonly configMap?: { readonly name: string; readonly items?: readonly KeyItem[]; readonly optional?: boolean; readonly defaultMode?: number };
  readonly secret?: { readonly secretName: string; readonly items?: readonly KeyItem[]; readonly optional?: boolean; readonly defaultMode?: number };
  readonly projected?: { readonly sources?: readonly ProjectionSource[]; readonly defaultMode?: number };
  readonly downwardAPI?: { readonly items?: readonly DownwardFile[]; readonly defaultMode?: number };
  readonly emptyDir?: { readonly medium?: string; readonly sizeLimit?: string };
  readonly hostPath?: { readonly path: string; readonly type?: string };
}
export interface VolumeMount {
  readonly name: string; readonly mountPath: string; readonly readOnly?: boolean;
  readonly subPath?: string; readonly subPathExpr?: string; readonly mountPropagation?: string;
}

export interface HttpGet { readonly path?: string; readonly port: number | string; readonly host?: string; readonly scheme?: string; readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[] }
export interface Handler {
  readonly exec?: { readonly command?: readonly string[] };
  readonly httpGet?: HttpGet;
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string };
  readonly grpc?: { readonly port: number; readonly service?: string };
  readonly sleep?: { readonly seconds: number };
}
export interface Probe extends Handler {
  readonly initialDelaySeconds?: number; readonly timeoutSeconds?: number; readonly periodSeconds?: number;
  readonly successThreshold?: number; readonly failureThreshold?: number; readonly terminationGracePeriodSeconds?: number;
}

export interface SecurityContext {
  readonly runAsUser?: number; readonly runAsGroup?: number; readonly runAsNonRoot?: boolean; readonly privileged?: boolean;
  readonly readOnlyRootFilesystem?: boolean; readonly allowPrivilegeEscalation?: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
}
export interface ContainerSpec {
  readonly name: string;
  readonly image?: string;
  readonly imagePullPolicy?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env?: readonly EnvVar[];
  readonly envFrom?: readonly EnvFrom[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number; readonly protocol?: string; readonly hostPort?: number; readonly hostIP?: string }[];
  readonly volumeMounts?: readonly VolumeMount[];
  readonly livenessProbe?: Probe; readonly readinessProbe?: Probe; readonly startupProbe?: Probe;
  readonly lifecycle?: { readonly postStart?: Handler; readonly preStop?: Handler };
  readonly securityContext?: SecurityContext;
  /** Only init containers: `Always` makes a sidecar. */
  readonly restartPolicy?: string;
  readonly terminationMessagePath?: string; readonly terminationMessagePolicy?: string;
  readonly resources?: { readonly limits?: Readonly<Record<string, string | number>>; readonly requests?: Readonly<Record<string, string | number>> };
}
export interface NodePodSpec {
  readonly nodeName?: string; readonly serviceAccountName?: string; readonly hostNetwork?: boolean; readonly restartPolicy?: string;
  readonly hostname?: string; readonly subdomain?: string; readonly setHostnameAsFQDN?: boolean;
  readonly dnsPolicy?: string;
  readonly dnsConfig?: { readonly nameservers?: readonly string[]; readonly searches?: readonly string[]; readonly options?: readonly { readonly name: string; readonly value?: string }[] };
  readonly hostAliases?: readonly { readonly ip: string; readonly hostnames?: readonly string[] }[];
  readonly enableServiceLinks?: boolean; readonly terminationGracePeriodSeconds?: number;
  readonly containers: readonly ContainerSpec[]; readonly initContainers?: readonly ContainerSpec[];
  readonly volumes?: readonly Volume[];
  readonly securityContext?: { readonly runAsUser?: number; readonly runAsGroup?: number; readonly runAsNonRoot?: boolean; readonly fsGroup?: number; readonly supplementalGroups?: readonly number[] };
  readonly readinessGates?: readonly { readonly conditionType: string }[];
}
export interface NodePod {
  readonly metadata: ObjectMeta & { ownerReferences?: OwnerReference[] };
  readonly spec: NodePodSpec;
  readonly status?: Readonly<Record<string, unknown>>;
}

export const isSidecar = (c: ContainerSpec): boolean => c.restartPolicy === "Always";

const VOLUME_KINDS = ["configMap", "secret", "projected", "downwardAPI", "emptyDir", "hostPath"];
const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const UID = /^[A-Za-z0-9][-A-Za-z0-9]{0,62}$/;

/** What is wrong with this pod for this node, one sentence each with its path; empty = it can run. */
export function refusals(pod: NodePod): string[] {
  const out: string[] = [];
  const { spec, metadata } = pod;
  if (!UID.test(metadata.uid ?? "")) out.push("metadata.uid: not a name this node can use as a folder");
  if (!Array.isArray(spec?.containers) || spec.containers.length === 0) return [...out, "spec.containers: at least one container is needed"];
  const raw = spec as unknown as Record<string, unknown>;
  for (const field of ["hostPID", "hostIPC", "shareProcessNamespace"]) if (raw[field] === true) out.push(`spec.${field}: not supported by the lab's nodes`);
  const volumes = new Set<string>();
  for (const [i, v] of (spec.volumes ?? []).entries()) {
    const kinds = Object.keys(v).filter((k) => k !== "name");
    if (!NAME.test(v.name)) out.push(`spec.volumes[${i}].name: "${v.name}" is not a label`);
    const unknown = kinds.filter((k) => !VOLUME_KINDS.includes(k));
    if (unknown.length > 0) out.push(`spec.volumes[${i}]: volume type "${unknown.join(", ")}" is not supported by the lab's nodes`);
    for (const [j, s] of (v.projected?.sources ?? []).entries())
      for (const k of Object.keys(s)) if (!["configMap", "secret", "downwardAPI", "serviceAccountToken"].includes(k)) out.push(`spec.volumes[${i}].projected.sources[${j}].${k}: not supported by the lab's nodes`);
    volumes.add(v.name);
  }
  const containers: [string, ContainerSpec][] = [
    ...(spec.initContainers ?? []).map((c, i): [string, ContainerSpec] => [`spec.initContainers[${i}]`, c]),
    ...spec.containers.map((c, i): [string, ContainerSpec] => [`spec.containers[${i}]`, c]),
  ];
  for (const [path, c] of containers) {
    if (!NAME.test(c.name)) out.push(`${path}.name: "${c.name}" is not a label`);
    if (c.image === undefined || c.image === "") out.push(`${path}.image: is required`);
    const extra = c as unknown as Record<string, unknown>;
    if (extra["volumeDevices"] !== undefined) out.push(`${path}.volumeDevices: not supported by the lab's nodes`);
    for (const [i, m] of (c.volumeMounts ?? []).entries()) {
      if (!volumes.has(m.name)) out.push(`${path}.volumeMounts[${i}].name: no volume "${m.name}"`);
      if (!m.mountPath.startsWith("/") || m.mountPath.split("/").includes("..") || m.mountPath.includes("\0")) out.push(`${path}.volumeMounts[${i}].mountPath: "${m.mountPath}" is not an absolute path without ".."`);
      if (m.mountPropagation === "Bidirectional") out.push(`${path}.volumeMounts[${i}].mountPropagation: Bidirectional is not supported by the lab's nodes`);
    }
  }
  return out;
}
