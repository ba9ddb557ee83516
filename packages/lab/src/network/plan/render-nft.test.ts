import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EndpointSlice, Node, Service } from "@ambit/kube";
import { renderServiceRules } from "./render-nft.ts";
import { podRoutes, routeChanges } from "./routes.ts";
import { frontDoors } from "./service-model.ts";

const TESTDATA = join(import.meta.dirname, "testdata");

const service = (name: string, spec: Partial<Service["spec"]>, more: Partial<Service> = {}): Service => ({ metadata: { name, namespace: "app" }, spec: { clusterIP: "10.96.0.20", ports: [{ port: 80, name: "http" }], ...spec }, ...more });
interface E { readonly ip: string; readonly node?: string; readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean }
const slice = (name: string, endpoints: readonly E[], port = 8080, portName = "http"): EndpointSlice => ({
  metadata: { name: `${name}-x`, namespace: "app", labels: { "kubernetes.io/service-name": name } }, addressType: "IPv4", ports: [{ name: portName, port, protocol: "TCP" }],
  endpoints: endpoints.map((e) => ({ addresses: [e.ip], ...(e.node === undefined ? {} : { nodeName: e.node }), conditions: { ready: e.ready ?? true, ...(e.serving === undefined ? {} : { serving: e.serving }), ...(e.terminating === undefined ? {} : { terminating: e.terminating }) } })),
});

describe("front doors of Services", () => {
  const doors = (s: Service, slices: EndpointSlice[]) => frontDoors([s], slices, "node-1").map((d) => `${d.name} ${d.protocol} ${d.addresses.join(",")}:${d.port} -> ${d.targets.map((t) => `${t.ip}:${t.port}`).join(" ")}${d.local ? " local" : ""}${d.masquerade ? " masquerade" : ""}${d.sticky ? " sticky" : ""}`);
  const rows: [string, Service, EndpointSlice[], string[]][] = [
    ["a ClusterIP leads to ready endpoints only", service("web", {}), [slice("web", [{ ip: "10.244.1.2" }, { ip: "10.244.2.3", ready: false }])], ["app/web/http tcp 10.96.0.20:80 -> 10.244.1.2:8080"]],
    ["with none ready, those that end but still serve", service("web", {}), [slice("web", [{ ip: "10.244.1.2", ready: false, serving: true, terminating: true }, { ip: "10.244.1.3", ready: false }])], ["app/web/http tcp 10.96.0.20:80 -> 10.244.1.2:8080"]],
    ["slices are joined and an endpoint counts once", service("web", {}), [slice("web", [{ ip: "10.244.1.2" }]), slice("web", [{ ip: "10.244.1.2" }, { ip: "10.244.1.3" }])], ["app/web/http tcp 10.96.0.20:80 -> 10.244.1.2:8080 10.244.1.3:8080"]],
    ["a headless Service has no door", service("web", { clusterIP: "None" }), [slice("web", [{ ip: "10.244.1.2" }])], []],
    ["an ExternalName has no door", service("web", { type: "ExternalName", clusterIP: "" }), [], []],
    ["a node port has a second door that hides the client", service("web", { type: "NodePort", ports: [{ port: 80, name: "http", nodePort: 30080 }] }), [slice("web", [{ ip: "10.244.1.2" }])],
      ["app/web/http tcp 10.96.0.20:80 -> 10.244.1.2:8080", "app/web/http/nodeport tcp :30080 -> 10.244.1.2:8080 masquerade"]],
    ["externalTrafficPolicy Local keeps the client and this node's endpoints", service("web", { type: "NodePort", externalTrafficPolicy: "Local", ports: [{ port: 80, name: "http", nodePort: 30080 }] }), [slice("web", [{ ip: "10.244.1.2", node: "node-1" }, { ip: "10.244.2.2", node: "node-2" }])],
      ["app/web/http tcp 10.96.0.20:80 -> 10.244.1.2:8080 10.244.2.2:8080", "app/web/http/nodeport tcp :30080 -> 10.244.1.2:8080 local"]],
    ["internalTrafficPolicy Local", service("web", { internalTrafficPolicy: "Local" }), [slice("web", [{ ip: "10.244.2.2", node: "node-2" }])], ["app/web/http tcp 10.96.0.20:80 ->  local"]],
    ["addresses of a load balancer", service("web", { type: "LoadBalancer" }, { status: { loadBalancer: { ingress: [{ ip: "172.30.0.200" }, { hostname: "x" }] } } }), [slice("web", [{ ip: "10.244.1.2" }])],
      ["app/web/http tcp 10.96.0.20:80 -> 10.244.1.2:8080", "app/web/http/external tcp 172.30.0.200:80 -> 10.244.1.2:8080 masquerade"]],
    ["session affinity", service("web", { sessionAffinity: "ClientIP" }), [slice("web", [{ ip: "10.244.1.2" }])], ["app/web/http tcp 10.96.0.20:80 -> 10.244.1.2:8080 sticky"]],
    ["what would be nft text rather than an address is left out", service("web", { clusterIP: "10.96.0.1 }; flush ruleset" }), [slice("web", [{ ip: "10.244.1.2" }])], []],
    ["a hostile endpoint address is left out", service("web", {}), [slice("web", [{ ip: "10.244.1.2; drop" }])], ["app/web/http tcp 10.96.0.20:80 -> "]],
  ];
  for (const [name, s, slices, expected] of rows) it(name, () => assert.deepEqual(doors(s, slices), expected));
});

