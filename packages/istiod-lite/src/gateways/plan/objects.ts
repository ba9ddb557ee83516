// Owns which objects make a waypoint run: Gateway in, ServiceAccount, Deployment, Service (and what overlays add) out. Pure; protocol.md §10.6.
import { err, ok, problem, type Problem, type Result } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { overlay, type Json } from "./overlay.ts";

/** Classes that are ours, by the controller that Istio gives them. */
export const WAYPOINT_CLASSES: ReadonlySet<string> = new Set(["istio-waypoint", "ambit-waypoint"]);
export const MANAGED_LABEL = "gateway.istio.io/managed";
export const MANAGED_VALUE = "istio.io-mesh-controller";
/** An older or newer controller of the same objects would see it and keep away. */
const VERSION_ANNOTATION = "gateway.istio.io/controller-version";
const VERSION = "5";
/** Unprivileged: no port of a waypoint is below 1024. */
const UID = 1337;
const GRACE_S = 30;

export interface WaypointTemplate {
  readonly image: string;
  /** `host:port` of the control plane. */
  readonly controlPlane: string;
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly revision: string;
}

/** The ConfigMaps that customise: of the class first, then the Gateway's own (spec.infrastructure.parametersRef). */
export interface Overlays { readonly name: string; readonly data: Readonly<Record<string, string>> }

export interface ManagedObject { readonly kind: ManagedKind; readonly body: KubeObject }
export const MANAGED_KINDS = ["serviceAccounts", "deployments", "services", "horizontalPodAutoscalers", "podDisruptionBudgets"] as const;
export type ManagedKind = (typeof MANAGED_KINDS)[number];
/** Keys of an overlay ConfigMap. */
const OVERLAY_KEYS: Readonly<Record<string, ManagedKind>> = {
  serviceAccount: "serviceAccounts", deployment: "deployments", service: "services",
  horizontalPodAutoscaler: "horizontalPodAutoscalers", podDisruptionBudget: "podDisruptionBudgets",
};

/** Names of the objects of a Gateway. */
export function namesOf(gateway: KubeObject): { readonly name: string; readonly serviceAccount: string } {
  const annotations = gateway.metadata.annotations ?? {};
  const name = annotations["gateway.istio.io/name-override"] ?? gateway.metadata.name;
  return { name, serviceAccount: annotations["gateway.istio.io/service-account"] ?? name };
}

/** `parse` reads YAML. Every problem names ConfigMap and key; one that cannot be read stops all of it. */
export function waypointObjects(gateway: KubeObject, template: WaypointTemplate, overlays: readonly Overlays[], parse: (yaml: string) => unknown): Result<readonly ManagedObject[]> {
  const problems: Problem[] = [];
  const objects = new Map<ManagedKind, Json>(baseObjects(gateway, template));
  for (const { name, data } of overlays)
    for (const [key, text] of Object.entries(data)) {
      const kind = OVERLAY_KEYS[key];
      const path = `ConfigMap ${name}: ${key}`;
      if (kind === undefined) { problems.push(problem(path, `is none of ${Object.keys(OVERLAY_KEYS).join(", ")}`)); continue; }
      const patch = read(text, parse);
      if (typeof patch === "string") { problems.push(problem(path, patch)); continue; }
      const merged = overlay(objects.get(kind) ?? emptyObject(kind, gateway), patch);
      problems.push(...merged.problems.map((p) => problem(`${path}.${p.path}`, p.message)));
      objects.set(kind, merged.value);
    }
  if (problems.length > 0) return err(problems);
  return ok([...objects].map(([kind, body]) => ({ kind, body: identified(kind, body, gateway) })));
}

