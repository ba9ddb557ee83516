// Owns the codes of `ambit check`: what each one is called and how bad it is.
export type Level = "Error" | "Warning" | "Info";

interface CodeOf { readonly name: string; readonly level: Level; readonly about: string }

/** AMB01: what must hold before; 02: parts of the mesh; 03: certificates; 04: enrolment; 05: networks; 06: waypoints and routes; 07: policies. */
export const CODES = {
  AMB0101: { name: "ApiServerTooOld", level: "Error", about: "the API server lacks what the mesh's CRDs need" },
  AMB0102: { name: "PermissionMissing", level: "Error", about: "you may not create what an installation creates" },
  AMB0103: { name: "CrdVersionMissing", level: "Error", about: "a CRD of the Gateway API or of Istio is there, but not in the version that the mesh reads" },
  AMB0104: { name: "OtherMesh", level: "Error", about: "another mesh or another istiod runs in the cluster" },
  AMB0105: { name: "CiliumSettings", level: "Error", about: "Cilium balances Services in sockets, removes other CNI plugins, or masquerades probes" },
  AMB0106: { name: "NodeUnfit", level: "Error", about: "a node's kernel, operating system or processor is not one that the mesh runs on" },
  AMB0107: { name: "PodSecurityRefuses", level: "Error", about: "Pod Security of the mesh's namespace refuses its node parts" },
  AMB0108: { name: "ClockDiffers", level: "Warning", about: "clocks differ: certificates will seem expired, or not yet valid" },
  AMB0109: { name: "OtherCniChain", level: "Warning", about: "a meta plugin (Multus) owns the node's CNI configuration" },
  AMB0110: { name: "QuotaMissing", level: "Error", about: "GKE: pods of priority system-node-critical are refused without a ResourceQuota" },
  AMB0111: { name: "NotReadable", level: "Warning", about: "something could not be read, so it was not checked" },
  AMB0112: { name: "CalicoSettings", level: "Error", about: "Calico's eBPF data plane balances Services in sockets" },
  AMB0200: { name: "NotInstalled", level: "Error", about: "no part of the mesh is in this cluster" },
  AMB0201: { name: "PartMissing", level: "Error", about: "istiod, ztunnel or istio-cni-node is not installed" },
  AMB0202: { name: "PartNotReady", level: "Error", about: "a pod of the mesh is not ready" },
  AMB0203: { name: "NodeWithoutPart", level: "Error", about: "a node has no ztunnel or no istio-cni-node" },
  AMB0204: { name: "MixedVersions", level: "Warning", about: "parts of the mesh are of different versions" },
  AMB0205: { name: "NoLeader", level: "Error", about: "no istiod holds the Lease: statuses, root certificates and waypoints are not written" },
  AMB0206: { name: "WebhookDead", level: "Error", about: "a webhook of the mesh has nobody behind it, or no roots" },
  AMB0207: { name: "SystemEnrolled", level: "Error", about: "kube-system or the mesh's own namespace is enrolled" },
  AMB0208: { name: "IstiodUnreachable", level: "Error", about: "Service istiod leads to no ready pod, or a NetworkPolicy keeps ztunnels from it" },
  AMB0209: { name: "CniPluginNotInPlace", level: "Error", about: "the CNI plugin is not in a node's chain" },
  AMB0210: { name: "PartUnreachable", level: "Warning", about: "a ztunnel could not be asked for what it knows" },
  AMB0301: { name: "AuthorityExpired", level: "Error", about: "the certificate authority has expired" },
  AMB0302: { name: "AuthorityExpires", level: "Warning", about: "the certificate authority expires within 30 days" },
  AMB0303: { name: "RootMissing", level: "Error", about: "a namespace has no istio-ca-root-cert" },
  AMB0304: { name: "RootOutdated", level: "Error", about: "istio-ca-root-cert of a namespace is not that of the mesh" },
  AMB0305: { name: "LeafExpired", level: "Error", about: "a workload's certificate has expired, or will within the hour" },
  AMB0306: { name: "LeafMissing", level: "Error", about: "a workload gets no certificate" },
  AMB0307: { name: "TrustDomainDiffers", level: "Error", about: "certificates or policies name another trust domain than the mesh's" },
  AMB0401: { name: "PodNotEnrolled", level: "Error", about: "a pod should be in the mesh and is not" },
  AMB0402: { name: "PodCannotEnrol", level: "Warning", about: "a pod of an enrolled namespace stays outside: host network" },
  AMB0403: { name: "SidecarBesideAmbient", level: "Warning", about: "a sidecar, or its injection, in an enrolled namespace" },
  AMB0404: { name: "ModeUnknown", level: "Error", about: "istio.io/dataplane-mode has a value that nobody knows" },
  AMB0501: { name: "TunnelPortBlocked", level: "Error", about: "NetworkPolicies let applications talk, but not port 15008" },
  AMB0502: { name: "ProbeBlocked", level: "Warning", about: "NetworkPolicies keep the kubelet's probes from an enrolled pod" },
  AMB0503: { name: "StrictCutsApiServer", level: "Error", about: "the API server calls an enrolled pod that takes mutual TLS only" },
  AMB0504: { name: "StrictCutsOutsiders", level: "Warning", about: "clients outside the mesh reach for pods that take mutual TLS only" },
  AMB0601: { name: "WaypointNotProgrammed", level: "Error", about: "a waypoint does not run" },
  AMB0602: { name: "WaypointMissing", level: "Error", about: "istio.io/use-waypoint names a Gateway that is not there: traffic is refused" },
  AMB0603: { name: "RouteOnOtherProtocol", level: "Error", about: "an HTTP route is for a port that declares another protocol" },
  AMB0604: { name: "HostTwice", level: "Warning", about: "two objects define the same host" },
  AMB0605: { name: "RouteWithoutWaypoint", level: "Warning", about: "an HTTP route is for a Service that no waypoint serves" },
  AMB0701: { name: "NegativeCondition", level: "Warning", about: "the control plane does not do what an object says" },
  AMB0702: { name: "PolicyUnenforced", level: "Warning", about: "nobody enforces a policy" },
  AMB0703: { name: "NotUnderstood", level: "Error", about: "the mesh does not understand an object" },
} as const satisfies Record<string, CodeOf>;
export type Code = keyof typeof CODES;

export interface Finding {
  readonly code: Code;
  readonly name: string;
  readonly level: Level;
  /** `Kind namespace/name`, several with commas. */
  readonly where: string;
  readonly what: string;
  /** What to do about it: a sentence, a command where one is enough. */
  readonly mend: string;
}

export const finding = (code: Code, where: string, what: string, mend: string, level: Level = CODES[code].level): Finding => ({ code, name: CODES[code].name, level, where, what, mend });

/** More names than this help nobody. */
const NAMES_MAX = 5;
export const names = (all: readonly string[]): string => (all.length <= NAMES_MAX ? all.join(", ") : `${all.slice(0, NAMES_MAX).join(", ")} and ${all.length - NAMES_MAX} more`);
