import assert from "node:assert/strict";
import { security } from "@ambit/proto";
import { LogLevels, createLogger } from "@ambit/runtime";
import { at, ip, pod, pushWorld, stateOf, type WirePolicy } from "../state/wire.fixture.ts";
import type { ProxyState } from "../state/proxy-state.ts";
import { Connections, describeDenial, Ended, type LiveConnection } from "./connections.ts";
import { watchPolicies } from "./policy-watch.ts";

const QUIET = createLogger("test", { levels: new LogLevels("error"), write: () => undefined });
const connection = (podUid = "p"): LiveConnection => ({ pod: podUid, direction: "inbound", src: at("10.0.0.9:1"), originalDst: "10.0.0.1:80", actualDst: at("10.0.0.1:80"), protocol: "HBONE" });
const deny = (name: string, port: number, more: WirePolicy = {}): WirePolicy => ({ name, namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.DENY, rules: [{ clauses: [{ matches: [{ destinationPorts: [port] }] }] }], ...more });

function world(): { state: ProxyState; connections: Connections; admit: (port: number) => ReturnType<Connections["admit"]> } {
  const state = stateOf({ workloads: [pod("a", "10.0.0.1")] });
  const connections = new Connections();
  watchPolicies(state, connections, QUIET);
  const admit = (port: number) => {
    const workload = state.workloadAt("", ip("10.0.0.1"));
    assert.ok(workload);
    return connections.admit(state.view(), connection(), workload, { peer: undefined, sourceIp: ip("10.0.0.9"), destination: { ip: ip("10.0.0.1"), port } });
  };
  return { state, connections, admit };
}

describe("Connections", () => {
  it("lists what was admitted until it is disposed", () => {
    const { connections, admit } = world();
    const a = admit(80);
    assert.ok("live" in a);
    assert.equal(connections.size, 1);
    a.live[Symbol.dispose]();
    assert.deepEqual([connections.size, connections.list()], [0, []]);
  });
  it("does not list what was denied, and says why", () => {
    const { state, connections, admit } = world();
    pushWorld(state, { policies: [deny("d", 80)] });
    const a = admit(80);
    assert.ok("denied" in a);
    assert.deepEqual([connections.size, describeDenial(a.denied)], [0, { error: "connection closed due to policy rejection: explicitly denied by: ns/d", fields: { policy: "ns/d", "policy.rule": 0, "policy.fields": ["destinationPorts"] } }]);
  });
  it("a policy that arrives later ends what it forbids, in the same turn", () => {
    const { state, connections, admit } = world();
    const [a, b] = [admit(80), admit(81)];
    assert.ok("live" in a && "live" in b);
    pushWorld(state, { policies: [deny("d", 80)] });
    assert.deepEqual([a.live.ended.aborted, b.live.ended.aborted, connections.size], [true, false, 1]);
    assert.ok(a.live.ended.reason instanceof Ended);
    assert.deepEqual([a.live.ended.reason.code, a.live.ended.reason.message], ["policy-revoked", "connection closed due to policy change"]);
  });
  it("a workload that gets a policy named is judged again, others are not", () => {
    const { state, admit } = world();
    pushWorld(state, { policies: [deny("d", 80, { scope: security.Scope.WORKLOAD_SELECTOR })] });
    const a = admit(80);
    assert.ok("live" in a);
    pushWorld(state, { workloads: [pod("b", "10.0.0.2", { authorizationPolicies: ["ns/d"] })] });
    assert.equal(a.live.ended.aborted, false);
    pushWorld(state, { workloads: [pod("a", "10.0.0.1", { authorizationPolicies: ["ns/d"] })] });
    assert.equal(a.live.ended.aborted, true);
  });
  it("a dry run ends nothing", () => {
    const { state, admit } = world();
    const a = admit(80);
    assert.ok("live" in a);
    pushWorld(state, { policies: [deny("d", 80, { dryRun: true })] });
    assert.equal(a.live.ended.aborted, false);
  });
  it("outbound connections are never judged, and end with their pod", async () => {
    const { state, connections } = world();
    const mine = connections.track({ ...connection("p"), direction: "outbound" });
    const other = connections.track({ ...connection("q"), direction: "outbound" });
    pushWorld(state, { policies: [deny("d", 80)] });
    assert.equal(mine.ended.aborted, false);
    connections.endPod("p");
    assert.deepEqual([mine.ended.aborted, other.ended.aborted], [true, false]);
    const idle = connections.whenIdle();
    other[Symbol.dispose]();
    await idle;
  });
});
