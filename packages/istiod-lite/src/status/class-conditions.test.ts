import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import { classStatus, OUR_CLASSES } from "./class-conditions.ts";

const of = (name: string, spec: object | undefined): KubeObject => ({ kind: "GatewayClass", metadata: { name }, ...(spec === undefined ? {} : { spec }) });

describe("the status of a GatewayClass", () => {
  for (const [name, { controller }] of OUR_CLASSES)
    it(`${name} is accepted`, () => {
      const status = classStatus(of(name, { controllerName: controller }));
      assert.equal(status?.accepted.status, "True");
      assert.deepEqual(status.features, [...status.features].sort());
      assert.equal(status.features.length > 0, name !== "istio-remote");
    });
  const cases: readonly (readonly [string, object | undefined, string | undefined])[] = [
    ["istio", { controllerName: "istio.io/gateway-controller" }, undefined], ["istio-waypoint", { controllerName: "example.com/other" }, undefined], ["x", undefined, undefined], ["x", {}, undefined],
    ["mine", { controllerName: "istio.io/mesh-controller" }, "Unsupported"], ["istio-remote", { controllerName: "istio.io/mesh-controller" }, "Unsupported"],
    ["istio-waypoint", { controllerName: "istio.io/mesh-controller", parametersRef: { kind: "ConfigMap", name: "x" } }, "InvalidParameters"],
  ];
  for (const [name, spec, reason] of cases) it(`${name} ${JSON.stringify(spec ?? null)}: ${reason ?? "not ours"}`, () => assert.equal(classStatus(of(name, spec))?.accepted.reason, reason));
});
