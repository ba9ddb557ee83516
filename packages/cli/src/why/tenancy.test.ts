// Tenancy: whatever the owner of a namespace may create in it, connections, names and policies of all others stay as they are.
import assert from "node:assert/strict";
import { parseIp, type Ip, type Workload } from "@ambit/core";
import { readDocuments, type KubeObject } from "@ambit/kube";
import { seededRandom, type Random } from "@ambit/runtime";
import { explainConnection, planAnswer, type StateView } from "@ambit/ztunnel/pure";
import { modelOf } from "./model.ts";

const STEPS = Number(process.env["TENANCY_FUZZ_STEPS"] ?? 200);
const SEED = Number(process.env["TENANCY_FUZZ_SEED"] ?? 11);
const DOMAIN = "cluster.local";

/** What the administrator says. Istio's default, public entries, is a grant to everybody; the manifests do not give it. */
const ADMIN = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "serviceEntryVisibility: {defaultVisibility: NAMESPACE}"}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: ""}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: there, namespace: istio-system, labels: {topology.istio.io/network: there}}
spec: {gatewayClassName: istio-remote, listeners: [{name: h, port: 15008, protocol: HBONE}]}
status: {addresses: [{type: IPAddress, value: 203.0.113.9}]}
`;
const pod = (ns: string, name: string, ip: string, more = ""): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${ns}, uid: ${ns}-${name}, labels: {app: ${name}}${more}}
spec: {nodeName: node-1, serviceAccountName: ${name}, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
status: {phase: Running, podIP: ${ip}, podIPs: [{ip: ${ip}}], conditions: [{type: Ready, status: "True"}]}
`;
const ENROLLED = ", annotations: {ambient.istio.io/redirection: enabled}";
const OTHERS = [
  ...["victim", "third"].flatMap((ns, i) => [
    `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${ns}}\n`,
    pod(ns, "client", `10.0.${i}.1`, ENROLLED), pod(ns, "web", `10.0.${i}.2`, ENROLLED), pod(ns, "plain", `10.0.${i}.3`),
    `apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: ${ns}}\nspec: {clusterIP: 10.96.${i}.1, clusterIPs: [10.96.${i}.1], selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}\n`,
    `apiVersion: v1\nkind: Service\nmetadata: {name: plain, namespace: ${ns}}\nspec: {clusterIP: 10.96.${i}.2, clusterIPs: [10.96.${i}.2], selector: {app: plain}, ports: [{port: 80, targetPort: 8080}]}\n`,
    `apiVersion: v1\nkind: Service\nmetadata: {name: waypointed, namespace: ${ns}, labels: {istio.io/use-waypoint: w}}\nspec: {clusterIP: 10.96.${i}.3, clusterIPs: [10.96.${i}.3], selector: {app: web}, ports: [{port: 80}]}\n`,
    `apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w, namespace: ${ns}}\nspec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\nstatus: {addresses: [{type: IPAddress, value: 10.96.${i}.3}]}\n`,
    `apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: own, namespace: ${ns}, creationTimestamp: "2024-01-01T00:00:00Z"}\nspec: {hosts: [shared.example], addresses: [192.0.2.1], ports: [{number: 80, name: http}], resolution: STATIC, endpoints: [{address: 198.51.100.1}]}\n`,
    `apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: far, namespace: ${ns}}\nspec: {address: 10.9.${i}.1, network: there}\n`,
    `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: web, namespace: ${ns}}\nspec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {namespaces: [victim]}}]}]}\n`,
  ]),
  `apiVersion: v1\nkind: Pod\nmetadata: {name: host, namespace: third, uid: h}\nspec: {nodeName: node-1, hostNetwork: true, serviceAccountName: host, containers: []}\nstatus: {podIP: 172.30.0.11, conditions: [{type: Ready, status: "True"}]}\n`,
];
const read = (texts: readonly string[]): KubeObject[] => {
  const { documents, problems } = readDocuments(texts.join("---\n"), "world");
  assert.deepEqual(problems, []);
  return documents.map((d) => d.object);
};
const WORLD = read([ADMIN, ...OTHERS]);

