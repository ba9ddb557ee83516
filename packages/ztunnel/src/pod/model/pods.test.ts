import assert from "node:assert/strict";
import type { PodInfo } from "@ambit/proxy/state";
import { NO_PODS, reducePods, settled, type PodEffect, type PodEvent, type Pods } from "./pods.ts";

const INFO: PodInfo = { name: "n", namespace: "d", serviceAccount: "s" };
const add = (uid: string, inode = 1n): PodEvent => ({ kind: "request", request: { kind: "add", uid, info: INFO }, inode });
const keep = (uid: string): PodEvent => ({ kind: "request", request: { kind: "keep", uid } });
const del = (uid: string): PodEvent => ({ kind: "request", request: { kind: "del", uid } });
const SENT: PodEvent = { kind: "request", request: { kind: "snapshot-sent" } };
const UP: PodEvent = { kind: "connected" };
const DOWN: PodEvent = { kind: "disconnected" };
const RETRY: PodEvent = { kind: "retry" };

const show = (e: PodEffect): string => {
  switch (e.kind) {
    case "start": return `start ${e.uid}${e.answer ? "" : " again"}`;
    case "stop": case "forget": return `${e.kind} ${e.uid}`;
    case "nack": return `nack ${e.error}`;
    case "violation": return `violation: ${e.what}`;
    case "ack": return "ack";
  }
};

/** Runs the events; every start succeeds unless its uid is in `failing`. Returns the effects of each event as one line. */
function run(events: readonly PodEvent[], failing: ReadonlySet<string> = new Set()): { lines: string[]; pods: Pods } {
  let pods = NO_PODS;
  const lines = events.map((event) => {
    const out: string[] = [];
    const feed = (e: PodEvent): void => {
      const r = reducePods(pods, e);
      pods = r.pods;
      for (const effect of r.effects) {
        out.push(show(effect));
        if (effect.kind !== "start") continue;
        const { uid, pod, answer } = effect;
        feed(failing.has(uid) ? { kind: "start-failed", uid, pod, error: "no", answer } : { kind: "started", uid, pod, answer });
      }
    };
    feed(event);
    return out.join(", ");
  });
  return { lines, pods };
}

describe("reducePods: the conversation", () => {
  const cases: [string, PodEvent[], string[]][] = [
    ["snapshot, then steady", [UP, add("a"), SENT, add("b"), del("a")], ["", "start a, ack", "ack", "start b, ack", "stop a, ack"]],
    ["add again, same namespace", [UP, add("a"), add("a")], ["", "start a, ack", "ack"]],
    ["add again, other namespace", [UP, add("a"), add("a", 2n)], ["", "start a, ack", "stop a, start a, ack"]],
    ["pods that the next snapshot leaves out are stopped", [UP, add("a"), add("b"), SENT, DOWN, UP, keep("b"), SENT], ["", "start a, ack", "start b, ack", "ack", "", "", "ack", "stop a, ack"]],
    ["an add in the next snapshot keeps a running pod", [UP, add("a"), SENT, DOWN, UP, add("a"), SENT], ["", "start a, ack", "ack", "", "", "ack", "ack"]],
    ["del during the snapshot only takes it out of the list", [UP, add("a"), del("a"), SENT], ["", "start a, ack", "ack", "stop a, ack"]],
    ["del of a pod nobody knows", [UP, SENT, del("x")], ["", "ack", "ack"]],
    ["keep of a pod nobody knows", [UP, keep("x"), SENT], ["", "ack", "ack"]],
    ["keep after the snapshot", [UP, SENT, keep("a")], ["", "ack", "violation: keep after snapshot_sent"]],
    ["a second snapshot_sent", [UP, SENT, SENT], ["", "ack", "violation: a second snapshot_sent"]],
    ["a request before hello", [add("a")], ["violation: add before hello"]],
    ["running pods survive a lost agent", [UP, add("a"), SENT, DOWN], ["", "start a, ack", "ack", ""]],
  ];
  for (const [name, events, expected] of cases) it(name, () => assert.deepEqual(run(events).lines, expected));
});

describe("reducePods: pods that cannot be started", () => {
  const A = new Set(["a"]);
  const cases: [string, PodEvent[], string[]][] = [
    ["are refused once and retried without an answer", [UP, add("a"), SENT, RETRY], ["", "start a, nack no", "ack", "start a again"]],
    ["are forgotten when deleted", [UP, SENT, add("a"), del("a"), RETRY], ["", "ack", "start a, nack no", "forget a, ack", ""]],
    ["are forgotten when deleted during the snapshot", [UP, add("a"), del("a"), SENT, RETRY], ["", "start a, nack no", "forget a, ack", "ack", ""]],
    ["are forgotten when the next snapshot leaves them out", [UP, add("a"), SENT, DOWN, UP, SENT], ["", "start a, nack no", "ack", "", "", "forget a, ack"]],
    ["are retried while the agent is away", [UP, add("a"), SENT, DOWN, RETRY], ["", "start a, nack no", "ack", "", "start a again"]],
  ];
  for (const [name, events, expected] of cases) it(name, () => assert.deepEqual(run(events, A).lines, expected));
});

describe("reducePods: settled", () => {
  it("only after the snapshot and with nothing pending", () => {
    assert.deepEqual([run([UP]).pods, run([UP, SENT]).pods, run([UP, SENT, DOWN]).pods, run([UP, add("a"), SENT], new Set(["a"])).pods].map(settled), [false, true, false, false]);
  });
});
