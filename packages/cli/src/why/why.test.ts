import assert from "node:assert/strict";
import { parseManifests, type KubeObject } from "@ambit/kube";
import { explainConnection } from "@ambit/ztunnel/pure";
import { modelOf } from "./model.ts";
import { findDestination, findSource } from "./question.ts";

const pod = (name: string, ip: string, more = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}-1, namespace: shop, uid: ${name}, labels: { app: ${name} }, annotations: { ambient.istio.io/redirection: enabled }${more} }
spec: { nodeName: n1, serviceAccountName: ${name}, containers: [{ name: c, image: x }] }
status: { phase: Running, podIP: ${ip}, podIPs: [{ ip: ${ip} }], conditions: [{ type: Ready, status: "True" }] }
`;
const SHOP = [
  "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { istio.io/dataplane-mode: ambient } }",
  pod("client", "10.0.0.1"), pod("catalog", "10.0.0.2"),
  `apiVersion: v1\nkind: Service\nmetadata: { name: catalog, namespace: shop }\nspec: { clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], selector: { app: catalog }, ports: [{ name: a, port: 8080, targetPort: 80 }, { name: b, port: 9090 }] }`,
  `apiVersion: v1\nkind: Service\nmetadata: { name: one, namespace: shop }\nspec: { clusterIP: 10.96.0.8, clusterIPs: [10.96.0.8], selector: { app: catalog }, ports: [{ port: 80 }] }`,
  `apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: db, namespace: shop }\nspec: { hosts: [db.example], addresses: [240.0.0.1], ports: [{ number: 5432, name: tcp, protocol: TCP }], resolution: STATIC, endpoints: [{ address: 10.9.9.9 }] }`,
  "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: { name: foreign, namespace: shop }",
  pod("lost", "10.0.0.9").replace(", namespace: shop", ""),
].join("\n---\n");
const slices = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: catalog-x, namespace: shop, labels: { kubernetes.io/service-name: catalog } }
addressType: IPv4
endpoints: [{ addresses: [10.0.0.2], conditions: { ready: true }, targetRef: { kind: Pod, name: catalog-1, namespace: shop, uid: catalog } }]
ports: [{ name: a, port: 80, protocol: TCP }]
`;
const objects = (...more: string[]): KubeObject[] => parseManifests([SHOP, slices, ...more].join("\n---\n"), "test.yaml");
const ask = (text: string, ...more: string[]) => {
  const { state, problems } = modelOf(objects(...more));
  const view = state.view();
  const source = findSource(view, "shop/client");
  assert.ok(source.ok);
  const destination = findDestination(view, text, "shop", "");
  assert.ok(destination.ok, destination.ok ? "" : destination.error);
  return { ...explainConnection({ view, source: source.value, destination: destination.value, network: "", random: () => 0 }), problems };
};

describe("ambit why, offline", () => {
  it("an enrolled client to an enrolled service goes through a tunnel", () => assert.equal(ask("catalog:8080").outcome, "allowed"));
  it("a DENY policy is named", () => {
    const answer = ask("catalog:8080", `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: no-client, namespace: shop }\nspec: { action: DENY, rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }] }] }`);
    assert.equal(answer.outcome, "denied");
    assert.match(answer.policy.join("\n"), /shop\/no-client/);
  });
  it("a policy that is not understood denies", () =>
    assert.equal(ask("catalog:8080", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: odd, namespace: shop }\nspec: { action: ALLOW, rulez: [] }").outcome, "denied"));
  it("ServiceEntries count, as they do in istiod-lite", () => assert.match(ask("db.example:5432").summary, /ServiceEntry\/shop\/db\/10\.9\.9\.9/));
  it("an object without a namespace is in default", () => assert.ok(findSource(modelOf(objects()).state.view(), "default/lost").ok));
  it("a kind of the same name in another group is not ours", () => assert.ok(!findDestination(modelOf(objects()).state.view(), "foreign:80", "shop", "").ok));
});

describe("what a person types", () => {
  const view = modelOf(objects()).state.view();
  const destinations: readonly (readonly [string, string | RegExp])[] = [
    ["catalog:8080", "10.96.0.7:8080"], ["catalog.shop:9090", "10.96.0.7:9090"], ["catalog.shop.svc:8080", "10.96.0.7:8080"],
    ["catalog.shop.svc.cluster.local:8080", "10.96.0.7:8080"], ["one", "10.96.0.8:80"], ["shop/catalog-1:80", "10.0.0.2:80"], ["10.1.2.3:4", "10.1.2.3:4"], ["[2001:db8::1]:4", "2001:db8::1:4"],
    ["catalog", /has ports 8080, 9090: say which, as catalog:8080/], ["10.1.2.3", /an address needs a port/], ["shop/catalog-1", /a pod needs a port/],
    ["catalog:0", /1 to 65535/], ["catalog:70000", /1 to 65535/], ["nobody:80", /no service is called "nobody".*known: /], ["catalog.other:80", /no service/], ["shop/nobody:80", /no pod "nobody"/], ["", /not HOST/], ["a:b", /not HOST/],
  ];
  for (const [text, expected] of destinations) it(`to ${JSON.stringify(text)}`, () => {
    const found = findDestination(view, text, "shop", "");
    if (typeof expected === "string") assert.equal(found.ok ? `${found.value.ip}:${found.value.port}` : found.error, expected);
    else assert.match(found.ok ? "found" : found.error, expected);
  });
  for (const [text, expected] of [["shop/client-1", "client-1"], ["shop/client", "client-1"], ["client-1", /NAMESPACE\/POD/], ["a/b/c", /NAMESPACE\/POD/], ["shop/nobody", /there are .*client-1/], ["empty/x", /has no pods/]] as const)
    it(`from ${JSON.stringify(text)}`, () => {
      const found = findSource(view, text);
      if (typeof expected === "string") assert.equal(found.ok ? found.value.name : found.error, expected);
      else assert.match(found.ok ? "found" : found.error, expected);
    });
});
