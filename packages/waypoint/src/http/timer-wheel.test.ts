import assert from "node:assert/strict";
import type { Clock } from "@ambit/runtime";
import { TICK_MS, TimerWheel } from "./timer-wheel.ts";

/** A clock that the test moves. */
class Hand implements Clock {
  at = 1000.5;
  #every: (() => void) | undefined;
  get running(): boolean { return this.#every !== undefined; }
  now(): number { return this.at; }
  monotonic(): number { return this.at; }
  after(): never { throw new Error("the wheel has one timer"); }
  every(_periodMs: number, task: () => void): { cancel(): void } { this.#every = task; return { cancel: () => { this.#every = undefined; } }; }
  sleep(): never { throw new Error("nobody sleeps"); }
  move(ms: number): void { for (const end = this.at + ms; this.at < end; ) { this.at = Math.min(end, this.at + TICK_MS); this.#every?.(); } }
  jump(ms: number): void { this.at += ms; this.#every?.(); }
}

describe("the timer wheel", () => {
  it("is never early and little late", () => {
    for (const delay of [0, 1, 19, 20, 21, 250, 60_000]) {
      const clock = new Hand();
      const wheel = new TimerWheel(clock);
      const began = clock.at;
      let ran = -1;
      wheel.after(delay, () => { ran = clock.at - began; });
      clock.move(delay + 3 * TICK_MS);
      assert.ok(ran >= delay && ran <= delay + 2 * TICK_MS, `${delay} ms came after ${ran}`);
    }
  });

  it("forgets what was cancelled, also by an earlier task of the same tick", () => {
    const clock = new Hand();
    const wheel = new TimerWheel(clock);
    const ran: string[] = [];
    const two = wheel.after(10, () => ran.push("never"));
    two.cancel();
    const late = { cancel: () => {} };
    wheel.after(10, () => { ran.push("one"); late.cancel(); });
    const three = wheel.after(10, () => ran.push("never"));
    late.cancel = () => three.cancel();
    clock.move(100);
    assert.deepEqual(ran, ["one"]);
    assert.equal(wheel.pending, 0);
  });

  it("keeps nothing of a million cancelled deadlines", () => {
    const wheel = new TimerWheel(new Hand());
    for (let i = 0; i < 1_000_000; i++) wheel.after(3_600_000, () => {}).cancel();
    assert.equal(wheel.pending, 0);
  });

  it("stops when nothing is due, starts again, and makes up for a long stop in order", () => {
    const clock = new Hand();
    const wheel = new TimerWheel(clock);
    const ran: number[] = [];
    wheel.after(5, () => ran.push(5));
    clock.move(100);
    assert.equal(clock.running, false);
    for (const ms of [5000, 100, 900_000]) wheel.after(ms, () => ran.push(ms));
    clock.jump(1_000_000);
    assert.deepEqual(ran, [5, 100, 5000, 900_000]);
    clock.move(100);
    assert.equal(clock.running, false);
  });
});