describe("nft text of Services", () => {
  const udp: Service = service("dns", { clusterIP: "10.96.0.10", ports: [{ port: 53, name: "dns", protocol: "UDP" }] });
  const cases: Record<string, () => string> = {
    "empty.nft": () => renderServiceRules({ doors: [], hostPorts: [], podCidr: "10.244.1.0/24", bridgeFiltered: true }),
    "mixed.nft": () => renderServiceRules({
      doors: frontDoors([
        service("web", { type: "NodePort", sessionAffinity: "ClientIP", ports: [{ port: 80, name: "http", nodePort: 30080 }] }), udp,
        service("gone", { clusterIP: "10.96.0.30", type: "NodePort", ports: [{ port: 80, name: "http", nodePort: 30081 }] }),
        service("here", { clusterIP: "10.96.0.31", internalTrafficPolicy: "Local" }),
      ], [slice("web", [{ ip: "10.244.1.2" }, { ip: "10.244.2.2" }]), { ...slice("dns", [{ ip: "10.244.1.5" }, { ip: "10.244.2.5" }], 53, "dns") }], "node-1"),
      hostPorts: [{ hostPort: 8443, containerPort: 443, protocol: "tcp", podIP: "10.244.1.9" }], podCidr: "10.244.1.0/24", bridgeFiltered: false,
    }),
  };
  for (const [file, render] of Object.entries(cases)) {
    it(file, () => {
      const path = join(TESTDATA, file);
      if (process.env["GOLDEN"] === "update") writeFileSync(path, render());
      assert.equal(render(), readFileSync(path, "utf8"));
    });
  }
  it("one key is in one place, whatever Services claim it", () => {
    const twins = frontDoors([service("a", {}), service("b", {})], [slice("a", [{ ip: "10.244.1.2" }]), slice("b", [])], "node-1");
    const text = renderServiceRules({ doors: twins, hostPorts: [], podCidr: "10.244.1.0/24", bridgeFiltered: true });
    assert.equal(text.match(/10\.96\.0\.20 \. tcp \. 80/g)?.length, 1);
  });
  it("every golden file belongs to a case", () => assert.deepEqual(readdirSync(TESTDATA).sort(), Object.keys(cases).sort()));
});

describe("routes to other nodes' pods", () => {
  const node = (name: string, ip?: string, podCIDR?: string): Node => ({ metadata: { name }, ...(podCIDR === undefined ? {} : { spec: { podCIDR } }), ...(ip === undefined ? {} : { status: { addresses: [{ type: "InternalIP", address: ip }] } }) });
  it("one for each other node that has both an address and pods", () => {
    assert.deepEqual(podRoutes([node("node-2", "172.30.0.12", "10.244.2.0/24"), node("node-1", "172.30.0.11", "10.244.1.0/24"), node("node-3", "172.30.0.13"), node("node-4", "172.30.0.14", "10.244.4.0/24 dev lo")], "node-1"), [{ to: "10.244.2.0/24", via: "172.30.0.12" }]);
  });
  it("only differences are changed", () => {
    const [a, b, c] = [{ to: "10.244.2.0/24", via: "172.30.0.12" }, { to: "10.244.3.0/24", via: "172.30.0.13" }, { to: "10.244.3.0/24", via: "172.30.0.99" }];
    assert.equal(routeChanges([a, c], [a, b]), "route replace 10.244.3.0/24 via 172.30.0.99\n");
    assert.equal(routeChanges([], [a]), "route del 10.244.2.0/24 via 172.30.0.12\n");
    assert.equal(routeChanges([a], [a]), "");
  });
});
