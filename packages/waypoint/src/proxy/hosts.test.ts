import assert from "node:assert/strict";
import { encodeWaypointConfig, type WaypointConfig } from "@ambit/core";
import { ip, ManualClock, member, pod, pushWorld, quiet, settle, svc } from "@ambit/proxy/testing";
import { Hosts, REFRESH_MS } from "./hosts.ts";
import { WaypointState } from "../state/waypoint-state.ts";
import { config as configOf } from "../plan/plan.fixture.ts";

const HOST = "api.example.com";
function world(lookup: (name: string) => Promise<readonly ReturnType<typeof ip>[]>) {
  const clock = new ManualClock();
  const state = new WaypointState("shop/waypoint", "");
  const hosts = new Hosts({ state, lookup, clock, log: quiet });
  pushWorld(state.mesh, {
    services: [svc("api.svc", "10.96.0.1")], workloads: [pod("api", "", { addresses: [], hostname: HOST, services: member("api.svc") }), pod("near", "10.0.0.1", { services: member("api.svc") })],
  });
  const config: WaypointConfig = configOf({ namespace: "shop", name: "waypoint", services: new Map([["ns/api.svc", { producer: new Map(), consumers: new Map() }]]) });
  assert.equal(state.applyConfig("shop/waypoint", Buffer.from(encodeWaypointConfig(config))), undefined);
  return { clock, state, hosts };
}

describe("endpoints known by name", () => {
  it("are looked up as soon as they are known, and again", async () => {
    let answer = "192.0.2.1";
    const { clock, hosts } = world(async () => [ip(answer)]);
    await settle();
    assert.deepEqual(hosts.answers.get(HOST), ["192.0.2.1"]);
    answer = "192.0.2.2";
    await clock.advance(REFRESH_MS);
    await settle();
    assert.deepEqual(hosts.answers.get(HOST), ["192.0.2.2"]);
    hosts.close();
  });

  it("keep their last answer when DNS fails", async () => {
    let fail = false;
    const { clock, hosts } = world(async () => { if (fail) throw new Error("SERVFAIL"); return [ip("192.0.2.1")]; });
    await settle();
    fail = true;
    await clock.advance(REFRESH_MS);
    await settle();
    assert.deepEqual(hosts.answers.get(HOST), ["192.0.2.1"]);
    hosts.close();
  });

  it("are forgotten when nothing names them any more", async () => {
    const { state, hosts } = world(async () => [ip("192.0.2.1")]);
    await settle();
    state.applyConfig("shop/waypoint", undefined);
    assert.equal(hosts.answers.size, 0);
    hosts.close();
  });
});
