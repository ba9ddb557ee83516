// Every misconfiguration that can be named, one at a time in a healthy cluster: exactly it is found, with its mend.
import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import { certificate, DAY, edited, having, healthy, leaf, lease, namespace, networkPolicy, NOW, object, pod, policy, service, webhook } from "./facts.fixture.ts";
import { judgeBefore, judgeMesh } from "./judge.ts";
import { CODES, type Code } from "./model/finding.ts";
import type { Facts } from "./model/facts.ts";

const label = (key: string, value: string) => (o: KubeObject) => { (o.metadata.labels ??= {})[key] = value; };
const strip = (key: string) => (o: KubeObject) => { delete o.metadata.labels?.[key]; };
const notReady = (o: KubeObject) => { o["status"] = { phase: "Running", conditions: [{ type: "Ready", status: "False" }], containerStatuses: [{ state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 40s" } } }] }; };
const condition = (kind: string, key: string, c: object): KubeObject => object(kind, key, { spec: {}, status: { conditions: [c] } });
const cilium = (data: object) => having((o) => ({ configMaps: [...o.configMaps, object("ConfigMap", "kube-system/cilium-config", { data })] }));
const CERTAIN = healthy().ztunnels;

type Case = readonly [misconfiguration: string, facts: Facts, code: Code, where: RegExp, what: RegExp, mend: RegExp];

const BEFORE: readonly Case[] = [
  ["an old API server", healthy({ version: "v1.27.3" }), "AMB0101", /API server/, /v1\.27\.3/, /upgrade Kubernetes to 1\.29/],
  ["no right to make ClusterRoles", healthy({ forbidden: ["create clusterroles.rbac.authorization.k8s.io"] }), "AMB0102", /you/, /create clusterroles/, /cluster-admin/],
  ["the Gateway API of years ago", having((o) => ({ crds: edited(o.crds, "httproutes.gateway.networking.k8s.io", (c) => { c["spec"] = { versions: [{ name: "v1beta1", served: true }, { name: "v1", served: false }] }; }) })), "AMB0103", /httproutes/, /serves v1beta1, not v1/, /manifests\/charts\/base\/crds\/gateway-api/],
  ["Istio CRDs of years ago", having((o) => ({ crds: edited(o.crds, "authorizationpolicies.security.istio.io", (c) => { c["spec"] = { versions: [{ name: "v1beta1", served: true }] }; }) })), "AMB0103", /authorizationpolicies/, /not v1/, /manifests\/charts\/base\/crds\/istio/],
  ["Istio's own istiod in another namespace", having((o) => ({ deployments: [...o.deployments, object("Deployment", "mesh/istiod", { spec: { template: { spec: { containers: [{ image: "docker.io/istio/pilot:1.29.0" }] } } } }, { app: "istiod" })] })), "AMB0104", /Deployment mesh\/istiod/, /pilot:1\.29\.0/, /discoverySelectors/],
  ["Linkerd beside", having((o) => ({ deployments: [...o.deployments, object("Deployment", "linkerd/linkerd-destination", {}, { "linkerd.io/control-plane-component": "destination" })] })), "AMB0104", /linkerd-destination/, /Linkerd runs/, /two meshes/],
  ["Cilium with balancing in sockets", cilium({ "kube-proxy-replacement": "true" }), "AMB0105", /cilium-config/, /socket/, /socketLB\.hostNamespaceOnly=true/],
  ["Cilium alone on the node", cilium({ "cni-exclusive": "true" }), "AMB0105", /cilium-config/, /out of the chain/, /cni\.exclusive=false/],
  ["Cilium masquerading in eBPF", cilium({ "enable-bpf-masquerade": "true" }), "AMB0105", /cilium-config/, /probes/, /bpf\.masquerade=false/],
  ["Calico balancing at connect time", having(() => ({ felixConfigurations: [object("FelixConfiguration", "default", { spec: { bpfEnabled: true } })] })), "AMB0112", /FelixConfiguration default/, /sees no Service/, /bpfConnectTimeLoadBalancing":"Disabled"/],
  ["an old kernel", having((o) => ({ nodes: edited(o.nodes, "node-2", (n) => { n.status = { ...n.status, nodeInfo: { kernelVersion: "4.18.0-553.el8", operatingSystem: "linux", architecture: "amd64" } }; }) })), "AMB0106", /Node node-2/, /4\.18\.0/, /kernel of 5\.4/],
  ["a processor without images", having((o) => ({ nodes: edited(o.nodes, "node-2", (n) => { n.status = { ...n.status, nodeInfo: { operatingSystem: "linux", architecture: "s390x" } }; }) })), "AMB0106", /Node node-2/, /s390x/, /taint the node/],
  ["a node that is not ready", having((o) => ({ nodes: edited(o.nodes, "node-2", (n) => { n.status = { ...n.status, conditions: [{ type: "Ready", status: "False", message: "PLEG is not healthy" }] }; }) })), "AMB0106", /Node node-2/, /PLEG/, /kubectl describe node node-2/],
  ["Pod Security that refuses ztunnel", having((o) => ({ namespaces: edited(o.namespaces, "istio-system", label("pod-security.kubernetes.io/enforce", "restricted")) })), "AMB0107", /Namespace istio-system/, /"restricted"/, /enforce=privileged/],
  ["this machine's clock 3 minutes ahead", healthy({ aheadMs: 180_000 }), "AMB0108", /this machine/, /180 s ahead/, /chrony/],
  ["a node's clock an hour behind", having((o) => ({ leases: [...o.leases.filter((l) => l.metadata.name !== "node-2"), lease("kube-node-lease/node-2", NOW - 3_600_000, "node-2")] })), "AMB0108", /Node node-2/, /3600 s behind/, /chrony/],
  ["Multus over the primary plugin", having((o) => ({ daemonSets: [...o.daemonSets, object("DaemonSet", "kube-system/kube-multus-ds")] })), "AMB0109", /kube-multus-ds/, /Multus/, /CNI_CONF_NAME/],
  ["GKE without a quota", healthy({ version: "v1.33.1-gke.100" }), "AMB0110", /Namespace istio-system/, /system-node-critical/, /ResourceQuota/],
  ["a kind that may not be read", healthy({ unread: [{ kind: "networkPolicies", why: "forbidden" }] }), "AMB0111", /networkPolicies/, /forbidden/, /get and list networkPolicies/],
];

const without = (f: (o: KubeObject) => boolean) => (o: KubeObject): boolean => !f(o);
const named = (name: string) => (o: KubeObject): boolean => o.metadata.name === name;
const AFTER: readonly Case[] = [
  ["ztunnel was never applied", having((o) => ({ daemonSets: o.daemonSets.filter(without(named("ztunnel"))) })), "AMB0201", /DaemonSet istio-system\/ztunnel/, /not there/, /helm .*charts\/ztunnel/],
  ["a ztunnel in a crash loop", having((o) => ({ pods: edited(o.pods, "istio-system/ztunnel-1", notReady) })), "AMB0202", /Pod istio-system\/ztunnel-1/, /node-2: CrashLoopBackOff: back-off 40s/, /logs ztunnel-1/],
  ["a node that ztunnel does not tolerate", having((o) => ({ pods: o.pods.filter(without(named("ztunnel-1"))) })), "AMB0203", /Node node-2/, /no ztunnel/, /describe daemonset ztunnel/],
  ["half an upgrade", having((o) => ({ pods: edited(o.pods, "istio-system/ztunnel-1", (p) => { p.spec.containers = [{ name: "c", image: "ambit/ztunnel:0" }]; }) })), "AMB0204", /istio-system/, /ztunnel-1 \(0\)/, /istiod first/],
  ["a Lease that nobody renews", having((o) => ({ leases: [...o.leases.slice(1), lease("istio-system/istio-status-leader", NOW - 600_000, "istiod-0_y")] })), "AMB0205", /istio-status-leader/, /istiod-0_y renewed it last/, /can-i update leases/],
  ["no Lease at all", having((o) => ({ leases: o.leases.slice(1) })), "AMB0205", /istio-status-leader/, /none made it/, /can-i update leases/],
  ["a webhook of an Istio that was removed", having((o) => ({ validatingWebhooks: [...o.validatingWebhooks, webhook("istiod-default-validator", "istio-system/istiod-1-27")] })), "AMB0206", /istiod-default-validator/, /istiod-1-27, which is not there/, /kubectl delete validatingwebhookconfiguration istiod-default-validator/],
  ["our webhook without roots", having(() => ({ validatingWebhooks: [webhook("istio-validator-istio-system", "istio-system/istiod", "")] })), "AMB0206", /istio-validator/, /no caBundle/, /istiod's leader writes it/],
  ["kube-system enrolled", having((o) => ({ namespaces: edited(o.namespaces, "kube-system", label("istio.io/dataplane-mode", "ambient")) })), "AMB0207", /Namespace kube-system/, /enrolled/, /label namespace kube-system istio\.io\/dataplane-mode-/],
  ["Service istiod without its port", having((o) => ({ services: edited(o.services, "istio-system/istiod", (s) => { s.spec.ports = s.spec.ports?.slice(1) ?? []; }) })), "AMB0208", /Service istio-system\/istiod/, /no port 15012/, /charts\/istiod-lite/],
  ["a NetworkPolicy around istiod", having((o) => ({ networkPolicies: [...o.networkPolicies, networkPolicy("istio-system/deny", { ingress: [{ ports: [{ port: 15017 }] }] })] })), "AMB0208", /istio-system\/deny/, /15012/, /allow TCP 15012/],
  ["a conflist that is not JSON", healthy({ agents: [{ pod: "istio-cni-node-1", node: "node-2", pluginProblem: "10-x.conflist: not JSON" }] }), "AMB0209", /Node node-2/, /not JSON/, /\/etc\/cni\/net\.d/],
  ["a ztunnel that cannot be asked", healthy({ ztunnels: [{ pod: "ztunnel-0", node: "node-1", problem: "kubectl is needed", leaves: [], waiting: [] }] }), "AMB0210", /ztunnel-0/, /kubectl is needed/, /port-forward/],
  ["an authority that has ended", healthy({ authority: [certificate("Secret istio-system/istio-ca-secret", { notAfter: NOW - DAY })] }), "AMB0301", /istio-ca-secret/, /ended 2026-04-30/, /delete secret istio-ca-secret;.*restart deployment istiod/],
  ["an authority from the future", healthy({ authority: [certificate("Secret istio-system/cacerts", { notBefore: NOW + DAY })] }), "AMB0301", /cacerts/, /begins only 2026-05-02/, /clock/],
  ["an authority that ends in 20 days", healthy({ authority: [certificate("Secret istio-system/cacerts", { notAfter: NOW + 20 * DAY })] }), "AMB0302", /cacerts/, /in 20 days/, /renewed CA into Secret istio-system\/cacerts/],
  ["the same where Secrets are not ours to read", healthy({ authority: [], roots: healthy().roots.map((r) => ({ ...r, certificates: [certificate("ConfigMap istio-system/istio-ca-root-cert", { notAfter: NOW + 20 * DAY })] })) }), "AMB0302", /istio-ca-root-cert/, /in 20 days/, /roll-root/],
  ["a namespace without the root", healthy({ roots: healthy().roots.filter((r) => r.namespace !== "shop") }), "AMB0303", /Namespace shop/, /istio-ca-root-cert is missing/, /istiod's leader writes it/],
  ["an old root in a namespace", healthy({ roots: healthy().roots.map((r) => (r.namespace === "shop" ? { ...r, certificates: [certificate("x", { fingerprint: "OLD" })] } : r)) }), "AMB0304", /ConfigMap shop\/istio-ca-root-cert/, /not what istio-system has/, /delete them/],
  ["a root everywhere that is not the authority's", healthy({ authority: [certificate("Secret istio-system/cacerts", { fingerprint: "NEW" })] }), "AMB0304", /istio-system\/istio-ca-root-cert/, /does not hold/, /leader writes it/],
  ["a leaf that has ended", healthy({ ztunnels: [{ ...CERTAIN[0], pod: "ztunnel-0", node: "node-1", leaves: [leaf("client", { notAfter: NOW - 60_000 })], waiting: [] }] }), "AMB0305", /ztunnel-0/, /sa\/client 2026-05-01T11:59Z/, /scope":"ca"/],
  ["an identity that istiod refuses", healthy({ ztunnels: [{ pod: "ztunnel-0", node: "node-1", leaves: [], waiting: [{ identity: "spiffe://cluster.local/ns/shop/sa/x", state: "Unavailable: refused" }] }] }), "AMB0306", /ztunnel-0/, /sa\/x \(Unavailable: refused\)/, /istiod signs them/],
  ["leaves of another trust domain", healthy({ ztunnels: [{ pod: "ztunnel-0", node: "node-1", leaves: [leaf("client", {}, "old.example")], waiting: [] }] }), "AMB0307", /istio-system/, /old\.example/, /trustDomainAliases/],
  ["a policy for another trust domain", having((o) => ({ authorizationPolicies: [...o.authorizationPolicies, policy("shop/p", { rules: [{ from: [{ source: { principals: ["td.example/ns/a/sa/b"] } }] }] })] })), "AMB0307", /AuthorizationPolicy shop\/p/, /td\.example/, /cluster\.local\/ns\/NAMESPACE/],
  ["a pod that no ztunnel serves", having((o) => ({ pods: edited(o.pods, "shop/client", (p) => { p.metadata.annotations = {}; p.status = { ...p.status, conditions: [{ type: "MeshEnrolled", status: "False", reason: "NoZtunnel", message: "its connections fail" }] }; }) })), "AMB0401", /Pod shop\/client/, /NoZtunnel.*connections fail/, /get pods -l app=ztunnel/],
  ["a pod that nobody looked at", having((o) => ({ pods: edited(o.pods, "shop/client", (p) => { p.metadata.annotations = {}; p.status = { ...p.status, conditions: [] }; }) })), "AMB0401", /Pod shop\/client/, /says nothing/, /AMBIENT_ENABLEMENT_SELECTOR/],
  ["a pod of the host's network", having((o) => ({ pods: [...o.pods, pod("shop/host", { spec: { hostNetwork: true } })] })), "AMB0402", /Pod shop\/host/, /node's network/, /dataplane-mode=none/],
  ["a sidecar beside", having((o) => ({ pods: [...o.pods, { ...pod("shop/old"), spec: { nodeName: "node-1", containers: [{ name: "app" }, { name: "istio-proxy" }] } }] })), "AMB0403", /Pod shop\/old/, /sidecar/, /rollout restart/],
  ["both labels on a namespace", having((o) => ({ namespaces: edited(o.namespaces, "shop", label("istio-injection", "enabled")) })), "AMB0403", /Namespace shop/, /stay outside/, /label namespace shop istio-injection-/],
  ["a mode that nobody knows", having((o) => ({ namespaces: [...o.namespaces.filter(without(named("other"))), namespace("other", { "istio.io/dataplane-mode": "Ambient" })] })), "AMB0404", /Namespace other/, /"Ambient"/, /--overwrite istio\.io\/dataplane-mode=ambient/],
  ["a NetworkPolicy for the application's port only", having(() => ({ networkPolicies: [networkPolicy("shop/web", { podSelector: { matchLabels: { app: "web" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "client" } } }], ports: [{ port: 8080 }] }, { from: [{ ipBlock: { cidr: "169.254.0.0/16" } }] }] })] })), "AMB0501", /NetworkPolicy shop\/web/, /shop\/client may talk to shop\/web, but not on port 15008/, /port 15008\/TCP/],
  ["the same on the way out", having((o) => ({ networkPolicies: [...o.networkPolicies, networkPolicy("shop/out", { podSelector: { matchLabels: { app: "client" } }, policyTypes: ["Egress"], egress: [{ ports: [{ port: 8080 }] }] })] })), "AMB0501", /NetworkPolicy shop\/out/, /shop\/client may talk to/, /"egress"/],
  ["everything denied to a Service's pods", having(() => ({ networkPolicies: [networkPolicy("shop/deny", { podSelector: { matchLabels: { app: "web" } }, ingress: [{ from: [{ ipBlock: { cidr: "169.254.7.127/32" } }] }] })] })), "AMB0501", /NetworkPolicy shop\/deny/, /nobody of the mesh may reach shop\/web.*Service shop\/web/, /15008/],
  ["a NetworkPolicy without the kubelet's address", having(() => ({ networkPolicies: [networkPolicy("shop/web", { podSelector: { matchLabels: { app: "web" } }, ingress: [{ from: [{ podSelector: {} }] }] })] })), "AMB0502", /Pod shop\/web/, /169\.254\.7\.127/, /169\.254\.7\.127\/32/],
  ["a webhook behind STRICT", having((o) => ({ validatingWebhooks: [...o.validatingWebhooks, webhook("cert-check", "shop/hook")], services: [...o.services, service("shop/hook", "web", [{ name: "https", port: 443, targetPort: 8443 }])] })), "AMB0503", /cert-check/, /STRICT refuses/, /"8443": \{ mode: PERMISSIVE \}/],
  ["a load balancer before STRICT", having((o) => ({ services: [...o.services, service("shop/public", "web", [{ name: "http", port: 80, targetPort: 8080 }], "LoadBalancer")] })), "AMB0504", /Service shop\/public/, /outside the mesh/, /gateway of the mesh/],
  ["a waypoint that does not run", having((o) => ({ gateways: edited(o.gateways, "shop/waypoint", (g) => { g["status"] = { conditions: [{ type: "Programmed", status: "False", reason: "Pending", message: "no pod is ready" }] }; }) })), "AMB0601", /Gateway shop\/waypoint/, /no pod is ready/, /gateway-name=waypoint/],
  ["a use-waypoint with a typo", having((o) => ({ services: edited(o.services, "shop/web", label("istio.io/use-waypoint", "waypiont")) })), "AMB0602", /Service shop\/web/, /shop\/waypiont, which is not there.*refused/, /ambit waypoint apply -n shop --name waypiont/],
  ["an HTTP route on a port of TCP", having((o) => ({ httpRoutes: edited(o.httpRoutes, "shop/web", (r) => { r["spec"] = { parentRefs: [{ group: "", kind: "Service", name: "web", port: 5432 }] }; }) })), "AMB0603", /HTTPRoute shop\/web/, /port 5432 .*is called tcp-db/, /ports\/1\/appProtocol","value":"http"/],
  ["two objects for one host", having((o) => ({ serviceEntries: [...o.serviceEntries, object("ServiceEntry", "shop/api2", { spec: { hosts: ["api.example.com"] } })] })), "AMB0604", /ServiceEntry shop\/api2/, /ServiceEntry shop\/api/, /out of one of the two/],
  ["a route that no waypoint reads", having((o) => ({ namespaces: edited(o.namespaces, "shop", strip("istio.io/use-waypoint")) })), "AMB0605", /HTTPRoute shop\/web/, /has no waypoint/, /ambit waypoint apply -n shop/],
  ["a policy that is not understood", having((o) => ({ peerAuthentications: [...o.peerAuthentications, condition("PeerAuthentication", "other/p", { type: "ZtunnelAccepted", status: "False", reason: "Invalid", message: "spec.mtls.mode unknown" })] })), "AMB0701", /PeerAuthentication other\/p/, /spec\.mtls\.mode unknown/, /edit peerauthentication p/],
  ["a policy for pods outside", having((o) => ({ authorizationPolicies: [...o.authorizationPolicies, policy("other/p", { selector: { matchLabels: { app: "plain" } } })] })), "AMB0702", /AuthorizationPolicy other\/p/, /none of them is in the mesh/, /label namespace other/],
  ["a policy for nobody", having((o) => ({ authorizationPolicies: [...o.authorizationPolicies, policy("shop/p", { selector: { matchLabels: { app: "wbe" } } })] })), "AMB0702", /AuthorizationPolicy shop\/p/, /selects no pod/, /--show-labels/],
  ["text that the mesh does not understand", healthy({ misunderstood: [{ object: "AuthorizationPolicy shop/x", message: "spec.rulez unknown" }] }), "AMB0703", /shop\/x/, /rulez/, /ambit analyze/],
];

describe("ambit check", () => {
  it("finds nothing in a healthy cluster", () => {
    assert.deepEqual(judgeMesh(healthy()), []);
    assert.deepEqual(judgeBefore(healthy()), []);
  });

  for (const [cases, judge] of [[BEFORE, judgeBefore], [AFTER, judgeMesh]] as const)
    for (const [misconfiguration, facts, code, where, what, mend] of cases)
      it(`${code} ${misconfiguration}`, () => {
        const found = judge(facts);
        assert.deepEqual(found.map((f) => f.code), [code], JSON.stringify(found, undefined, 1));
        for (const [said, expected] of [[found[0]?.where, where], [found[0]?.what, what], [found[0]?.mend, mend]] as const) assert.match(said ?? "", expected);
      });

  it("of a cluster without any part of the mesh says that alone", () => {
    const bare = having((o) => ({ deployments: [], daemonSets: [], pods: o.pods.filter((p) => p.metadata.namespace !== "istio-system") }));
    assert.deepEqual(judgeMesh(bare).map((f) => [f.code, /ambit check --pre/.test(f.mend)]), [["AMB0200", true]]);
  });

  it("every code has its case", () => {
    const seen = new Set([...BEFORE, ...AFTER].map(([, , code]) => code).concat("AMB0200"));
    assert.deepEqual(Object.keys(CODES).filter((c) => !seen.has(c as Code)), []);
  });

  it("concludes nothing from what it could not read", () => {
    const blind = having(() => ({ leases: [], gateways: [], configMaps: [] }));
    const found = judgeMesh({ ...blind, roots: [], unread: ["leases", "gateways", "configMaps"].map((kind) => ({ kind, why: "forbidden" })) });
    assert.deepEqual(found.map((f) => f.code), ["AMB0111", "AMB0111", "AMB0111"]);
  });

  it("does not complain of what was made a moment ago", () => {
    const young = new Date(NOW - 5_000).toISOString();
    const facts = having((o) => ({
      namespaces: [...o.namespaces, { ...namespace("fresh"), metadata: { name: "fresh", creationTimestamp: young } }],
      pods: [...o.pods, { ...pod("shop/fresh"), metadata: { name: "fresh", namespace: "shop", creationTimestamp: young } }],
    }));
    assert.deepEqual(judgeMesh(facts), []);
  });
});
