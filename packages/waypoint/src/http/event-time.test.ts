import assert from "node:assert/strict";
import { systemClock } from "@ambit/runtime";
import { EventTime } from "./event-time.ts";

describe("the time of an event", () => {
  let at = 1;
  const time = new EventTime({ ...systemClock, now: () => 1000 + at++, monotonic: () => at++ });
  beforeEach(() => { at = 1; });

  it("stands still from its beginning to its end", () => {
    assert.equal(time.hold(), true);
    assert.deepEqual([time.monotonic, time.now, time.monotonic, time.now], [1, 1002, 1, 1002]);
    time.release();
    assert.deepEqual([time.monotonic, time.now, time.monotonic], [3, 1004, 5]);
  });
  it("is the outer event's for one inside it, and the next event has its own", () => {
    assert.deepEqual([time.hold(), time.hold(), time.monotonic], [true, false, 1]);
    time.release();
    assert.deepEqual([time.hold(), time.monotonic, time.now], [true, 2, 1003]);
    time.release();
  });
});
