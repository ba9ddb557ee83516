import assert from "node:assert/strict";
import { planDrainCuts } from "./drain.ts";

const WINDOW = 10_000;
describe("which connections of a draining proxy end", () => {
  for (const [why, elapsedMs, gone, idleMs, expected] of [
    ["at first nobody: most end by themselves", 1_999, 0, [9_000, 9_000], []],
    ["then the one that is idle the longest", 2_100, 0, [2_000, 2_100, 0, 600], [1]],
    ["what ended by itself counts", 2_800, 1, [2_000, 3_000, 0, 600, 700, 800, 900], []],
    ["half of the window, half of them", 5_750, 0, [1_000, 4_000, 2_000, 3_000], [1, 3]],
    ["busy ones are left in peace", 7_900, 0, [0, 100, 499, 0], []],
    ["until the last fifth", 8_000, 0, [0, 100, 499, 0], [2, 1, 0, 3]],
    ["then one after the other", 8_000, 18, [300, 100], []],
    ["before the window is over everybody", 9_500, 5, [0, 0, 0], [0, 1, 2]],
    ["nobody is there", 9_999, 7, [], []],
  ] as const) it(why, () => assert.deepEqual(planDrainCuts({ elapsedMs, windowMs: WINDOW, gone, idleMs }), expected));

  it("a window of hours asks for a second of silence, not for minutes", () => assert.deepEqual(planDrainCuts({ elapsedMs: 3_600_000, windowMs: 4 * 3_600_000, gone: 0, idleMs: [999, 1_000] }), [1]));
  it("a thousand idle ones go evenly: no tick of a hundred takes more than a few", () => {
    const open = new Set(Array.from({ length: 1_000 }, (_, i) => i));
    let most = 0;
    for (let t = 0; t <= WINDOW; t += 100) {
      const ids = [...open];
      const cuts = planDrainCuts({ elapsedMs: t, windowMs: WINDOW, gone: 1_000 - open.size, idleMs: ids.map(() => t) });
      for (const at of cuts) open.delete(ids[at] ?? -1);
      most = Math.max(most, cuts.length);
    }
    assert.deepEqual([open.size, most <= 20], [0, true]);
  });
});