/** Addresses that mean something to others: their services, pods, entries, nodes, and the world outside. */
const ADDRESSES = [
  "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.2", "10.0.1.3", "10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.1.1", "10.96.1.2", "10.96.1.3", "192.0.2.1", "198.51.100.1",
  "172.30.0.11", "203.0.113.9", "93.184.216.34", "10.9.0.1",
];
const NAMES = ["web", "web.victim", "web.victim.svc.cluster.local", "plain.third.svc.cluster.local", "shared.example", "www.example.org", "a.b.example", "kubernetes.default.svc.cluster.local", "client"];

describe("tenancy", () => {
  it(`nothing in one namespace changes another's traffic, over ${STEPS} attacks (seed ${SEED})`, function () {
    this.timeout(120_000);
    const random = seededRandom(SEED);
    const before = outcomes(WORLD);
    assert.ok(before.size > 80, "there is something to change");
    for (let step = 0; step < STEPS; step++) {
      const attack = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, i) => attackWith(random, i));
      const after = outcomes([...WORLD, ...attack]);
      for (const [what, outcome] of before)
        if (after.get(what) !== outcome) assert.fail(`step ${step}: ${what}\nwas ${outcome}\nis  ${after.get(what) ?? "gone"}\nby ${JSON.stringify(attack, null, 1)}`);
    }
  });

  it("can be broken: an entry that everybody sees is a grant to everybody", () => {
    const open = WORLD.filter((o) => o.kind !== "ConfigMap");
    const attack = read(["apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: x, namespace: evil}\nspec: {hosts: [www.example.org], addresses: [93.184.216.34], ports: [{number: 80, name: http}], resolution: STATIC, endpoints: [{address: 198.51.100.66}]}\n"]);
    assert.notDeepEqual(outcomes([...open, ...attack]), outcomes(open));
  });
});

/** Every connection and name of everybody else, in words. */
function outcomes(objects: readonly KubeObject[]): Map<string, string> {
  const { state } = modelOf(objects);
  const view = state.view();
  const out = new Map<string, string>();
  for (const source of sources(view)) {
    for (const address of ADDRESSES)
      for (const port of [80, 8080]) {
        const answer = explainConnection({ view, source, destination: { ip: ipOf(address), port }, network: "", random: seededRandom(1) });
        out.set(`${source.namespace}/${source.name} → ${address}:${port}`, `${answer.outcome}: ${answer.summary} [${answer.decisivePolicy ?? ""}]`);
      }
    for (const name of NAMES) {
      const plan = planAnswer(view, { name, type: 1, namespace: source.namespace, network: "", domain: DOMAIN, preferredNamespace: undefined });
      out.set(`${source.namespace} asks ${name}`, plan.kind === "answer" ? plan.ips.join() : plan.kind);
    }
  }
  return out;
}

const sources = (view: StateView): Workload[] => [...view.workloads()].filter((w) => (w.namespace === "victim" || w.namespace === "third") && w.name === "client");
const ipOf = (text: string): Ip => {
  const ip = parseIp(text);
  assert.ok(ip.ok);
  return ip.value;
};

