import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import type { Clock } from "@ambit/runtime";
import { buildMesh } from "../collections/graph.ts";
import { DEFAULT_SETTINGS } from "../collections/settings.ts";
import { SETTLE_MS, trackEnforcement } from "./enforcement.ts";

const pod = (name: string, labels: Record<string, string>, enrolled = true): KubeObject => ({
  kind: "Pod", metadata: { name, namespace: "app", labels, annotations: enrolled ? { "ambient.istio.io/redirection": "enabled" } : {} },
  spec: { serviceAccountName: "a", containers: [] }, status: { podIP: "10.0.0.1" },
});
const policy = (name: string, namespace: string, selector?: Record<string, string>): KubeObject => ({ kind: "AuthorizationPolicy", metadata: { name, namespace }, spec: selector === undefined ? {} : { selector: { matchLabels: selector } } });

describe("policies that nobody enforces", () => {
  function rig() {
    const mesh = buildMesh(DEFAULT_SETTINGS);
    let due: (() => void) | undefined;
    let asked = 0;
    const clock = { after: (ms: number, task: () => void) => { asked++; assert.equal(ms, SETTLE_MS); due = task; return { cancel: () => { due = undefined; } }; } } satisfies Pick<Clock, "after">;
    const put = (source: "pods" | "authorizationPolicies", o: KubeObject): void => mesh.sources[source].set(o as never);
    const settle = (): void => { due?.(); due = undefined; };
    const idle = (): string[] => mesh.statuses.list().filter((s) => s.conditions.some((c) => c.message.includes("nobody enforces it now"))).map((s) => `${s.namespace}/${s.name}`);
    return { mesh, clock, put, settle, idle, get asked() { return asked; } };
  }

  it("are named when the last enrolled workload goes, in every scope, and no more when one comes", () => {
    const r = rig();
    for (const p of [policy("selected", "app", { app: "x" }), policy("all", "app"), policy("other", "other"), policy("mesh", "istio-system")]) r.put("authorizationPolicies", p);
    r.put("pods", pod("x", { app: "x" }, false));
    const end = trackEnforcement(r.mesh, r.clock);
    r.settle();
    assert.deepEqual(r.idle(), ["app/all", "app/selected", "istio-system/mesh", "other/other"], "a pod outside the mesh protects nothing");
    r.put("pods", pod("x", { app: "x" }));
    r.settle();
    assert.deepEqual(r.idle(), ["other/other"]);
    r.put("pods", pod("x", { app: "y" }));
    r.settle();
    assert.deepEqual(r.idle(), ["app/selected", "other/other"]);
    r.mesh.sources.pods.delete("app/x");
    r.mesh.sources.authorizationPolicies.delete("app/all");
    r.settle();
    assert.deepEqual(r.idle(), ["app/selected", "istio-system/mesh", "other/other"]);
    assert.equal(r.mesh.idlePolicies.get("app/all"), undefined, "what is gone is forgotten");
    end();
  });

  it("are not spoken of while things move", () => {
    const r = rig();
    r.put("authorizationPolicies", policy("selected", "app", { app: "x" }));
    r.put("pods", pod("x", { app: "x" }));
    const end = trackEnforcement(r.mesh, r.clock);
    r.settle();
    const asked = r.asked;
    for (let i = 0; i < 10; i++) {
      r.mesh.sources.pods.delete("app/x");
      r.put("pods", pod("x", { app: "x" }));
    }
    assert.deepEqual(r.idle(), []);
    assert.equal(r.asked, asked + 1);
    r.settle();
    assert.deepEqual(r.idle(), []);
    end();
  });
});
