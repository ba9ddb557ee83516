import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock, Timer } from "@ambit/runtime";
import { KubeClient } from "./client.ts";
import { LeaderElection } from "./leader.ts";

interface Stored { metadata: { name: string; namespace: string; resourceVersion: string }; spec: { holderIdentity: string; leaseTransitions: number } }

/** Holds one Lease with optimistic locking; can be told to fail. */
function fakeApi() {
  let lease: Stored | undefined;
  let version = 0;
  const state = { broken: false, get lease() { return lease; } };
  const server: Server = createServer((req, res) => {
    let body = "";
    req.on("data", (c) => (body += String(c)));
    req.on("end", () => {
      const reply = (code: number, value: unknown) => { res.writeHead(code, { "content-type": "application/json" }); res.end(JSON.stringify(value)); };
      if (state.broken) return reply(500, { reason: "InternalError", message: "told to fail" });
      if (req.method === "GET") return lease === undefined ? reply(404, { reason: "NotFound" }) : reply(200, lease);
      const given = JSON.parse(body) as Stored;
      if (req.method === "POST" && lease !== undefined) return reply(409, { reason: "AlreadyExists" });
      if (req.method === "PUT" && given.metadata.resourceVersion !== lease?.metadata.resourceVersion) return reply(409, { reason: "Conflict" });
      lease = { ...given, metadata: { ...given.metadata, resourceVersion: String(++version) } };
      return reply(200, lease);
    });
  });
  return { state, server };
}

/** Time moves only by `advance`; a sleeper wakes when its time has come. */
function handClock(): Clock & { advance(ms: number): void; sleeping(): Promise<void> } {
  let now = 0;
  const timers = new Set<{ at: number; run: () => void }>();
  let asleep: (() => void)[] = [];
  const after = (ms: number, run: () => void): Timer => {
    const timer = { at: now + ms, run };
    timers.add(timer);
    return { cancel: () => void timers.delete(timer) };
  };
  return {
    now: () => now, monotonic: () => now, after, every: () => ({ cancel: () => undefined }),
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      const timer = after(ms, resolve);
      signal?.addEventListener("abort", () => { timer.cancel(); reject(signal.reason as Error); }, { once: true });
      for (const wake of asleep.splice(0)) wake();
    }),
    advance: (ms) => {
      now += ms;
      for (const t of [...timers]) if (t.at <= now) { timers.delete(t); t.run(); }
    },
    sleeping: () => new Promise((resolve) => asleep.push(resolve)),
  };
}

describe("leader election", () => {
  let api: ReturnType<typeof fakeApi>;
  let client: KubeClient;
  const elections: LeaderElection[] = [];
  beforeEach(async () => {
    api = fakeApi();
    await new Promise<void>((r) => api.server.listen(0, "127.0.0.1", r));
    client = new KubeClient({ server: `http://127.0.0.1:${(api.server.address() as AddressInfo).port}` });
  });
  afterEach(async () => {
    for (const e of elections.splice(0)) await e.stop();
    client.close();
    await new Promise<void>((r) => { api.server.close(() => r()); api.server.closeAllConnections(); });
  });
  function candidate(identity: string) {
    const clock = handClock();
    const heard: boolean[] = [];
    const election = new LeaderElection({ client, namespace: "ns", name: "lease", identity, clock, random: () => 0.5, onChange: (l) => heard.push(l) });
    elections.push(election);
    /** Waits until the present round is over, having started the next one. */
    const round = async (ms: number) => { const done = clock.sleeping(); clock.advance(ms); await done; };
    return { election, clock, heard, round, start: async () => { const done = clock.sleeping(); election.start(); await done; } };
  }

  it("gives the lease to one and keeps it there while it is renewed", async () => {
    const a = candidate("a");
    const b = candidate("b");
    await a.start();
    await b.start();
    for (let i = 0; i < 8; i++) { await a.round(3_000); await b.round(3_000); }
    assert.deepEqual([a.heard, b.heard], [[true], []]);
    assert.equal(api.state.lease?.spec.holderIdentity, "a");
  });
  it("passes it on at once when it is given back", async () => {
    const a = candidate("a");
    const b = candidate("b");
    await a.start();
    await b.start();
    await a.election.stop();
    await b.round(3_000);
    assert.deepEqual([a.heard, b.heard], [[true, false], [true]]);
    assert.equal(api.state.lease?.spec.leaseTransitions, 1);
  });
  it("takes over a lease that nobody renews, only after its time by its own clock", async () => {
    const a = candidate("a");
    const b = candidate("b");
    await a.start();
    await b.start();
    for (let i = 0; i < 5; i++) await b.round(3_000);
    assert.deepEqual(b.heard, []);
    await b.round(3_000);
    assert.deepEqual(b.heard, [true]);
    assert.equal(api.state.lease?.spec.holderIdentity, "b");
  });
  it("stops leading when it cannot renew, before anybody else may start", async () => {
    const a = candidate("a");
    await a.start();
    api.state.broken = true;
    for (let i = 0; i < 3; i++) await a.round(3_000);
    assert.deepEqual(a.heard, [true]);
    await a.round(3_000);
    assert.deepEqual(a.heard, [true, false]);
    api.state.broken = false;
    await a.round(3_000);
    assert.deepEqual(a.heard, [true, false, true]);
  });
});
