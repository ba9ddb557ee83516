import assert from "node:assert/strict";
import { workload } from "@ambit/proto";
import { followIdentities } from "./control.ts";
import { pod, pushWorld, stateOf } from "@ambit/proxy/testing";

describe("followIdentities", () => {
  const rig = () => {
    const state = stateOf({});
    const log: string[] = [];
    followIdentities(state, { prefetch: (id) => log.push(`+${id.serviceAccount}`), forget: (id) => log.push(`-${id.serviceAccount}`) });
    return { state, log, take: () => log.splice(0).join(" ") };
  };
  const local = (name: string, more = {}) => pod(name, "10.0.0.1", { serviceAccount: "x", ...more });
  it("wants a certificate for the first local workload of an identity and gives it back with the last", () => {
    const { state, take } = rig();
    pushWorld(state, { workloads: [local("a")] });
    assert.equal(take(), "+x");
    pushWorld(state, { workloads: [local("b")] });
    assert.equal(take(), "");
    state.apply({ changes: [{ kind: "address-removed", name: "Kubernetes//Pod/ns/a" }] });
    assert.equal(take(), "");
    state.apply({ changes: [{ kind: "address-removed", name: "Kubernetes//Pod/ns/b" }] });
    assert.equal(take(), "-x");
  });
  it("wants none for other nodes or for pods outside the mesh", () => {
    const { state, take } = rig();
    pushWorld(state, { workloads: [local("a", { node: "n2" }), local("b", { tunnelProtocol: workload.TunnelProtocol.NONE })] });
    assert.equal(take(), "");
  });
  it("keeps it while a pod of that identity is still here, though no longer enrolled", () => {
    const { state, take } = rig();
    pushWorld(state, { workloads: [local("a")] });
    take();
    pushWorld(state, { workloads: [local("a", { tunnelProtocol: workload.TunnelProtocol.NONE })] });
    assert.equal(take(), "");
  });
});
