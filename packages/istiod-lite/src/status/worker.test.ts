import assert from "node:assert/strict";
import { KubeError } from "@ambit/kube";
import { createLogger, LogLevels, type Clock, type Timer } from "@ambit/runtime";
import { createWorker } from "./worker.ts";

const log = createLogger("test", { levels: new LogLevels("error"), write: () => undefined });

/** Tasks run when `turn` is called, in the order of their time. */
function handClock() {
  let now = 0;
  const tasks: { at: number; run: () => void }[] = [];
  const clock: Clock = {
    now: () => now, monotonic: () => now, every: () => ({ cancel: () => undefined }), sleep: async () => undefined,
    after: (ms, run): Timer => {
      const task = { at: now + ms, run };
      tasks.push(task);
      return { cancel: () => void tasks.splice(tasks.indexOf(task), 1) };
    },
  };
  /** Runs everything due within `ms`, letting promises settle in between. */
  const turn = async (ms: number) => {
    const end = now + ms;
    for (;;) {
      await new Promise<void>((r) => setImmediate(r));
      tasks.sort((a, b) => a.at - b.at);
      const next = tasks[0];
      if (next === undefined || next.at > end) break;
      tasks.shift();
      now = next.at;
      next.run();
    }
    now = end;
  };
  return { clock, turn, get pending() { return tasks.length; } };
}

describe("a worker", () => {
  function rig() {
    const { clock, turn } = handClock();
    const started: string[] = [];
    const open = new Map<string, { done: () => void; fail: () => void }>();
    let most = 0;
    const worker = createWorker({ name: "w", clock, log, reconcile: (key) => new Promise((resolve, reject) => {
      started.push(key);
      most = Math.max(most, open.size + 1);
      open.set(key, {
        done: () => { open.delete(key); resolve(); },
        fail: () => { open.delete(key); reject(new Error("no")); },
      });
    }) });
    return { worker, turn, started, open, get most() { return most; } };
  }

  it("does nothing before it is resumed and forgets what it was asked", async () => {
    const r = rig();
    r.worker.add("early");
    r.worker.resume(["a"]);
    await r.turn(100);
    assert.deepEqual(r.started, ["a"]);
  });
  for (const [what, details, level] of [["a refusal", undefined, "warn"], ["a namespace that ends", { causes: [{ reason: "NamespaceTerminating", field: "metadata.namespace" }] }, "debug"]] as const)
    it(`says ${what} at ${level}, and tries again`, async () => {
      const { clock, turn } = handClock();
      const lines: string[] = [];
      let tries = 0;
      const heard = createLogger("test", { levels: new LogLevels("debug"), write: (line) => lines.push(line) });
      const worker = createWorker({ name: "w", clock, log: heard, reconcile: () => Promise.reject(new KubeError(403, "Forbidden", `no ${++tries}`, details)) });
      worker.resume(["a"]);
      await turn(1_000);
      assert.ok(tries > 1, String(tries));
      assert.deepEqual([...new Set(lines.map((l) => (JSON.parse(l) as { level: string }).level))], [level]);
      worker.pause();
    });
  it("takes many asks for one key as one, and looks again when asked while at it", async () => {
    const r = rig();
    r.worker.resume([]);
    for (let i = 0; i < 5; i++) r.worker.add("a");
    await r.turn(100);
    r.worker.add("a");
    r.worker.add("a");
    await r.turn(100);
    assert.deepEqual(r.started, ["a"]);
    r.open.get("a")?.done();
    await r.turn(100);
    assert.deepEqual(r.started, ["a", "a"]);
  });
  it("never has more than four under way, nor starts more than one in 10 ms", async () => {
    const r = rig();
    r.worker.resume(Array.from({ length: 20 }, (_, i) => `k${i}`));
    await r.turn(25);
    assert.equal(r.started.length, 2);
    await r.turn(1_000);
    assert.deepEqual([r.started.length, r.most], [4, 4]);
    r.open.get("k0")?.done();
    await r.turn(20);
    assert.equal(r.started.length, 5);
  });
  it("tries a failed key again later and later", async () => {
    const r = rig();
    r.worker.resume(["a"]);
    await r.turn(10);
    r.open.get("a")?.fail();
    await r.turn(100);
    assert.equal(r.started.length, 1);
    await r.turn(200);
    assert.equal(r.started.length, 2);
    r.open.get("a")?.fail();
    await r.turn(300);
    assert.equal(r.started.length, 2);
    await r.turn(300);
    assert.equal(r.started.length, 3);
  });
  it("starts nothing while paused, and stops when what is under way is done", async () => {
    const r = rig();
    r.worker.resume(["a", "b"]);
    await r.turn(10);
    r.worker.pause();
    await r.turn(1_000);
    assert.deepEqual(r.started, ["a"]);
    let stopped = false;
    const stop = r.worker.stop().then(() => (stopped = true));
    await r.turn(10);
    assert.equal(stopped, false);
    r.open.get("a")?.done();
    await stop;
  });
});
