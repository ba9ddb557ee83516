import assert from "node:assert/strict";
import { Stop, throwIfStopped, type StopSignal } from "./stop.ts";

describe("an order to stop", () => {
  const kinds: [string, () => { signal: StopSignal; abort(reason: unknown): void }][] = [
    ["Stop", () => { const s = new Stop(); return { signal: s, abort: (r) => s.abort(r) }; }],
    ["AbortController", () => { const c = new AbortController(); return { signal: c.signal, abort: (r) => c.abort(r) }; }],
  ];
  for (const [name, make] of kinds) {
    it(`${name}: is heard once, in order, by those who listen still`, () => {
      const { signal, abort } = make();
      const heard: string[] = [];
      const gone = (): void => void heard.push("gone");
      signal.addEventListener("abort", () => heard.push("a"), { once: true });
      signal.addEventListener("abort", gone, { once: true });
      signal.addEventListener("abort", () => heard.push("b"), { once: true });
      signal.removeEventListener("abort", gone);
      throwIfStopped(signal);
      abort("first");
      abort("second");
      signal.addEventListener("abort", () => heard.push("late"), { once: true });
      assert.deepEqual([heard, signal.aborted, signal.reason], [["a", "b"], true, "first"]);
      assert.throws(() => throwIfStopped(signal), (e) => e === "first");
    });

    it(`${name}: can be followed, and not any more`, () => {
      const [a, b] = [make(), make()];
      const stop = new Stop();
      const unfollow = stop.follow(a.signal);
      stop.follow(b.signal);
      unfollow();
      a.abort("a");
      assert.equal(stop.aborted, false);
      b.abort("b");
      assert.deepEqual([stop.aborted, stop.reason], [true, "b"]);
      const late = new Stop();
      late.follow(b.signal);
      assert.equal(late.reason, "b");
    });
  }
});
