// The whole control plane in virtual time, with everything around it going wrong: every proxy comes to hold the API's truth in bounded time,
// and nothing that lives is ever taken away by a fault (R10–R14, R21, R23, R24 of the parity table). `SIM_CITY_RUNS` makes it longer; a failure names its seed.
import assert from "node:assert/strict";
import { KINDS } from "@ambit/kube";
import { ADDRESS_TYPE } from "@ambit/xds/testing";
import { City } from "./control-plane.fixture.ts";

const RUNS = Number(process.env["SIM_CITY_RUNS"] ?? 8);
const FIRST_SEED = Number(process.env["SIM_CITY_SEED"] ?? 1);
/** After the last fault: the longest back-off of a watch (10 s) and of a proxy (18 s), two audits (30 s each), and the way. */
const CONVERGE_MAX_MS = 100_000;

describe("the control plane under faults", function () {
  this.timeout(RUNS > 20 ? 0 : 300_000);
  const cities: City[] = [];
  const city = async (seed: number, o: { pods?: number; replicas?: number; proxies?: number } = {}): Promise<City> => {
    const c = new City(seed);
    cities.push(c);
    await c.build({ pods: o.pods ?? 12, replicas: o.replicas ?? 2, proxies: o.proxies ?? 4 });
    return c;
  };
  /** Three minutes of changes and faults; how long it took everybody to hold the truth after them, in ms. */
  const throughFaults = async (seed: number): Promise<number> => {
    const c = await city(seed);
    for (const until = c.clock.now() + 180_000; c.clock.now() < until; await c.run(c.random() * 1_500)) {
      if (c.chance(0.6)) c.edit();
      if (c.chance(0.15)) c.fault();
    }
    c.heal();
    const took = await c.untilConverged(CONVERGE_MAX_MS);
    cities.splice(cities.indexOf(c), 1);
    c.close();
    return took;
  };
  afterEach(() => { for (const c of cities.splice(0)) c.close(); });

  it(`comes to the truth from any mixture of faults and changes (${RUNS} seeds from ${FIRST_SEED})`, async () => {
    let worst = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
      try {
        worst = Math.max(worst, await throughFaults(seed));
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    assert.ok(worst > 0 || RUNS < 8, "some run ended with somebody behind");
  });

  // Each took a pod away while a replica whose watches had just come back had not been told yet what it missed.
  it("keeps what lives when the replica it comes to catches up (seeds that failed)", async () => {
    for (const seed of [299, 2186, 4112]) await throughFaults(seed);
  });

  it("an outage of a day changes nothing, and is over within seconds", async () => {
    const c = await city(101);
    const before = c.proxies.map((p) => [...c.held(p)].sort());
    for (const r of c.replicas) c.killReplica(r);
    await c.run(24 * 3_600_000);
    assert.deepEqual(c.proxies.map((p) => [...c.held(p)].sort()), before);
    for (let i = 0; i < 20; i++) c.edit();
    c.startReplicas(2);
    assert.ok((await c.untilConverged(30_000)) <= 25_000);
  });

  it("ten flaps of the API server in ten minutes, each with a compacted log, take nothing away and bring no flood of lists", async () => {
    const c = await city(102);
    const kinds = c.api.lists / 2;
    c.api.lists = 0;
    for (let i = 0; i < 10; i++) {
      c.api.flap(true);
      c.edit();
      await c.run(60_000);
    }
    await c.untilConverged(10_000);
    // Each replica lists each kind once after each flap.
    assert.ok(c.api.lists <= 10 * 2 * kinds, `${c.api.lists} lists of ${kinds} kinds`);
  });

  it("replicas that lose the API server, one after the other, take nothing away from proxies that go round them", async () => {
    const c = await city(103, { replicas: 3 });
    for (let i = 0; i < 12; i++) {
      const blind = c.pick(c.replicas)?.number ?? 0;
      c.api.unreachable.add(blind);
      c.api.cut((r) => r === blind);
      for (let e = 0; e < 5; e++) c.edit();
      await c.run(5_000);
      // Proxies that know more than the blind one come to it.
      for (const p of c.proxies) p.cut();
      await c.run(10_000);
      c.api.unreachable.delete(blind);
      await c.run(15_000);
    }
    await c.untilConverged(CONVERGE_MAX_MS);
  });

  it("lost pushes are found and repaired, also when nothing changes afterwards", async () => {
    const c = await city(104);
    let repairs = 0;
    for (let round = 0; round < 5; round++) {
      c.lossy = 0.7;
      for (let i = 0; i < 6; i++) { c.edit(); await c.run(200); }
      c.lossy = 0;
      assert.ok((await c.untilConverged(CONVERGE_MAX_MS)) <= 70_000);
      repairs = c.proxies.reduce((n, p) => n + p.repairs, 0);
    }
    assert.ok(repairs > 0, "an audit found something");
  });

  it("wall clocks that are off by days, and jump either way, change nothing: not the truth, not how soon it comes", async () => {
    const c = await city(107, { replicas: 3 });
    let worst = 0;
    for (let i = 0; i < 40; i++) {
      // Between a change and its push, too.
      c.edit();
      for (const r of c.replicas) r.skewMs = c.skew();
      c.edit();
      if (i % 8 === 7) for (const p of c.proxies) p.cut();
      worst = Math.max(worst, await c.untilConverged(CONVERGE_MAX_MS, 20));
      await c.run(c.random() * 3_000);
    }
    assert.ok(worst <= 3_000, `${worst} ms`);
    // Nothing took it for a loss either.
    assert.equal(c.proxies.reduce((n, p) => n + p.repairs, 0), 0);
  });

  it("a new replica serves nobody before it has read everything", async () => {
    const c = await city(105);
    for (const r of c.replicas) c.killReplica(r);
    c.api.latency = () => 2_000;
    c.startReplicas(1);
    for (let i = 0; i < 40; i++) {
      await c.run(100);
      const [replica] = c.replicas;
      if (replica?.ready === true) break;
      assert.ok(c.proxies.every((p) => !p.connected));
    }
    await c.untilConverged(60_000);
  });

  it("an address that goes from pod to pod is never anybody's but its pod's, and a pod deleted by force is gone within 2 s", async () => {
    const c = await city(106, { proxies: 2 });
    const addressOf = (proxy: number, pod: string) => c.proxies[proxy]?.state.get(ADDRESS_TYPE)?.get(`Kubernetes//Pod/shop/${pod}`)?.bytes;
    for (let i = 0; i < 200; i++) {
      const [old, next] = [`pod-r${i}`, `pod-r${i + 1}`];
      c.putPod(old, "10.2.9.9", i % 3);
      await c.run(300);
      c.deletePod(old);
      c.putPod(next, "10.2.9.9", (i + 1) % 3);
      await c.run(1_000);
      for (const p of [0, 1]) assert.deepEqual([addressOf(p, old), addressOf(p, next) === undefined], [undefined, false], `round ${i}`);
      c.deletePod(next);
      // The same name at once at another address, as a StatefulSet makes it.
      c.putPod("pod-set", `10.2.8.${1 + (i % 200)}`, 0, { uid: `set-${i}` });
      await c.run(1_000);
      const bytes = addressOf(0, "pod-set");
      assert.ok(bytes !== undefined && Buffer.from(bytes).includes(Buffer.from([10, 2, 8, 1 + (i % 200)])), "the new address is there");
      assert.ok(i === 0 || !Buffer.from(bytes).includes(Buffer.from([10, 2, 8, 1 + ((i - 1) % 200)])), "the old one is gone");
      c.deletePod("pod-set");
      await c.run(200);
    }
    assert.equal(c.converged(), true);
    assert.equal(c.api.list(KINDS.pods).length, 12);
  });
});
