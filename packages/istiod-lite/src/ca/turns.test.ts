import assert from "node:assert/strict";
import { Turns, type Turn } from "./turns.ts";

/** Runs postponed tasks by hand. */
function rig(bounds: { atOnce: number; waiting: number; perCaller: number }) {
  const tasks: (() => void)[] = [];
  const turns = new Turns(bounds, (task) => void tasks.push(task));
  const order: string[] = [];
  const live: { name: string; turn: Turn }[] = [];
  const ask = (name: string) => turns.take(name).then((turn) => { order.push(turn.ok ? name : `${name}: ${turn.reason}`); live.push({ name, turn }); });
  const finish = async () => {
    const first = live.shift();
    if (first?.turn.ok) first.turn.done();
    for (const task of tasks.splice(0)) task();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { turns, order, ask, finish, settle: () => new Promise((resolve) => setImmediate(resolve)) };
}

describe("turns", () => {
  it("go round the callers, whoever came with more", async () => {
    const r = rig({ atOnce: 1, waiting: 100, perCaller: 100 });
    for (const name of ["a", "a", "a", "a", "b", "c", "b"]) void r.ask(name);
    await r.settle();
    for (let i = 0; i < 7; i++) await r.finish();
    assert.deepEqual(r.order, ["a", "a", "b", "c", "a", "b", "a"]);
    assert.equal(r.turns.waiting, 0);
  });
  it("are refused beyond the bounds, by name of the bound", async () => {
    const r = rig({ atOnce: 1, waiting: 2, perCaller: 2 });
    for (const name of ["a", "a", "a", "b", "c"]) void r.ask(name);
    await r.settle();
    assert.deepEqual(r.order, ["a", "a: more than 2 requests of one caller at once", "c: more than 2 requests waiting"]);
    for (let i = 0; i < 5; i++) await r.finish();
    assert.deepEqual(r.order.slice(3), ["a", "b"]);
  });
  it("a caller that is done may come again", async () => {
    const r = rig({ atOnce: 1, waiting: 1, perCaller: 1 });
    for (let i = 0; i < 3; i++) {
      void r.ask("a");
      await r.settle();
      await r.finish();
    }
    assert.deepEqual(r.order, ["a", "a", "a"]);
  });
});
