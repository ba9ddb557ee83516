import assert from "node:assert/strict";
import type { Pod, Service } from "@ambit/kube";
import { World } from "../simulation.ts";
import { ENDPOINTS_MAX_ADDRESSES, planEndpoints, type Endpoints } from "./endpoints.ts";
import { ENDPOINTS, POD, SERVICE } from "./kinds.ts";

function world(spec: Record<string, unknown> = {}): World {
  const w = new World();
  w.put(SERVICE, { metadata: { name: "web", labels: { team: "a" } }, spec: { clusterIP: "10.96.1.1", selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "http" }], ...spec } });
  return w;
}
function pod(w: World, name: string, more: { ready?: string; port?: number; gone?: boolean } = {}): void {
  w.put(POD, {
    metadata: { name, labels: { app: "web" }, ...(more.gone === true ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}) },
    spec: { nodeName: "n1", containers: [{ name: "c", ports: [{ name: "http", containerPort: more.port ?? 8080 }] }] },
    status: { phase: "Running", podIP: `10.244.1.${name.slice(1)}`, conditions: [{ type: "Ready", status: more.ready ?? "True" }] },
  });
}
const plan = (w: World) => planEndpoints({ service: w.find<Service>(SERVICE, "web"), pods: w.all<Pod>(POD), endpoints: w.find<Endpoints>(ENDPOINTS, "web") });
const subsets = (w: World) => w.find<Endpoints>(ENDPOINTS, "web")?.subsets?.map((s) => ({ ready: s.addresses?.map((a) => a.ip), unready: s.notReadyAddresses?.map((a) => a.ip), ports: s.ports?.map((p) => p.port) }));

describe("planEndpoints", () => {
  it("ready and unready pods, by the port they resolve to, and is then at rest", () => {
    const w = world();
    pod(w, "p1");
    pod(w, "p2", { ready: "False" });
    pod(w, "p3", { port: 9090 });
    pod(w, "p4", { gone: true });
    w.apply(plan(w));
    assert.deepEqual(subsets(w), [{ ready: ["10.244.1.1"], unready: ["10.244.1.2"], ports: [8080] }, { ready: ["10.244.1.3"], unready: undefined, ports: [9090] }]);
    assert.deepEqual(plan(w).actions, []);
    assert.equal(w.get(ENDPOINTS, "web").metadata.labels?.["team"], "a");
  });
  it("publishNotReadyAddresses makes all ready", () => {
    const w = world({ publishNotReadyAddresses: true });
    pod(w, "p1", { ready: "False" });
    w.apply(plan(w));
    assert.deepEqual(subsets(w)?.[0]?.ready, ["10.244.1.1"]);
  });
  it("without pods there is an empty object, and it goes with its Service", () => {
    const w = world();
    w.apply(plan(w));
    assert.deepEqual(subsets(w), []);
    w.remove(SERVICE, w.get(SERVICE, "web"));
    w.apply(plan(w));
    assert.equal(w.find(ENDPOINTS, "web"), undefined);
  });
  it("leaves alone what is somebody else's", () => {
    const w = world({ selector: undefined });
    w.put(ENDPOINTS, { metadata: { name: "web" }, subsets: [] });
    assert.deepEqual(plan(w).actions, []);
    w.remove(SERVICE, w.get(SERVICE, "web"));
    assert.deepEqual(plan(w).actions, []);
  });
  it("is cut at its bound and says so", () => {
    const w = world();
    for (let i = 0; i <= ENDPOINTS_MAX_ADDRESSES; i++) pod(w, `p${i}`);
    w.apply(plan(w));
    assert.equal(subsets(w)?.[0]?.ready?.length, ENDPOINTS_MAX_ADDRESSES);
    assert.equal(w.get(ENDPOINTS, "web").metadata.annotations?.["endpoints.kubernetes.io/over-capacity"], "truncated");
    assert.deepEqual(plan(w).actions, []);
  });
});
