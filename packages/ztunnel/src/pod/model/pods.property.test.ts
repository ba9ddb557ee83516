// The reducer under random conversations: whatever the agent says and whatever fails, the books hold.
import assert from "node:assert/strict";
import { seededRandom } from "@ambit/runtime";
import { NO_PODS, reducePods, settled, type PodEffect, type PodEvent, type Pods } from "./pods.ts";

const STEPS = 100_000;
const SEED = 7;
const INFO = { name: "n", namespace: "d", serviceAccount: "s" };

describe("reducePods under random conversations", () => {
  it(`holds its invariants for ${STEPS} steps`, function () {
    this.timeout(30_000);
    const random = seededRandom(SEED);
    const pick = <T>(xs: readonly T[]): T => { const x = xs[Math.floor(random() * xs.length)]; assert.ok(x !== undefined); return x; };
    const uid = (): string => pick(["a", "b", "c", "d"]);
    /** What really runs, as a shell that obeys would have it. */
    const real = new Map<string, bigint>();
    let pods: Pods = NO_PODS;

    const obey = (effects: readonly PodEffect[]): number => {
      let answers = 0;
      for (const e of effects) {
        if (e.kind === "start") {
          assert.ok(!real.has(e.uid), `start of ${e.uid}, which runs`);
          const works = random() < 0.8;
          if (works) real.set(e.uid, e.pod.inode);
          answers += feed(works ? { kind: "started", uid: e.uid, pod: e.pod, answer: e.answer } : { kind: "start-failed", uid: e.uid, pod: e.pod, error: "no", answer: e.answer });
        } else if (e.kind === "stop") assert.ok(real.delete(e.uid), `stop of ${e.uid}, which does not run`);
        else if (e.kind !== "forget") answers++;
      }
      return answers;
    };
    const feed = (event: PodEvent): number => {
      const r = reducePods(pods, event);
      pods = r.pods;
      return obey(r.effects);
    };
    const requests = [
      (): PodEvent => ({ kind: "request", request: { kind: "add", uid: uid(), info: INFO }, inode: pick([1n, 2n]) }),
      (): PodEvent => ({ kind: "request", request: { kind: "del", uid: uid() } }),
      (): PodEvent => ({ kind: "request", request: { kind: "keep", uid: uid() } }),
      (): PodEvent => ({ kind: "request", request: { kind: "snapshot-sent" } }),
    ];
    let settledOnce = 0;
    for (let i = 0; i < STEPS; i++) {
      const roll = random();
      const mentioned = pods.mentioned;
      const phase = pods.phase;
      const event: PodEvent = roll < 0.05 ? { kind: "disconnected" } : roll < 0.15 ? { kind: "connected" } : roll < 0.25 ? { kind: "retry" } : pick(requests)();
      const answers = feed(event);
      assert.equal(answers, event.kind === "request" ? 1 : 0, `step ${i}: ${event.kind} had ${answers} answers`);
      assert.deepEqual([...pods.running].map(([u, p]) => [u, p.inode]).sort(), [...real].sort(), `step ${i}: the books and the pods differ`);
      for (const u of pods.pending.keys()) assert.ok(!pods.running.has(u), `step ${i}: ${u} runs and is pending`);
      if (event.kind === "request" && event.request.kind === "snapshot-sent" && phase === "snapshot")
        for (const u of [...pods.running.keys(), ...pods.pending.keys()]) assert.ok(mentioned.has(u), `step ${i}: ${u} survived a list without it`);
      if (settled(pods)) settledOnce++;
    }
    assert.ok(settledOnce > STEPS / 100, "the walk must get somewhere");
  });
});
