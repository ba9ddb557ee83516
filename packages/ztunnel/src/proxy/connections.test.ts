import assert from "node:assert/strict";
import { security } from "@ambit/proto";
import { createLogger, LogLevels, systemClock, type Clock } from "@ambit/runtime";
import { at, ip, pod, pushWorld, stateOf, type WirePolicy } from "@ambit/proxy/testing";
import type { ProxyState } from "@ambit/proxy/state";
import { Connections, describeDenial, Ended, type LiveConnection } from "./connections.ts";
import { admitWhenKnown, watchPolicies } from "./policy-watch.ts";

const QUIET = createLogger("test", { levels: new LogLevels("error"), write: () => undefined });
const connection = (podUid = "p"): LiveConnection => ({ pod: podUid, direction: "inbound", src: at("10.0.0.9:1"), originalDst: "10.0.0.1:80", actualDst: at("10.0.0.1:80"), protocol: "HBONE" });
const deny = (name: string, port: number, more: WirePolicy = {}): WirePolicy => ({ name, namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.DENY, rules: [{ clauses: [{ matches: [{ destinationPorts: [port] }] }] }], ...more });

interface Rig {
  readonly state: ProxyState;
  readonly connections: Connections;
  readonly clock: Clock;
  readonly admit: (port: number) => ReturnType<Connections["admit"]>;
  readonly patienceEnds: () => void;
}
function world(): Rig {
  const state = stateOf({ workloads: [pod("a", "10.0.0.1")] });
  const connections = new Connections();
  const timers: { run: () => void }[] = [];
  const clock: Clock = { ...systemClock, after: (_ms, task) => { const t = { run: task }; timers.push(t); return { cancel: () => void timers.splice(timers.indexOf(t), 1) }; } };
  watchPolicies({ state, connections, clock, log: QUIET });
  const patienceEnds = (): void => { for (const t of timers.splice(0)) t.run(); };
  const admit = (port: number) => {
    const workload = state.workloadAt("", ip("10.0.0.1"));
    assert.ok(workload);
    return connections.admit(state.view(), connection(), workload, { peer: undefined, sourceIp: ip("10.0.0.9"), destination: { ip: ip("10.0.0.1"), port } });
  };
  return { state, connections, admit, clock, patienceEnds };
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

describe("policies that are named before they are sent", () => {
  const NAMES = pod("a", "10.0.0.1", { authorizationPolicies: ["ns/late"] });
  const late = (port: number): WirePolicy => deny("late", port, { scope: security.Scope.WORKLOAD_SELECTOR });
  const ask = (r: Rig) => {
    const workload = r.state.workloadAt("", ip("10.0.0.1"));
    assert.ok(workload);
    return admitWhenKnown(r, connection(), workload, { peer: undefined, sourceIp: ip("10.0.0.9"), destination: { ip: ip("10.0.0.1"), port: 80 } });
  };
  it("spare an open connection until they come, and then decide", () => {
    const r = world();
    const [a, b] = [r.admit(80), r.admit(81)];
    assert.ok("live" in a && "live" in b);
    pushWorld(r.state, { workloads: [NAMES] });
    assert.deepEqual([a.live.ended.aborted, b.live.ended.aborted], [false, false]);
    pushWorld(r.state, { policies: [late(80)] });
    assert.deepEqual([a.live.ended.aborted, b.live.ended.aborted], [true, false]);
    r.patienceEnds();
    assert.equal(b.live.ended.aborted, false);
  });
  it("end it when they do not come", () => {
    const r = world();
    const a = r.admit(80);
    assert.ok("live" in a);
    pushWorld(r.state, { workloads: [NAMES] });
    r.patienceEnds();
    assert.equal(a.live.ended.aborted, true);
  });
  it("hold a new connection until they come", async () => {
    const r = world();
    pushWorld(r.state, { workloads: [NAMES] });
    const asked = ask(r);
    pushWorld(r.state, { policies: [late(81)] });
    assert.ok("live" in (await asked));
  });
  it("refuse it when they do not", async () => {
    const r = world();
    pushWorld(r.state, { workloads: [NAMES] });
    const asked = ask(r);
    r.patienceEnds();
    const answer = await asked;
    assert.ok("denied" in answer && answer.denied.reason === "missing-policy");
  });
});