function read(text: string, parse: (yaml: string) => unknown): Json | string {
  try {
    const value = parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : "is not a mapping";
  } catch (error) {
    return `is not YAML: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function baseObjects(gateway: KubeObject, t: WaypointTemplate): [ManagedKind, Json][] {
  const { name, serviceAccount } = namesOf(gateway);
  const spec = record(gateway["spec"]);
  const selector = { "gateway.networking.k8s.io/gateway-name": gateway.metadata.name };
  const infrastructure = record(spec["infrastructure"]);
  const given = { labels: strings(infrastructure["labels"]), annotations: strings(infrastructure["annotations"]) };
  const podLabels = {
    ...given.labels, ...selector, "gateway.networking.k8s.io/gateway-class-name": String(spec["gatewayClassName"] ?? ""), [MANAGED_LABEL]: MANAGED_VALUE,
    "sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none",
    "service.istio.io/canonical-name": name, "service.istio.io/canonical-revision": "latest", "istio.io/rev": t.revision,
  };
  const deployment = {
    metadata: { labels: given.labels, annotations: given.annotations },
    spec: {
      selector: { matchLabels: selector },
      // A new one is ready before an old one goes.
      strategy: { rollingUpdate: { maxSurge: "100%", maxUnavailable: 0 } },
      template: {
        metadata: { labels: podLabels, annotations: { ...given.annotations, "prometheus.io/path": "/stats/prometheus", "prometheus.io/port": "15020", "prometheus.io/scrape": "true" } },
        spec: podSpec(t, gateway.metadata.name, serviceAccount),
      },
    },
  };
  const listeners = Array.isArray(spec["listeners"]) ? spec["listeners"].map(record) : [];
  const service = {
    metadata: { labels: given.labels, annotations: { ...given.annotations, "networking.istio.io/traffic-distribution": "PreferClose" } },
    spec: {
      type: gateway.metadata.annotations?.["networking.istio.io/service-type"] ?? "ClusterIP", ipFamilyPolicy: "PreferDualStack", selector,
      ports: [
        { name: "status-port", port: 15021, protocol: "TCP", appProtocol: "tcp" },
        ...listeners.map((l) => ({ name: String(l["name"]), port: Number(l["port"]), protocol: "TCP", appProtocol: String(l["protocol"]).toLowerCase() })),
      ],
    },
  };
  return [
    ["serviceAccounts", { metadata: { labels: given.labels, annotations: given.annotations } }],
    ["deployments", deployment], ["services", service],
  ];
}

function podSpec(t: WaypointTemplate, gatewayName: string, serviceAccount: string): Json {
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    serviceAccountName: serviceAccount, automountServiceAccountToken: false, terminationGracePeriodSeconds: GRACE_S,
    securityContext: { seccompProfile: { type: "RuntimeDefault" } },
    containers: [{
      name: "istio-proxy", image: t.image, imagePullPolicy: "IfNotPresent", args: ["proxy", "waypoint"],
      ports: [
        { name: "mesh", containerPort: 15008, protocol: "TCP" }, { name: "metrics", containerPort: 15020, protocol: "TCP" },
        { name: "status-port", containerPort: 15021, protocol: "TCP" },
      ],
      readinessProbe: { httpGet: { path: "/healthz/ready", port: 15021 }, periodSeconds: 2, failureThreshold: 4 },
      startupProbe: { httpGet: { path: "/healthz/ready", port: 15021 }, periodSeconds: 1, failureThreshold: 60 },
      env: [
        { name: "GATEWAY_NAME", value: gatewayName }, { name: "XDS_ADDRESS", value: t.controlPlane }, { name: "CA_ADDRESS", value: t.controlPlane },
        { name: "ISTIO_META_CLUSTER_ID", value: t.clusterId }, { name: "TRUST_DOMAIN", value: t.trustDomain },
        // Most of the grace period: long streams may end by themselves. A waypoint without open requests ends at once.
        { name: "TERMINATION_DRAIN_DURATION", value: `${GRACE_S - 5}s` },
        // What is under way at once fits into this; larger ones cost cache misses and twice the memory (docs/performance.md).
        { name: "NODE_OPTIONS", value: "--max-semi-space-size=4" },
        field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace"), field("NODE_NAME", "spec.nodeName"),
        field("INSTANCE_IP", "status.podIP"), field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
      ],
      resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "1Gi" } },
      securityContext: {
        allowPrivilegeEscalation: false, privileged: false, readOnlyRootFilesystem: true, runAsNonRoot: true, runAsUser: UID, runAsGroup: UID, capabilities: { drop: ["ALL"] },
      },
      volumeMounts: [
        { name: "istiod-ca-cert", mountPath: "/var/run/secrets/istio" }, { name: "istio-token", mountPath: "/var/run/secrets/tokens" }, { name: "tmp", mountPath: "/tmp" },
      ],
    }],
    volumes: [
      { name: "istio-token", projected: { sources: [{ serviceAccountToken: { path: "istio-token", audience: "istio-ca", expirationSeconds: 43_200 } }] } },
      { name: "istiod-ca-cert", configMap: { name: "istio-ca-root-cert" } },
      { name: "tmp", emptyDir: {} },
    ],
  };
}

/** Only overlays make these; what they point at is ours to say. */
function emptyObject(kind: ManagedKind, gateway: KubeObject): Json {
  const { name } = namesOf(gateway);
  if (kind === "horizontalPodAutoscalers") return { spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name }, maxReplicas: 1 } };
  return { spec: { selector: { matchLabels: { "gateway.networking.k8s.io/gateway-name": gateway.metadata.name } } } };
}

const TYPES: Readonly<Record<ManagedKind, readonly [string, string]>> = {
  serviceAccounts: ["v1", "ServiceAccount"], deployments: ["apps/v1", "Deployment"], services: ["v1", "Service"],
  horizontalPodAutoscalers: ["autoscaling/v2", "HorizontalPodAutoscaler"], podDisruptionBudgets: ["policy/v1", "PodDisruptionBudget"],
};

/** Name, owner and labels are not for overlays to change. */
function identified(kind: ManagedKind, body: Json, gateway: KubeObject): KubeObject {
  const { name, serviceAccount } = namesOf(gateway);
  const metadata = record(body["metadata"]);
  const [apiVersion, type] = TYPES[kind];
  return {
    ...body, apiVersion, kind: type,
    metadata: {
      name: kind === "serviceAccounts" ? serviceAccount : name, namespace: gateway.metadata.namespace ?? "",
      labels: { ...strings(metadata["labels"]), "gateway.networking.k8s.io/gateway-name": gateway.metadata.name, [MANAGED_LABEL]: MANAGED_VALUE },
      annotations: { ...strings(metadata["annotations"]), [VERSION_ANNOTATION]: VERSION },
      ownerReferences: [{ apiVersion: gateway.apiVersion ?? "gateway.networking.k8s.io/v1", kind: "Gateway", name: gateway.metadata.name, uid: gateway.metadata.uid ?? "" }],
    },
  };
}

export const record = (v: unknown): Record<string, unknown> => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : {});
const strings = (v: unknown): Record<string, string> => Object.fromEntries(Object.entries(record(v)).map(([k, x]) => [k, String(x)]));
