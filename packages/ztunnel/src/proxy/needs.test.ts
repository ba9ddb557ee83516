import assert from "node:assert/strict";
import { MeshError } from "@ambit/core";
import { ManualClock, pod, pushWorld, stateOf } from "@ambit/proxy/testing";
import type { Gathered } from "../facts.ts";
import { lookUp, type NeedPlan } from "../plan/need.ts";
import { createOnDemand } from "./on-demand.ts";
import { createNeeds, OWN_WORKLOAD_WAIT_MS } from "./needs.ts";

const INFO = { name: "client", namespace: "ns", serviceAccount: "client" };
const need = (what: NeedPlan["need"]): NeedPlan => ({ kind: "need", need: what, because: [] });
const DNS = need({ kind: "dns", hostname: "db.example" });

describe("what a plan needs", () => {
  const rig = (resolve: () => Promise<readonly []> = () => assert.fail("nothing was to be resolved")) => {
    const clock = new ManualClock();
    const state = stateOf({});
    return { clock, state, needs: createNeeds({ state, clock, resolve }) };
  };

  it("our own workload: the push that brings it ends the wait", async () => {
    const { clock, state, needs } = rig();
    const decided = needs.decide(INFO, () => (state.view().workloadOfPod(INFO) === undefined ? need({ kind: "own-workload" }) : { kind: "done" }));
    pushWorld(state, { workloads: [pod("client", "10.0.0.1")] });
    assert.deepEqual(await decided, { kind: "done" });
    assert.equal(clock.pending, 0);
  });

  it("our own workload: the wait is bounded", async () => {
    const { clock, needs } = rig();
    const decided = needs.decide(INFO, () => need({ kind: "own-workload" }));
    await clock.advance(OWN_WORKLOAD_WAIT_MS);
    const plan = await decided;
    assert.deepEqual([plan.kind, plan.code], ["deny", "unknown-source"]);
    assert.match(plan.message, /ns\/client is not known after 5000 ms/);
  });

  it("a name: its addresses are gathered for the next round, and the question is told", async () => {
    const told: string[] = [];
    const { state, clock } = rig();
    const needs = createNeeds({ state, clock, resolve: () => Promise.resolve([]), onName: (p, hostname) => told.push(`${p.name} ${hostname}`) });
    const plan = await needs.decide(INFO, ({ hosts }) => (hosts.has("db.example") ? { kind: "done", addresses: hosts.get("db.example") } : DNS));
    assert.deepEqual([plan, told], [{ kind: "done", addresses: [] }, ["client db.example"]]);
  });

  for (const [name, error, code] of [
    ["a resolver's failure", new Error("no answer"), "dns-failed"],
    ["a failure that has a code", new MeshError("overloaded", "too many questions"), "overloaded"],
  ] as const) it(`a name: ${name} is a denial that names it`, async () => {
    const { needs } = rig(() => Promise.reject(error));
    const plan = await needs.decide(INFO, () => DNS);
    assert.deepEqual([plan.kind, plan.code, plan.message], ["deny", code, `cannot resolve db.example: ${error.message}`]);
  });

  it("an address: a control plane that does not answer is a denial, never a way round the mesh", async () => {
    const { clock, state } = rig();
    const demand = (answer: "found" | "missing" | "timeout") => createNeeds({ state, clock, resolve: () => assert.fail("no names"), onDemand: createOnDemand({ ask: () => Promise.resolve(answer), clusterId: "c", clock }) });
    const plan = (gathered: Gathered) => lookUp(gathered, "/1.2.3.4") === undefined ? { kind: "done" } : need({ kind: "address", name: "/1.2.3.4" });
    assert.deepEqual((await demand("missing").decide(INFO, plan)), { kind: "done" });
    const denied = await demand("timeout").decide(INFO, plan);
    assert.deepEqual([denied.kind, "code" in denied && denied.code], ["deny", "lookup-timeout"]);
  });

  it("a plan that never ends asking is cut off", async () => {
    let asked = 0;
    const { needs } = rig(() => Promise.resolve([]));
    const plan = await needs.decide(INFO, () => { asked++; return DNS; });
    assert.deepEqual([plan.kind, plan.code, asked], ["deny", "need-exhausted", 6]);
  });
});
