import assert from "node:assert/strict";
import { byUrgency, dueAt, failed, hurried, issued, requested, usable, WANTED, type CertState, type Priority } from "./cert-state.ts";

const HOUR = 3_600_000;
const life = { notBefore: 0, notAfter: 24 * HOUR };
const middle = () => 0.5;
const fails = (state: CertState, now: number, random = middle) => failed(requested(state), "down", now, random);

describe("a certificate's life", () => {
  it("is asked for at once, renewed around its midpoint, and never twice at a time", () => {
    assert.equal(dueAt(WANTED), 0);
    assert.equal(dueAt(requested(WANTED)), undefined);
    assert.equal(dueAt(issued(life, 0, middle)), 12 * HOUR);
    assert.equal(dueAt(issued(life, 0, () => 0)), 12 * HOUR - 1.2 * HOUR);
    assert.equal(dueAt(issued(life, 0, () => 1)), 12 * HOUR + 1.2 * HOUR);
  });

  it("does not renew in a circle when it arrives past its midpoint", () => {
    assert.equal(dueAt(issued(life, 20 * HOUR, middle)), 20 * HOUR + 1000);
  });

  it("backs off from half a second to 150 s, with jitter", () => {
    let state: CertState = WANTED;
    const delays: number[] = [];
    for (let i = 0; i < 12; i++) {
      state = fails(state, 0);
      delays.push(dueAt(state) ?? -1);
    }
    assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000, 150_000]);
    assert.equal(dueAt(fails(WANTED, 0, () => 0)), 400);
    assert.equal(dueAt(fails(WANTED, 0, () => 1)), 600);
  });

  it("keeps the old certificate while renewals fail, retries at its end at the latest, and stops serving there", () => {
    let state: CertState = issued(life, 0, middle);
    for (let i = 0; i < 10; i++) state = fails(state, life.notAfter - 5_000);
    assert.equal(usable(state, life.notAfter - 1), true);
    assert.equal(usable(requested(state), life.notAfter - 1), true);
    assert.equal(dueAt(state), life.notAfter);
    assert.equal(usable(state, life.notAfter), false);
    assert.equal(dueAt(fails(state, life.notAfter)), life.notAfter + 150_000);
  });

  it("forgets past failures once issued", () => {
    assert.equal(dueAt(fails(issued(life, 0, middle), 10)), 510);
  });

  it("is hurried by a waiting connection, at most once a second", () => {
    let state: CertState = WANTED;
    for (let i = 0; i < 10; i++) state = fails(state, 0);
    assert.equal(dueAt(hurried(state)), 1000);
    assert.equal(dueAt(hurried(fails(WANTED, 0))), 500);
    assert.equal(hurried(WANTED), WANTED);
  });

  it("lets connections overtake new pods, and new pods overtake renewals", () => {
    const q = (priority: Priority, at: number) => ({ priority, dueAt: at });
    const sorted = [q("background", 1), q("warmup", 2), q("realtime", 9), q("warmup", 1)].sort(byUrgency);
    assert.deepEqual(sorted.map((e) => `${e.priority}@${e.dueAt}`), ["realtime@9", "warmup@1", "warmup@2", "background@1"]);
  });
});
