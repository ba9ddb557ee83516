import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import { enrolmentOf, gatewayOf, summaryOf, type Asked } from "./gateway.ts";

const asked = (more: Partial<Asked> = {}): Asked => ({ name: "waypoint", namespace: "shop", traffic: undefined, serviceAccount: undefined, revision: undefined, ...more });

describe("the Gateway of a waypoint", () => {
  const cases: [string, Asked, object][] = [
    ["is Istio's own", asked(), { name: "waypoint", namespace: "shop" }],
    ["says what it is for", asked({ traffic: "all" }), { name: "waypoint", namespace: "shop", labels: { "istio.io/waypoint-for": "all" } }],
    ["has a revision", asked({ revision: "canary" }), { name: "waypoint", namespace: "shop", labels: { "istio.io/rev": "canary" } }],
    ["without a namespace leaves it to kubectl", asked({ namespace: undefined }), { name: "waypoint" }],
    ["of a service account is for workloads", asked({ serviceAccount: "web" }), { name: "waypoint", namespace: "shop", labels: { "istio.io/waypoint-for": "workload" }, annotations: { "istio.io/for-service-account": "web" } }],
  ];
  for (const [name, a, metadata] of cases)
    it(name, () => assert.deepEqual(gatewayOf(a), {
      apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata,
      spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
    }));

  for (const [name, a, problem] of [
    ["the name none", asked({ name: "none" }), /cannot be called "none"/],
    ["a service account with service traffic", asked({ serviceAccount: "web", traffic: "service" }), /needs --for workload or all/],
  ] as const)
    it(`refuses ${name}`, () => {
      const made = gatewayOf(a);
      assert.ok("problem" in made);
      assert.match(made.problem as string, problem);
    });
});

describe("what is said of a waypoint", () => {
  const gateway = (status?: object, generation = 1): KubeObject => ({ metadata: { name: "w", namespace: "n", generation }, spec: { gatewayClassName: "istio-waypoint" }, ...(status === undefined ? {} : { status }) });
  const programmed = (status: string, observedGeneration = 1) => ({ conditions: [{ type: "Programmed", status, reason: "R", message: "M", observedGeneration }] });
  const cases: [string, KubeObject, string, string][] = [
    ["nobody looked", gateway(), "Unknown", "Pending"],
    ["programmed", gateway(programmed("True")), "True", "R"],
    ["not programmed", gateway(programmed("False")), "False", "R"],
    ["programmed an older generation", gateway(programmed("True", 1), 2), "Unknown", "R"],
    ["not accepted", gateway({ conditions: [{ type: "Programmed", status: "False", reason: "Invalid", observedGeneration: 1 }, { type: "Accepted", status: "False", reason: "ListenersNotValid" }] }), "False", "ListenersNotValid"],
  ];
  for (const [name, g, status, reason] of cases) it(name, () => assert.deepEqual([summaryOf(g).programmed, summaryOf(g).reason], [status, reason]));
});

describe("enrolling a namespace", () => {
  const ns = (labels: Record<string, string>): KubeObject => ({ metadata: { name: "shop", labels } });
  const cases: [string, Record<string, string>, boolean, string, RegExp | undefined][] = [
    ["in the mesh", { "istio.io/dataplane-mode": "ambient" }, false, "label", undefined],
    ["not in the mesh: with a warning", {}, false, "label", /not in the mesh/],
    ["with this waypoint already", { "istio.io/use-waypoint": "waypoint" }, false, "already", undefined],
    ["with another one: kept", { "istio.io/use-waypoint": "other" }, false, "keep", /--overwrite/],
    ["with another one: overwritten when told", { "istio.io/use-waypoint": "other", "istio.io/dataplane-mode": "ambient" }, true, "label", undefined],
  ];
  for (const [name, labels, overwrite, kind, warning] of cases)
    it(name, () => {
      const e = enrolmentOf(ns(labels), "waypoint", overwrite);
      assert.equal(e.kind, kind);
      if (warning !== undefined) assert.match("warning" in e ? (e.warning ?? "") : "", warning);
    });
});
