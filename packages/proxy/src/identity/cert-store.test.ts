import assert from "node:assert/strict";
import { createLogger, LogLevels, Metrics } from "@ambit/runtime";
import { createCertStore, IN_FLIGHT_MAX, WAITERS_MAX, type CertStore } from "./cert-store.ts";
import { ManualCa, ManualClock, quiet, settle } from "./manual.fixture.ts";

const id = (serviceAccount: string) => ({ trustDomain: "cluster.local", namespace: "shop", serviceAccount });
const uri = (serviceAccount: string) => `spiffe://cluster.local/ns/shop/sa/${serviceAccount}`;
const HOUR = 3_600_000;

describe("createCertStore", () => {
  let clock: ManualClock;
  let ca: ManualCa;
  let store: CertStore;
  const metrics = () => new Metrics(() => 0);

  beforeEach(() => {
    clock = new ManualClock();
    ca = new ManualCa(clock);
    store = createCertStore({ caClient: ca, clock, random: () => 0.5, log: quiet, metrics: metrics() });
  });
  afterEach(() => {
    store.close();
    assert.equal(clock.pending, 0);
  });

  it("asks once for all who wait, then gives what it has", async () => {
    const all = Promise.all([store.fetch(id("a"), "realtime"), store.fetch(id("a"), "realtime")]);
    assert.equal(ca.asked.length, 1);
    ca.asked[0]?.succeed();
    const [one, two] = await all;
    assert.equal(one, two);
    assert.equal(await store.fetch(id("a"), "realtime"), one);
    assert.equal(ca.asked.length, 1);
  });

  it("renews at half life and tells listeners; fetch never waits meanwhile", async () => {
    const seen: string[] = [];
    store.onRotate((c) => seen.push(c.serial));
    store.prefetch(id("a"));
    ca.asked[0]?.succeed(24 * HOUR);
    await clock.advance(12 * HOUR - 1);
    assert.equal(ca.asked.length, 1);
    await clock.advance(1);
    assert.equal(ca.asked.length, 2);
    assert.equal((await store.fetch(id("a"), "realtime")).serial, "1");
    ca.asked[1]?.succeed();
    await settle();
    assert.equal((await store.fetch(id("a"), "realtime")).serial, "2");
    assert.deepEqual(seen, ["1", "2"]);
  });

  it("keeps the valid certificate while renewal fails, and says so", async () => {
    store.prefetch(id("a"));
    ca.asked[0]?.succeed(HOUR);
    await clock.advance(HOUR / 2);
    ca.asked[1]?.fail("CA down");
    await settle();
    assert.equal((await store.fetch(id("a"), "realtime")).serial, "1");
    const [status] = store.list();
    assert.deepEqual([status?.state, status?.usable, status?.error], ["failing", true, "CA down"]);
    await clock.advance(500);
    assert.equal(ca.asked.length, 3);
    ca.asked[2]?.succeed(HOUR);
    await settle();
    assert.equal((await store.fetch(id("a"), "realtime")).serial, "2");
  });

  it("uses a certificate that begins in the future, and says both times", async () => {
    const said: Record<string, unknown>[] = [];
    const log = createLogger("test", { levels: new LogLevels("warn"), write: (line) => said.push(JSON.parse(line) as Record<string, unknown>) });
    const late = createCertStore({ caClient: ca, clock, random: () => 0.5, log, metrics: metrics() });
    late.prefetch(id("a"));
    const here = clock.now();
    ca.asked[0]?.succeed(HOUR, 600_000);
    await settle();
    assert.equal((await late.fetch(id("a"), "realtime")).serial, "1");
    assert.deepEqual(said.map((l) => [l["not_before"], l["time_here"]]), [[new Date(here + 600_000).toISOString(), new Date(here).toISOString()]]);
    late.close();
  });

  it("stops giving a certificate at its end", async () => {
    store.prefetch(id("a"));
    ca.asked[0]?.succeed(HOUR);
    await clock.advance(HOUR);
    assert.equal(store.list()[0]?.usable, false);
    const late = store.fetch(id("a"), "realtime");
    ca.asked[1]?.succeed(HOUR);
    assert.equal((await late).serial, "2");
  });

  it("bounds the wait and says why there is none and when it tries again", async () => {
    const waiting = store.fetch(id("a"), "realtime");
    const refused = assert.rejects(waiting, { code: "identity-unavailable", message: `no certificate for ${uri("a")}: pod not found; asking again` });
    ca.asked[0]?.fail("pod not found");
    await clock.advance(5_000);
    assert.equal(ca.asked.length, 2);
    await refused;
  });

  it("bounds how many wait", async () => {
    const waiting = Promise.allSettled(Array.from({ length: WAITERS_MAX }, () => store.fetch(id("a"), "realtime")));
    await assert.rejects(store.fetch(id("b"), "realtime"), { code: "overloaded" });
    ca.asked[0]?.succeed();
    assert.ok((await waiting).every((w) => w.status === "fulfilled"));
  });

  it("retries soon for a waiting connection, however long it failed before", async () => {
    store.prefetch(id("a"));
    for (let i = 0; i < 12; i++) {
      ca.asked.at(-1)?.fail("down");
      await clock.advance(150_000);
    }
    const before = ca.asked.length;
    ca.asked.at(-1)?.fail("down");
    await settle();
    const waiting = store.fetch(id("a"), "realtime");
    await clock.advance(1_000);
    assert.equal(ca.asked.length, before + 1);
    ca.asked.at(-1)?.succeed();
    await waiting;
  });

  it("has at most 8 requests under way and serves connections before new pods", async () => {
    for (let i = 0; i < 20; i++) store.prefetch(id(`p${i}`));
    assert.equal(ca.asked.length, IN_FLIGHT_MAX);
    const waiting = store.fetch(id("urgent"), "realtime");
    ca.asked[0]?.succeed();
    await settle();
    assert.equal(ca.asked[IN_FLIGHT_MAX]?.uri, uri("urgent"));
    ca.asked[IN_FLIGHT_MAX]?.succeed();
    await waiting;
    for (let i = 1; i < 21; i++) {
      ca.asked[i]?.succeed();
      await settle();
    }
    assert.equal(ca.asked.length, 21);
    assert.equal(ca.openMax, IN_FLIGHT_MAX);
  });

  it("forgets a workload that left: no more renewals, a late answer is dropped", async () => {
    const waiting = store.fetch(id("a"), "realtime");
    store.forget(id("a"));
    await assert.rejects(waiting, { code: "identity-unavailable" });
    ca.asked[0]?.succeed();
    await settle();
    assert.deepEqual(store.list(), []);
    store.prefetch(id("b"));
    ca.asked[1]?.succeed();
    await settle();
    store.forget(id("b"));
    await clock.advance(48 * HOUR);
    assert.equal(ca.asked.length, 2);
  });

  it("lists without keys", async () => {
    store.prefetch(id("a"));
    ca.asked[0]?.succeed();
    await settle();
    assert.equal(JSON.stringify(store.list()).includes("keyPem"), false);
    assert.deepEqual(store.list().map((s) => [s.state, s.serial, s.nextRequestAt]), [["valid", "1", 1_000_000 + 12 * HOUR]]);
  });
});
