import assert from "node:assert/strict";
import type { Clock } from "./clock.ts";
import { createLogger, LogLevels } from "./log.ts";
import { HELD_MS, LOOK_EVERY_MS, LoopWatch } from "./loop-watch.ts";
import { Metrics } from "./metrics.ts";

describe("a held event loop", () => {
  function rig() {
    let now = 0;
    let tick = (): void => undefined;
    const clock = { monotonic: () => now, every: (_: number, task: () => void) => { tick = task; return { cancel: () => undefined }; } } as Partial<Clock> as Clock;
    const lines: Record<string, unknown>[] = [];
    const metrics = new Metrics();
    const watch = new LoopWatch(clock);
    watch.start(metrics, createLogger("loop", { levels: new LogLevels("info"), write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) }));
    return { watch, lines, metrics, pass: (ms: number) => { now += ms; }, look: () => tick() };
  }

  it("is counted when it is short, and said when it is long, with what ran", () => {
    const { watch, lines, metrics, pass, look } = rig();
    pass(LOOK_EVERY_MS + 30);
    look();
    assert.deepEqual(lines, []);
    assert.equal(watch.during("a push", () => { pass(LOOK_EVERY_MS + HELD_MS); return 7; }), 7);
    watch.during("a scrape", () => pass(10));
    look();
    assert.deepEqual(lines.map(({ msg, held_ms, longest_work, longest_work_ms }) => [msg, held_ms, longest_work, longest_work_ms]), [["the event loop was held", HELD_MS + 10, "a push", LOOK_EVERY_MS + HELD_MS]]);
    assert.match(metrics.expose(), /lag_seconds_bucket\{le="0.05"\} 1\n/);
  });

  it("for ever is for a guard, that hears of every look and of what runs", () => {
    let now = 0;
    let tick = (): void => undefined;
    const clock = { monotonic: () => now++, every: (_: number, task: () => void) => { tick = task; return { cancel: () => undefined }; } } as Partial<Clock> as Clock;
    const heard: (string | undefined)[][] = [];
    const watch = new LoopWatch(clock, { beat: (work) => heard.push(["beat", work]), at: (work) => heard.push(["at", work]) });
    watch.start(new Metrics(), createLogger("loop", { write: () => undefined }));
    watch.during("a push", () => watch.during("a part of it", () => undefined));
    tick();
    assert.deepEqual(heard, [["beat", undefined], ["at", "a push"], ["at", "a part of it"], ["at", "a push"], ["at", undefined], ["beat", undefined]]);
  });

  it("by something that has no name is said too, and an old name is not blamed", () => {
    const { watch, lines, pass, look } = rig();
    assert.throws(() => watch.during("a dump", () => { pass(20); throw new Error("x"); }), /x/);
    pass(LOOK_EVERY_MS);
    look();
    pass(LOOK_EVERY_MS + HELD_MS);
    look();
    assert.deepEqual(lines.map((l) => [l["held_ms"], l["longest_work"]]), [[HELD_MS, undefined]]);
  });
});
