// Owns a healthy cluster as facts, for tests that break one thing in it.
import type { KubeObject, Node, Pod, Service } from "@ambit/kube";
import type { CertificateFact, Facts, Objects } from "./model/facts.ts";

export const NOW = Date.parse("2026-05-01T12:00:00Z");
export const DAY = 86_400_000;
const MADE = "2026-04-01T00:00:00Z";
type Labels = Readonly<Record<string, string>>;

export const object = (kind: string, key: string, fields: Readonly<Record<string, unknown>> = {}, labels: Labels = {}): KubeObject => {
  const [a = "", b] = key.split("/");
  return { kind, metadata: { name: b ?? a, ...(b === undefined ? {} : { namespace: a }), labels: { ...labels }, creationTimestamp: MADE }, ...fields };
};
export const namespace = (name: string, labels: Labels = {}): KubeObject => object("Namespace", name, {}, { "kubernetes.io/metadata.name": name, ...labels });

interface PodOptions { readonly labels?: Labels; readonly node?: string; readonly ip?: string; readonly captured?: boolean; readonly image?: string; readonly spec?: Readonly<Record<string, unknown>>; readonly container?: Readonly<Record<string, unknown>> }
export function pod(key: string, o: PodOptions = {}): Pod {
  const base = object("Pod", key, {}, o.labels ?? {});
  return {
    ...base, metadata: { ...base.metadata, annotations: o.captured === true ? { "ambient.istio.io/redirection": "enabled" } : {} },
    spec: { nodeName: o.node ?? "node-1", containers: [{ name: "c", image: o.image ?? "shop/app:1", ...o.container }], ...o.spec },
    status: { phase: "Running", podIP: o.ip ?? "10.244.1.9", conditions: [{ type: "Ready", status: "True" }, ...(o.captured === true ? [{ type: "MeshEnrolled", status: "True" as const, reason: "Captured" }] : [])] },
  };
}
export const service = (key: string, app: string, ports: Service["spec"]["ports"], type = "ClusterIP"): Service => ({ ...object("Service", key), spec: { type, selector: { app }, ports: ports ?? [] } });
export const policy = (key: string, spec: Readonly<Record<string, unknown>>): KubeObject => object("AuthorizationPolicy", key, { spec });
export const networkPolicy = (key: string, spec: Readonly<Record<string, unknown>>): KubeObject => object("NetworkPolicy", key, { spec: { podSelector: {}, ...spec } });
const set = (kind: string, key: string, image: string, labels: Labels): KubeObject => object(kind, key, { spec: { template: { spec: { containers: [{ image, env: [] }] } } } }, labels);
const node = (name: string): Node => ({ ...object("Node", name), status: { conditions: [{ type: "Ready", status: "True" }], nodeInfo: { operatingSystem: "linux", architecture: "amd64", kernelVersion: "6.1.0-18-amd64", osImage: "Debian 12" } } });
const crd = (name: string): KubeObject => object("CustomResourceDefinition", name, { spec: { versions: [{ name: "v1", served: true }] } });
export const lease = (key: string, renewed: number, holder: string): KubeObject => object("Lease", key, { spec: { holderIdentity: holder, leaseDurationSeconds: 15, renewTime: new Date(renewed).toISOString() } });

export const certificate = (where: string, o: Partial<CertificateFact> = {}): CertificateFact => ({ where, subject: "O=cluster.local", identities: [], notBefore: NOW - DAY, notAfter: NOW + 3000 * DAY, fingerprint: "AA", ...o });
export const leaf = (account: string, o: Partial<CertificateFact> = {}, domain = "cluster.local"): CertificateFact & { identity: string } => {
  const identity = `spiffe://${domain}/ns/shop/sa/${account}`;
  return { ...certificate("ztunnel", { notAfter: NOW + DAY, fingerprint: account, identities: [identity], ...o }), identity };
};
export const webhook = (name: string, to: string, caBundle = "Q0E=", failurePolicy = "Fail"): KubeObject => {
  const [ns, service] = to.split("/");
  return object("ValidatingWebhookConfiguration", name, { webhooks: [{ name: "a.b.c", failurePolicy, clientConfig: { caBundle, service: { namespace: ns, name: service, port: 443 } } }] });
};

const SPACES = ["kube-system", "istio-system", "shop", "other"];
const MESH_LABELS = { istiod: { app: "istiod", "istio.io/rev": "default" }, ztunnel: { app: "ztunnel" }, cni: { "k8s-app": "istio-cni-node" } };