/** Something that a role of the namespace `evil` may create: names, labels and specs at will, no status, nothing cluster-wide, no other namespace. */
function attackWith(random: Random, index: number): KubeObject {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const maybe = <T extends object>(value: T): Partial<T> => (random() < 0.5 ? value : {});
  const labels = {
    ...maybe({ app: pick(["web", "plain", "client"]) }), ...maybe({ "networking.istio.io/tunnel": "http" }), ...maybe({ "istio.io/use-waypoint": pick(["w", "none", ""]), ...maybe({ "istio.io/use-waypoint-namespace": pick(["victim", "third"]) }) }),
    ...maybe({ "topology.istio.io/network": pick(["", "there"]) }), ...maybe({ "gateway.istio.io/managed": "istio.io-mesh-controller" }), ...maybe({ "istio.io/waypoint-for": pick(["all", "workload", "none"]) }),
    ...maybe({ "kubernetes.io/service-name": pick(["web", "plain"]) }), ...maybe({ "gateway.networking.k8s.io/gateway-name": "w" }), ...maybe({ "istio.io/ingress-use-waypoint": "true" }),
  };
  const metadata = { name: pick(["web", "plain", "w", "there", "istio", `x-${index}`]), namespace: "evil", creationTimestamp: pick(["2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]), labels, annotations: { ...maybe({ "ambient.istio.io/redirection": "enabled" }), ...maybe({ "networking.istio.io/exportTo": "*" }) } };
  const host = pick(["web.victim.svc.cluster.local", "shared.example", "www.example.org", "*.example", "kubernetes.default.svc.cluster.local", "web", "*.svc.cluster.local"]);
  const endpoint = () => ({ address: pick([...ADDRESSES, "evil.example"]), ...maybe({ network: pick(["there", "elsewhere"]) }), ...maybe({ labels }), ...maybe({ serviceAccount: pick(["web", "default"]) }), ...maybe({ weight: 100 }) });
  switch (pick(["ServiceEntry", "ServiceEntry", "WorkloadEntry", "WorkloadEntry", "Service", "EndpointSlice", "Gateway", "AuthorizationPolicy", "PeerAuthentication", "ConfigMap"])) {
    case "ServiceEntry": return {
      apiVersion: "networking.istio.io/v1", kind: "ServiceEntry", metadata,
      spec: {
        hosts: [host], ...maybe({ addresses: [pick([...ADDRESSES, "0.0.0.0/0", "10.96.0.0/16", "198.51.100.0/24"])] }), ports: [{ number: pick([80, 8080]), name: "http" }], resolution: pick(["STATIC", "DNS", "NONE", "DYNAMIC_DNS"]),
        ...(random() < 0.5 ? { endpoints: [endpoint()] } : maybe({ workloadSelector: { labels: { app: pick(["web", "plain"]) } } })), ...maybe({ exportTo: ["*"] }), ...maybe({ subjectAltNames: ["spiffe://cluster.local/ns/victim/sa/web"] }),
      },
    };
    case "WorkloadEntry": return { apiVersion: "networking.istio.io/v1", kind: "WorkloadEntry", metadata, spec: endpoint() };
    // The API server gives a free address; external ones may be written down.
    case "Service": return { apiVersion: "v1", kind: "Service", metadata, spec: { clusterIP: "10.96.200.1", clusterIPs: ["10.96.200.1"], externalIPs: [pick(ADDRESSES)], ...maybe({ selector: { app: pick(["web", "plain"]) } }), ports: [{ port: 80, targetPort: 8080 }] } };
    case "EndpointSlice": return { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata, addressType: "IPv4", endpoints: [{ addresses: [pick(ADDRESSES)], ...maybe({ targetRef: { kind: "Pod", name: "web", namespace: "victim", uid: "victim-web" } }) }], ports: [{ name: "", port: 8080 }] };
    case "Gateway": return { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata, spec: { gatewayClassName: pick(["istio-waypoint", "istio-remote", "istio-east-west"]), addresses: [{ type: "IPAddress", value: pick(ADDRESSES) }], listeners: [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }] } };
    case "AuthorizationPolicy": return { apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata, spec: { action: pick(["ALLOW", "DENY", "NONSENSE"]), ...maybe({ selector: { matchLabels: { app: "web" } } }), rules: [{}] } };
    case "PeerAuthentication": return { apiVersion: "security.istio.io/v1", kind: "PeerAuthentication", metadata, spec: { mtls: { mode: pick(["STRICT", "DISABLE", "NONSENSE"]) }, ...maybe({ selector: { matchLabels: { app: "web" } } }) } };
    default: return { apiVersion: "v1", kind: "ConfigMap", metadata, data: { mesh: "{trustDomain: evil.example, discoverySelectors: [{matchLabels: {a: b}}]}" } };
  }
}
