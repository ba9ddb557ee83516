import assert from "node:assert/strict";
import type { EndpointSlice, Pod, Service } from "@ambit/kube";
import { World } from "../simulation.ts";
import { planEndpointSlices, SERVICE_NAME } from "./endpoint-slices.ts";
import { ENDPOINT_SLICE, NODE, POD, SERVICE } from "./kinds.ts";

function world(spec: Record<string, unknown> = {}): World {
  const w = new World();
  w.node("n1", { metadata: { name: "n1", labels: { "topology.kubernetes.io/zone": "z1" } } });
  w.put(SERVICE, { metadata: { name: "web", labels: { team: "a" } }, spec: { clusterIP: "10.96.1.1", selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "http" }], ...spec } });
  return w;
}
function pod(w: World, i: number, more: { ready?: string; port?: number; app?: string; spec?: Record<string, unknown> } = {}): Pod {
  return w.put(POD, {
    metadata: { name: `p${String(i).padStart(3, "0")}`, labels: { app: more.app ?? "web" } },
    spec: { nodeName: "n1", containers: [{ name: "c", ports: [{ name: "http", containerPort: more.port ?? 8080 }] }], ...more.spec },
    status: { phase: "Running", podIP: `10.244.1.${i}`, conditions: [{ type: "Ready", status: more.ready ?? "True" }] },
  }) as Pod;
}
const plan = (w: World) => planEndpointSlices({
  service: w.find<Service>(SERVICE, "web"), pods: w.all<Pod>(POD), slices: w.all<EndpointSlice>(ENDPOINT_SLICE),
  nodes: new Map(w.all(NODE).map((n) => [n.metadata.name, n])),
});
const slices = (w: World): EndpointSlice[] => w.all<EndpointSlice>(ENDPOINT_SLICE);
const endpoints = (w: World) => slices(w).flatMap((s) => s.endpoints ?? []);

describe("planEndpointSlices", () => {
  it("describes a ready pod completely, and is then at rest", () => {
    const w = world();
    const p = pod(w, 1);
    w.apply(plan(w));
    const [slice] = slices(w);
    assert.deepEqual(slice?.endpoints, [{
      addresses: ["10.244.1.1"], conditions: { ready: true, serving: true, terminating: false }, nodeName: "n1", zone: "z1",
      targetRef: { kind: "Pod", namespace: "default", name: "p001", uid: p.metadata.uid },
    }]);
    assert.deepEqual(slice.ports, [{ name: "http", port: 8080, protocol: "TCP" }]);
    assert.deepEqual(slice.metadata.labels, { team: "a", [SERVICE_NAME]: "web", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" });
    assert.deepEqual(plan(w).actions, []);
  });

  const terminating = { metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } };
  const conditions: [string, Record<string, unknown>, { ready?: string; gone?: boolean }, object][] = [
    ["an unready pod serves nothing", {}, { ready: "False" }, { ready: false, serving: false, terminating: false }],
    ["a terminating pod leaves ready at once but still serves", {}, { gone: true }, { ready: false, serving: true, terminating: true }],
    ["publishNotReadyAddresses makes all ready", { publishNotReadyAddresses: true }, { ready: "False" }, { ready: true, serving: false, terminating: false }],
  ];
  for (const [name, spec, state, expected] of conditions) {
    it(name, () => {
      const w = world(spec);
      pod(w, 1, state.ready === undefined ? {} : { ready: state.ready });
      if (state.gone === true) w.edit(POD, "p001", (p) => Object.assign(p.metadata, terminating.metadata));
      w.apply(plan(w));
      assert.deepEqual(endpoints(w)[0]?.conditions, expected);
    });
  }

  it("fills slices to 100, and writes only the slice that changes", () => {
    const w = world();
    for (let i = 1; i <= 250; i++) pod(w, i);
    w.apply(plan(w));
    assert.deepEqual(slices(w).map((s) => s.endpoints?.length), [100, 100, 50]);
    w.remove(POD, w.get(POD, "p150"));
    assert.deepEqual(plan(w).actions.map((a) => a.do), ["replace"]);
    w.apply(plan(w));
    pod(w, 251);
    const { actions } = plan(w);
    assert.deepEqual(actions.map((a) => a.do), ["replace"], "the newcomer takes the free place");
    w.apply(plan(w));
    assert.equal(endpoints(w).length, 250);
  });

  it("keeps pods that resolve a named port differently apart, and drops what no group needs", () => {
    const w = world();
    pod(w, 1);
    pod(w, 2, { port: 9090 });
    w.apply(plan(w));
    assert.deepEqual(slices(w).map((s) => s.ports?.[0]?.port).sort(), [8080, 9090]);
    w.remove(POD, w.get(POD, "p002"));
    w.apply(plan(w));
    assert.deepEqual(slices(w).map((s) => s.ports?.[0]?.port), [8080]);
  });

  it("leaves one empty slice when no pod is left, and none when the Service goes", () => {
    const w = world();
    pod(w, 1);
    w.apply(plan(w));
    w.remove(POD, w.get(POD, "p001"));
    w.apply(plan(w));
    assert.deepEqual(slices(w).map((s) => s.endpoints), [[]]);
    assert.deepEqual(plan(w).actions, []);
    w.remove(SERVICE, w.get(SERVICE, "web"));
    w.apply(plan(w));
    assert.equal(slices(w).length, 0);
  });

  it("names the pods of a headless Service by their hostname", () => {
    const w = world({ clusterIP: "None" });
    pod(w, 1, { spec: { hostname: "web-0", subdomain: "web" } });
    pod(w, 2, { spec: { hostname: "web-1", subdomain: "other" } });
    w.apply(plan(w));
    assert.deepEqual(endpoints(w).map((e) => (e as { hostname?: string }).hostname), ["web-0", undefined]);
    assert.equal(slices(w)[0]?.metadata.labels?.["service.kubernetes.io/headless"], "");
  });

  it("leaves Services without a selector alone, and forgets pods that stop matching", () => {
    const w = world();
    pod(w, 1);
    w.apply(plan(w));
    w.edit(POD, "p001", (p) => { p.metadata.labels = { app: "other" }; });
    w.apply(plan(w));
    assert.deepEqual(endpoints(w), []);
    w.edit(SERVICE, "web", (s) => { delete (s as unknown as Service).spec.selector; });
    assert.deepEqual(plan(w).actions, []);
  });
});
