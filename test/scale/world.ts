// Owns the cluster that the scale run pretends: Kubernetes objects as an API server stores them, with everything it adds to them.

export interface Size {
  readonly pods: number;
  readonly services: number;
  /** One ztunnel on each. */
  readonly nodes: number;
}

type Json = Record<string, unknown>;
/** Path of a collection at the API server, as in `/api/v1/pods`, to the kind of its items. */
export interface WorldKind { readonly path: string; readonly apiVersion: string; readonly kind: string; readonly objects: Json[] }

const NAMESPACES = 20;
const CREATED = "2026-01-01T00:00:00Z";
const POLICIES = 20;

export const serviceOf = (size: Size, pod: number): number => pod % size.services;
export const namespaceOf = (service: number): string => `team-${service % NAMESPACES}`;
export const nodeOf = (size: Size, pod: number): string => `node-${Math.floor((pod * size.nodes) / size.pods)}`;
export const podName = (size: Size, pod: number): string => `app-${serviceOf(size, pod)}-6d9c7f5b8d-${pod.toString(36).padStart(5, "0")}`;
export const accountOf = (size: Size, pod: number): string => `app-${serviceOf(size, pod)}`;
export const podUid = (size: Size, pod: number): string => `Kubernetes//Pod/${namespaceOf(serviceOf(size, pod))}/${podName(size, pod)}`;
const uidOf = (prefix: number, n: number): string => `${prefix.toString(16).padStart(8, "0")}-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
const ipOf = (pod: number): string => `10.${16 + (pod >> 16)}.${(pod >> 8) & 255}.${pod & 255}`;
export const ztunnelOf = (node: number): { name: string; uid: string } => ({ name: `ztunnel-${node}`, uid: uidOf(9, node) });

/** What a server-side apply leaves in every object: it is read and thrown away, and that must be paid for. */
const managed = (manager: string, fields: Json): Json => ({ manager, operation: "Update", apiVersion: "v1", time: CREATED, fieldsType: "FieldsV1", fieldsV1: fields });
const POD_FIELDS = { "f:metadata": { "f:generateName": {}, "f:labels": { ".": {}, "f:app": {}, "f:pod-template-hash": {}, "f:version": {} }, "f:ownerReferences": { ".": {}, "k:{\"uid\":\"x\"}": {} } },
  "f:spec": { "f:containers": { "k:{\"name\":\"app\"}": { ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:ports": { ".": {}, "k:{\"containerPort\":8080}": { ".": {}, "f:containerPort": {} } }, "f:resources": { ".": {}, "f:limits": {}, "f:requests": {} }, "f:readinessProbe": { ".": {}, "f:httpGet": {} } } }, "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {}, "f:serviceAccountName": {} } };
const STATUS_FIELDS = { "f:status": { "f:conditions": { "k:{\"type\":\"ContainersReady\"}": { ".": {}, "f:lastTransitionTime": {}, "f:status": {} }, "k:{\"type\":\"Initialized\"}": { ".": {} }, "k:{\"type\":\"Ready\"}": { ".": {} } }, "f:containerStatuses": {}, "f:hostIP": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": { ".": {} }, "f:startTime": {} } };

export function podObject(size: Size, pod: number): Json {
  const service = serviceOf(size, pod);
  const account = accountOf(size, pod);
  const ip = ipOf(pod);
  const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: `app-${service}-6d9c7f5b8d`, uid: uidOf(4, service), controller: true, blockOwnerDeletion: true };
  const condition = (type: string): Json => ({ type, status: "True", lastProbeTime: null, lastTransitionTime: CREATED });
  return {
    metadata: { name: podName(size, pod), generateName: `app-${service}-6d9c7f5b8d-`, namespace: namespaceOf(service), uid: uidOf(1, pod), resourceVersion: String(pod + 1), creationTimestamp: CREATED,
      labels: { app: `app-${service}`, "pod-template-hash": "6d9c7f5b8d", version: "v1" }, annotations: { "ambient.istio.io/redirection": "enabled" }, ownerReferences: [owner],
      managedFields: [managed("kube-controller-manager", POD_FIELDS), { ...managed("kubelet", STATUS_FIELDS), subresource: "status" }] },
    spec: { nodeName: nodeOf(size, pod), serviceAccountName: account, serviceAccount: account, restartPolicy: "Always", dnsPolicy: "ClusterFirst", schedulerName: "default-scheduler", terminationGracePeriodSeconds: 30, securityContext: {}, enableServiceLinks: true, preemptionPolicy: "PreemptLowerPriority", priority: 0,
      volumes: [{ name: "kube-api-access-abcde", projected: { defaultMode: 420, sources: [{ serviceAccountToken: { expirationSeconds: 3607, path: "token" } }, { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } }] } }],
      containers: [{ name: "app", image: `shop.example/app-${service}:v1`, imagePullPolicy: "IfNotPresent", ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }], env: [{ name: "PORT", value: "8080" }, { name: "POD_IP", valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "status.podIP" } } }],
        resources: { limits: { memory: "256Mi" }, requests: { cpu: "100m", memory: "128Mi" } }, readinessProbe: { httpGet: { path: "/ready", port: 8080, scheme: "HTTP" }, periodSeconds: 5, timeoutSeconds: 1, successThreshold: 1, failureThreshold: 3 },
        volumeMounts: [{ name: "kube-api-access-abcde", readOnly: true, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" }], terminationMessagePath: "/dev/termination-log", terminationMessagePolicy: "File" }],
      tolerations: [{ key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 }, { key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 }] },
    status: { phase: "Running", podIP: ip, podIPs: [{ ip }], hostIP: "192.168.0.1", hostIPs: [{ ip: "192.168.0.1" }], startTime: CREATED, qosClass: "Burstable", conditions: ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition),
      containerStatuses: [{ name: "app", state: { running: { startedAt: CREATED } }, lastState: {}, ready: true, started: true, restartCount: 0, image: `shop.example/app-${service}:v1`, imageID: `shop.example/app-${service}@sha256:${"ab".repeat(32)}`, containerID: `containerd://${"cd".repeat(32)}` }] },
  };
}

