import assert from "node:assert/strict";
import { createLogger, LogLevels } from "@ambit/runtime";
import type { KubeObject } from "@ambit/kube";
import { buildMesh } from "../collections/graph.ts";
import { DEFAULT_SETTINGS } from "../collections/settings.ts";
import { createInbox } from "./inbox.ts";

const service = (name: string, over: object = {}): KubeObject => ({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "app" }, spec: { clusterIP: "10.96.0.1", ports: [{ port: 80 }], ...over } });
const turn = (): Promise<void> => new Promise((r) => setImmediate(r));

describe("the inbox", () => {
  function rig() {
    const mesh = buildMesh(DEFAULT_SETTINGS);
    const lines: { msg: string; object: string; error: string }[] = [];
    const inbox = createInbox(mesh, createLogger("test", { levels: new LogLevels("info"), write: (l) => lines.push(JSON.parse(l) as (typeof lines)[number]) }));
    let batches = 0;
    mesh.addresses.onChange(() => batches++);
    return { mesh, inbox, lines, get batches() { return batches; } };
  }

  it("holds everything back until it is opened, then applies it as one", () => {
    const r = rig();
    r.inbox.put("services", service("a"));
    r.inbox.put("services", service("b"));
    r.inbox.remove("services", "app/a");
    assert.equal(r.mesh.addresses.size, 0);
    r.inbox.open();
    assert.deepEqual(r.mesh.addresses.keys(), ["app/b.app.svc.cluster.local"]);
    assert.equal(r.batches, 1);
  });
  it("applies what comes in one turn as one batch", async () => {
    const r = rig();
    r.inbox.open();
    for (const n of ["a", "b", "c"]) r.inbox.put("services", service(n));
    await turn();
    assert.deepEqual([r.mesh.addresses.size, r.batches], [3, 1]);
  });
  it("refuses a malformed object by name, kind and path, and keeps the last good one", async () => {
    const r = rig();
    r.inbox.open();
    r.inbox.put("services", service("a"));
    await turn();
    r.inbox.put("services", service("a", { ports: [{ port: 99_999 }] }));
    await turn();
    assert.equal(r.mesh.addresses.size, 1);
    assert.deepEqual(r.lines.map((l) => [l.msg, l.object, l.error]), [["object refused, the last good one stays", "Service app/a", "spec.ports[0].port: must be a port from 1 to 65535"]]);
  });
  it("reads a null field as absent", async () => {
    const r = rig();
    r.inbox.open();
    r.inbox.put("services", service("a", { selector: null, trafficDistribution: null }));
    await turn();
    assert.equal(r.mesh.addresses.size, 1);
    assert.equal(r.lines.length, 0);
  });
});
