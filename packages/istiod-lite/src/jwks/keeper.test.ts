import assert from "node:assert/strict";
import { Graph } from "@ambit/collections";
import { createLogger, LogLevels, type Clock, type Timer } from "@ambit/runtime";
import type { FetchedKeys, WantedKeys } from "../collections/waypoint/request-authentication.ts";
import { keepKeys } from "./keeper.ts";

const KEYS = (kid: string): string => JSON.stringify({ keys: [{ kty: "RSA", kid }] });
const wanted = (over: Partial<WantedKeys> = {}): WantedKeys => ({ key: "jwks https://a/keys", uri: "https://a/keys", discovery: false, timeoutMs: 5_000, ...over });
const log = createLogger("test", { levels: new LogLevels("error"), write: () => undefined });

/** Moves by hand; what is due runs in order. */
class ManualClock implements Clock {
  #now = 0;
  #timers = new Set<{ at: number; task: () => void }>();
  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  after(ms: number, task: () => void): Timer {
    const timer = { at: this.#now + ms, task };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }
  every = (): Timer => { throw new Error("not used here"); };
  sleep = (): Promise<void> => { throw new Error("not used here"); };
  get pending(): number { return this.#timers.size; }
  advance(ms: number): void {
    this.#now += ms;
    for (const t of [...this.#timers].filter((x) => x.at <= this.#now)) { this.#timers.delete(t); t.task(); }
  }
}
const settle = async (): Promise<void> => { for (let i = 0; i < 20; i++) await Promise.resolve(); };

describe("keys of issuers", () => {
  const DAY = 24 * 3_600_000;
  function rig(record: () => Promise<string> = () => Promise.resolve("")) {
    const g = new Graph();
    const source = g.source<WantedKeys>("wanted", { key: (w) => w.key });
    const fetched = g.source<FetchedKeys>("fetched", { key: (k) => k.key });
    const clock = new ManualClock();
    const asked: string[] = [];
    let answer: (uri: string, signal: AbortSignal) => Promise<string> = () => Promise.resolve(KEYS("one"));
    const keeper = keepKeys({ wanted: source, fetched, clock, random: () => 0.5, log, fetch: (uri, signal) => { asked.push(uri); return answer(uri, signal); }, record });
    return { source, fetched, clock, asked, keeper, answers: (a: typeof answer) => { answer = a; }, jwks: () => fetched.get(wanted().key)?.jwks };
  }

  it("are fetched when wanted, refreshed every 20 minutes, and forgotten with the last policy", async () => {
    const r = rig();
    r.source.set(wanted());
    await settle();
    assert.equal(r.jwks(), KEYS("one"));
    r.answers(() => Promise.resolve(KEYS("two")));
    r.clock.advance(20 * 60_000);
    await settle();
    assert.equal(r.jwks(), KEYS("two"));
    r.source.delete(wanted().key);
    assert.equal(r.fetched.size, 0);
    r.clock.advance(DAY);
    await settle();
    assert.equal(r.asked.length, 2);
    await r.keeper.stop();
  });
  it("stay for a week while their issuer is away, which is asked ever more rarely", async () => {
    const r = rig();
    r.source.set(wanted());
    await settle();
    r.answers(() => Promise.reject(new Error("away")));
    for (let i = 0; i < 6 * 24; i++) { r.clock.advance(3_600_000); await settle(); }
    assert.equal(r.jwks(), KEYS("one"));
    assert.ok(r.asked.length < 6 * 24 + 20, `${r.asked.length}`);
    for (let i = 0; i < 2 * 24; i++) { r.clock.advance(3_600_000); await settle(); }
    assert.deepEqual(r.fetched.get(wanted().key), { key: wanted().key, jwks: undefined, error: "away" });
    await r.keeper.stop();
  });
  it("that cannot be had say why", async () => {
    const r = rig();
    r.answers(() => Promise.resolve("<html>"));
    r.source.set(wanted());
    await settle();
    assert.match(r.fetched.get(wanted().key)?.error ?? "", /no JSON Web Key Set/);
    await r.keeper.stop();
  });
  it("are found through discovery", async () => {
    const r = rig();
    r.answers((uri) => Promise.resolve(uri.endsWith("openid-configuration") ? JSON.stringify({ jwks_uri: "https://b/certs" }) : KEYS("b")));
    r.source.set(wanted({ discovery: true, uri: "https://a/.well-known/openid-configuration" }));
    await settle();
    assert.deepEqual([r.asked.at(-1), r.jwks()], ["https://b/certs", KEYS("b")]);
    await r.keeper.stop();
  });
  it("are given up in time, and on stop", async () => {
    const r = rig();
    const never = (_uri: string, signal: AbortSignal): Promise<string> => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    r.answers(never);
    r.source.set(wanted());
    r.clock.advance(5_000);
    await settle();
    assert.match(r.fetched.get(wanted().key)?.error ?? "", /no answer within 5000 ms/);
    r.clock.advance(10_000);
    await r.keeper.stop();
    assert.equal(r.clock.pending, 0);
  });
  it("are waited for by a control plane that starts: until each came or failed once, and never for long", async () => {
    const r = rig();
    await r.keeper.settled();
    let let_: (text: string) => void = () => undefined;
    r.answers((uri) => (uri.endsWith("bad") ? Promise.reject(new Error("away")) : uri.endsWith("slow") ? new Promise((resolve) => { let_ = resolve; }) : Promise.resolve(KEYS("one"))));
    r.source.set(wanted());
    for (const name of ["bad", "slow"]) r.source.set(wanted({ key: name, uri: `https://a/${name}` }));
    let settled = 0;
    void r.keeper.settled().then(() => settled++);
    await settle();
    assert.equal(settled, 0);
    let_(KEYS("slow"));
    await settle();
    assert.equal(settled, 1);
    r.answers(() => new Promise(() => undefined));
    r.source.set(wanted({ key: "never", uri: "https://a/never" }));
    void r.keeper.settled().then(() => settled++);
    r.clock.advance(5_000);
    await settle();
    assert.equal(settled, 2);
  });
  it("outlive the control plane while their issuer is away, for as long as they would have without", async () => {
    const good = (goodAt: number) => JSON.stringify([{ key: wanted().key, jwks: KEYS("old"), goodAt }]);
    const r = rig(() => Promise.resolve(good(-6 * DAY)));
    r.answers(() => Promise.reject(new Error("away")));
    await r.keeper.recall();
    r.source.set(wanted());
    assert.equal(r.jwks(), KEYS("old"), "at once");
    await settle();
    assert.deepEqual([r.jwks(), r.keeper.good()], [KEYS("old"), [{ key: wanted().key, jwks: KEYS("old"), goodAt: -6 * DAY }]]);
    for (let i = 0; i < 26; i++) { r.clock.advance(3_600_000); await settle(); }
    assert.deepEqual(r.fetched.get(wanted().key), { key: wanted().key, jwks: undefined, error: "away" });
    await r.keeper.stop();
  });
  it("of an earlier life give way to those that the issuer has now", async () => {
    const r = rig(() => Promise.resolve(JSON.stringify([{ key: wanted().key, jwks: KEYS("old"), goodAt: 0 }])));
    await r.keeper.recall();
    r.source.set(wanted());
    let settled = false;
    void r.keeper.settled().then(() => { settled = true; });
    assert.deepEqual([r.jwks(), settled], [KEYS("old"), false], "waypoints may have newer ones: the issuer is waited for");
    await settle();
    assert.deepEqual([r.jwks(), settled], [KEYS("one"), true]);
    await r.keeper.stop();
  });
  it("that another replica got are taken over when our own fetch fails", async () => {
    let record = "";
    const r = rig(() => Promise.resolve(record));
    r.answers(() => Promise.reject(new Error("away")));
    r.source.set(wanted());
    await settle();
    assert.equal(r.jwks(), undefined);
    record = JSON.stringify([{ key: wanted().key, jwks: KEYS("theirs"), goodAt: 5_000 }]);
    for (let i = 0; i < 30; i++) { r.clock.advance(1_000); await settle(); }
    assert.equal(r.jwks(), KEYS("theirs"));
    await r.keeper.stop();
  });
  it("are told to whoever writes them down: new, confirmed, not wanted any more; a record that cannot be read is none", async () => {
    const r = rig(() => Promise.reject(new Error("no rights")));
    let told = 0;
    const end = r.keeper.onGood(() => told++);
    await r.keeper.recall();
    r.source.set(wanted());
    await settle();
    r.clock.advance(20 * 60_000);
    await settle();
    assert.deepEqual([told, r.keeper.good().map((k) => k.goodAt), [...r.keeper.wanted()]], [2, [20 * 60_000], [wanted().key]]);
    r.source.delete(wanted().key);
    assert.deepEqual([told, r.keeper.good(), r.keeper.wanted().size], [3, [], 0]);
    end();
    await r.keeper.stop();
  });
  it("are fetched eight at a time", async () => {
    const r = rig();
    r.answers(() => new Promise(() => undefined));
    for (let i = 0; i < 20; i++) r.source.set(wanted({ key: `k${i}`, uri: `https://a/${i}` }));
    await settle();
    assert.equal(r.asked.length, 8);
  });
});