/** The same pod, told apart from every earlier one on the wire: its revision label carries the number of the change. */
export function changedPod(object: Json, change: number, resourceVersion: number): Json {
  const metadata = object["metadata"] as Json;
  return { ...object, metadata: { ...metadata, resourceVersion: String(resourceVersion), labels: { ...(metadata["labels"] as Json), version: `v${change}` } } };
}

function ztunnelPod(node: number): Json {
  const { name, uid } = ztunnelOf(node);
  const ip = `192.168.${node >> 8}.${node & 255}`;
  return { metadata: { name, namespace: "istio-system", uid, resourceVersion: "1", creationTimestamp: CREATED, labels: { app: "ztunnel" } },
    spec: { nodeName: `node-${node}`, serviceAccountName: "ztunnel", containers: [{ name: "istio-proxy", image: "x" }] },
    status: { phase: "Running", podIP: ip, podIPs: [{ ip }], conditions: [{ type: "Ready", status: "True" }] } };
}

export function world(size: Size): WorldKind[] {
  const upTo = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
  const meta = (name: string, n: number, rest: Json = {}): Json => ({ name, uid: uidOf(7, n), resourceVersion: String(n + 1), creationTimestamp: CREATED, ...rest });
  const members: number[][] = upTo(size.services, () => []);
  for (let pod = 0; pod < size.pods; pod++) members[serviceOf(size, pod)]?.push(pod);
  const service = (s: number): Json => ({ metadata: meta(`app-${s}`, s, { namespace: namespaceOf(s), labels: { app: `app-${s}` }, managedFields: [managed("kubectl", { "f:spec": { "f:ports": {}, "f:selector": {} } })] }),
    spec: { type: "ClusterIP", clusterIP: `10.96.${s >> 8}.${s & 255}`, clusterIPs: [`10.96.${s >> 8}.${s & 255}`], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack", internalTrafficPolicy: "Cluster", sessionAffinity: "None", selector: { app: `app-${s}` }, ports: [{ name: "http", port: 80, targetPort: "http", protocol: "TCP" }] }, status: { loadBalancer: {} } });
  const slice = (s: number): Json => ({ metadata: meta(`app-${s}-abcde`, s, { namespace: namespaceOf(s), labels: { "kubernetes.io/service-name": `app-${s}`, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" } }), addressType: "IPv4", ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    endpoints: (members[s] ?? []).map((pod) => ({ addresses: [ipOf(pod)], conditions: { ready: true, serving: true, terminating: false }, nodeName: nodeOf(size, pod), targetRef: { kind: "Pod", namespace: namespaceOf(s), name: podName(size, pod), uid: uidOf(1, pod) } })) });
  const policy = (p: number): Json => ({ metadata: meta(`allow-${p}`, p, { namespace: namespaceOf(p), generation: 1 }), spec: { selector: { matchLabels: { app: `app-${p}` } }, action: "ALLOW", rules: [{ from: [{ source: { namespaces: [namespaceOf(p)] } }] }] } });
  const definition = (plural: string, group: string, kind: string): Json => ({ metadata: meta(`${plural}.${group}`, 1), spec: { group, names: { plural, kind }, versions: [{ name: "v1", served: true, storage: true }] }, status: { conditions: [{ type: "Established", status: "True" }] } });
  const names = ["istio-system", "kube-system", ...upTo(NAMESPACES, (n) => `team-${n}`)];
  return [
    { path: "/api/v1/pods", apiVersion: "v1", kind: "Pod", objects: [...upTo(size.nodes, ztunnelPod), ...upTo(size.pods, (p) => podObject(size, p))] },
    { path: "/api/v1/services", apiVersion: "v1", kind: "Service", objects: upTo(size.services, service) },
    { path: "/api/v1/nodes", apiVersion: "v1", kind: "Node", objects: upTo(size.nodes, (n) => ({ metadata: meta(`node-${n}`, n, { labels: { "topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": `z${n % 3}`, "kubernetes.io/hostname": `node-${n}` } }), spec: {}, status: { nodeInfo: { kubeletVersion: "v1.35.4" } } })) },
    { path: "/api/v1/namespaces", apiVersion: "v1", kind: "Namespace", objects: names.map((n, i) => ({ metadata: meta(n, i, { labels: { "kubernetes.io/metadata.name": n, "istio.io/dataplane-mode": "ambient" } }), status: { phase: "Active" } })) },
    { path: "/apis/discovery.k8s.io/v1/endpointslices", apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", objects: upTo(size.services, slice) },
    { path: "/apis/security.istio.io/v1/authorizationpolicies", apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", objects: upTo(POLICIES, policy) },
    { path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition",
      objects: [definition("authorizationpolicies", "security.istio.io", "AuthorizationPolicy"), definition("peerauthentications", "security.istio.io", "PeerAuthentication"), definition("serviceentries", "networking.istio.io", "ServiceEntry"), definition("workloadentries", "networking.istio.io", "WorkloadEntry"), definition("gateways", "gateway.networking.k8s.io", "Gateway"), definition("gatewayclasses", "gateway.networking.k8s.io", "GatewayClass")] },
  ];
}