/** Two nodes, every part, one enrolled namespace with a waypoint, a route, policies and NetworkPolicies that are right. */
function objects(): Objects {
  const perNode = ["node-1", "node-2"].flatMap((n, i) => [
    pod(`istio-system/ztunnel-${i}`, { labels: MESH_LABELS.ztunnel, node: n, ip: `10.244.${i}.2`, image: "ambit/ztunnel:1" }),
    pod(`istio-system/istio-cni-node-${i}`, { labels: MESH_LABELS.cni, node: n, image: "ambit/cni:1", spec: { hostNetwork: true } }),
  ]);
  return {
    nodes: [node("node-1"), node("node-2")],
    namespaces: SPACES.map((n) => namespace(n, n === "shop" ? { "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint" } : {})),
    pods: [
      pod("istio-system/istiod-1", { labels: MESH_LABELS.istiod, image: "ambit/istiod-lite:1" }), ...perNode,
      pod("shop/web", { labels: { app: "web" }, node: "node-2", ip: "10.244.2.3", captured: true, container: { ports: [{ name: "http", containerPort: 8080 }], readinessProbe: { httpGet: { port: "http", path: "/" } } } }),
      pod("shop/client", { labels: { app: "client" }, ip: "10.244.1.3", captured: true }),
      pod("shop/waypoint", { labels: { "gateway.networking.k8s.io/gateway-name": "waypoint", "gateway.networking.k8s.io/gateway-class-name": "istio-waypoint" }, ip: "10.244.1.4", image: "ambit/waypoint:1" }),
      pod("other/plain", { labels: { app: "plain" }, ip: "10.244.1.5" }),
    ],
    services: [service("istio-system/istiod", "istiod", [{ name: "https-dns", port: 15012, targetPort: 15012 }, { name: "https-webhook", port: 443, targetPort: 15017 }]), service("shop/web", "web", [{ name: "http", port: 80, targetPort: 8080 }, { name: "tcp-db", port: 5432 }])],
    configMaps: [object("ConfigMap", "istio-system/istio", { data: { mesh: "trustDomain: cluster.local\n" } }), object("ConfigMap", "istio-system/istio-cni-config", { data: { CHAINED_CNI_PLUGIN: "true" } })],
    deployments: [set("Deployment", "istio-system/istiod", "ambit/istiod-lite:1", MESH_LABELS.istiod)],
    daemonSets: [set("DaemonSet", "istio-system/ztunnel", "ambit/ztunnel:1", MESH_LABELS.ztunnel), set("DaemonSet", "istio-system/istio-cni-node", "ambit/cni:1", MESH_LABELS.cni)],
    leases: [lease("istio-system/istio-status-leader", NOW - 3_000, "istiod-1_x"), lease("kube-node-lease/node-1", NOW - 4_000, "node-1"), lease("kube-node-lease/node-2", NOW - 9_000, "node-2")],
    networkPolicies: [networkPolicy("shop/web", {
      podSelector: { matchLabels: { app: "web" } },
      ingress: [{ from: [{ podSelector: {} }], ports: [{ port: "http" }, { port: 15008 }] }, { from: [{ ipBlock: { cidr: "169.254.7.127/32" } }] }],
    })],
    resourceQuotas: [], mutatingWebhooks: [], validatingWebhooks: [webhook("istio-validator-istio-system", "istio-system/istiod")], felixConfigurations: [],
    apiServices: [object("APIService", "v1.apps", { spec: {} })],
    crds: ["httproutes.gateway.networking.k8s.io", "authorizationpolicies.security.istio.io"].map(crd),
    gateways: [object("Gateway", "shop/waypoint", { spec: { gatewayClassName: "istio-waypoint" }, status: { conditions: [{ type: "Programmed", status: "True" }] } })],
    httpRoutes: [object("HTTPRoute", "shop/web", { spec: { parentRefs: [{ group: "", kind: "Service", name: "web", port: 80 }] }, status: { parents: [{ conditions: [{ type: "Accepted", status: "True" }] }] } })],
    grpcRoutes: [], tlsRoutes: [], tcpRoutes: [], backendTlsPolicies: [],
    authorizationPolicies: [policy("shop/web", { selector: { matchLabels: { app: "web" } }, rules: [{ from: [{ source: { principals: ["cluster.local/ns/shop/sa/client"] } }] }] })],
    peerAuthentications: [object("PeerAuthentication", "shop/default", { spec: { mtls: { mode: "STRICT" } } })],
    requestAuthentications: [], virtualServices: [], destinationRules: [], telemetries: [],
    serviceEntries: [object("ServiceEntry", "shop/api", { spec: { hosts: ["api.example.com"] } })], workloadEntries: [],
  };
}

export function healthy(change: Partial<Facts> = {}): Facts {
  return {
    now: NOW, aheadMs: 120, version: "v1.35.0", objects: objects(), unread: [], forbidden: [],
    authority: [certificate("Secret istio-system/istio-ca-secret")],
    roots: SPACES.map((ns) => ({ namespace: ns, certificates: [certificate(`ConfigMap ${ns}/istio-ca-root-cert`)] })),
    ztunnels: [{ pod: "ztunnel-0", node: "node-1", leaves: [leaf("client")], waiting: [] }, { pod: "ztunnel-1", node: "node-2", leaves: [leaf("web")], waiting: [] }],
    agents: [{ pod: "istio-cni-node-0", node: "node-1" }, { pod: "istio-cni-node-1", node: "node-2" }], misunderstood: [], ...change,
  };
}

/** The healthy cluster with some lists changed. */
export const having = (change: (o: Objects) => Partial<Objects>): Facts => {
  const facts = healthy();
  return { ...facts, objects: { ...facts.objects, ...change(facts.objects) } };
};
/** One object of a list as somebody else has written it. */
export const edited = <T extends KubeObject>(all: readonly T[], key: string, edit: (o: T) => void): T[] => all.map((o) => {
  if ((o.metadata.namespace === undefined ? o.metadata.name : `${o.metadata.namespace}/${o.metadata.name}`) !== key) return o;
  const copy = structuredClone(o);
  edit(copy);
  return copy;
});
