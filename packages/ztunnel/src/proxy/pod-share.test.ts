import assert from "node:assert/strict";
import { nextTurn } from "@ambit/runtime";
import type { ByteStream, ByteStreamHandler } from "@ambit/transport";
import { OCTETS_BESIDE_QUIET, OCTETS_PER_TURN, PodShare, QUIET_TURNS, REQUESTS_PER_TURN, Shares, WAITING_MAX } from "./pod-share.ts";

/** A stream that could always give more: one read per turn of the event loop, unless it is paused. */
class Endless implements ByteStream {
  handler: ByteStreamHandler | undefined;
  paused = false;
  closed = false;
  read(octets: number): void { if (!this.paused) this.handler?.onData(new Uint8Array(octets)); }
  attach(handler: ByteStreamHandler): void { this.handler = handler; }
  pause(): void { this.paused = true; }
  resume(): void { this.paused = false; }
  write(): boolean { return true; }
  writeMany(): boolean { return true; }
  end(): void { /* nothing to say */ }
  destroy(): void { this.closed = true; }
}
const quiet: ByteStreamHandler = { onData: () => undefined, onEnd: () => undefined, onDrain: () => undefined, onClose: () => undefined };
const READ = 64 << 10;

describe("a pod's share of the event loop", () => {
  it("streams of bulk have one share a turn between them, in order, and each its part", async () => {
    const share = new PodShare();
    const streams = Array.from({ length: 200 }, () => new Endless());
    const got = streams.map(() => 0);
    streams.forEach((inner, i) => share.stream(inner).attach({ ...quiet, onData: (bytes) => { got[i] = (got[i] ?? 0) + bytes.length; } }));
    const total = (): number => got.reduce((a, b) => a + b, 0);
    // The first turn is read before anybody knows; it is made up for.
    for (let turn = 0; turn < 100; turn++) {
      for (const stream of streams) stream.read(READ);
      await nextTurn();
      await nextTurn();
    }
    const turns = total() / OCTETS_PER_TURN;
    assert.ok(turns <= 200 + 200 * READ / OCTETS_PER_TURN, `${turns} shares in at most 200 turns`);
    assert.ok(Math.max(...got) - Math.min(...got) <= 2 * READ, `between ${Math.min(...got)} and ${Math.max(...got)} octets each`);
  });
  it("who reads little is never stopped for longer than the turn", async () => {
    const share = new PodShare();
    const inner = new Endless();
    share.stream(inner).attach(quiet);
    for (let i = 0; i < 3 * OCTETS_PER_TURN / 1024; i++) {
      inner.read(1024);
      if (inner.paused) await nextTurn();
      assert.ok(!inner.paused);
    }
  });
  describe("beside others", () => {
    const pod = (shares: Shares, streams: number) => {
      const share = new PodShare(shares);
      const inner = Array.from({ length: streams }, () => new Endless());
      let octets = 0;
      for (const one of inner) share.stream(one).attach({ ...quiet, onData: (bytes) => { octets += bytes.length; } });
      return { inner, read: (size: number) => { for (const one of inner) one.read(size); }, get octets() { return octets; } };
    };
    /** Octets a turn of each pod, when all its streams have more; what was read before anybody knew is made up for first. */
    const perTurn = async (pods: readonly ReturnType<typeof pod>[], each: () => void, turns = 60): Promise<number[]> => {
      const turn = async (): Promise<void> => {
        each();
        for (const one of pods) one.read(READ);
        await nextTurn();
      };
      for (let i = 0; i < 80; i++) await turn();
      const before = pods.map((p) => p.octets);
      for (let i = 0; i < turns; i++) await turn();
      return pods.map((p, i) => Math.round((p.octets - (before[i] ?? 0)) / turns));
    };

    it("a pod with bulk alone has the whole share", async () => {
      assert.deepEqual(await perTurn([pod(new Shares(), 32)], () => undefined), [OCTETS_PER_TURN]);
    });
    it("what it said itself before its bulk does not count", async () => {
      const alone = pod(new Shares(), 32);
      alone.inner[0]?.read(100);
      assert.deepEqual(await perTurn([alone], () => undefined), [OCTETS_PER_TURN]);
    });
    it("a small one while a quiet neighbour is heard", async () => {
      const shares = new Shares();
      const neighbour = pod(shares, 1);
      assert.deepEqual(await perTurn([pod(shares, 32)], () => neighbour.read(100)), [OCTETS_BESIDE_QUIET]);
    });
    it("two pods with bulk have the small one between them", async () => {
      const shares = new Shares();
      const neighbour = pod(shares, 1);
      assert.deepEqual(await perTurn([pod(shares, 32), pod(shares, 32)], () => neighbour.read(100)), [OCTETS_BESIDE_QUIET / 2, OCTETS_BESIDE_QUIET / 2]);
    });
    it("a neighbour with bulk takes nothing away, nor does what it reads besides", async () => {
      const shares = new Shares();
      const [one, two] = [pod(shares, 32), pod(shares, 33)];
      await perTurn([one, two], () => undefined, 1);
      for (const octets of await perTurn([one, two], () => two.inner[32]?.read(100))) assert.ok(octets > 0.9 * OCTETS_PER_TURN, `${octets} a turn`);
    });
    it("a neighbour that has been quiet for long is forgotten", async () => {
      const shares = new Shares();
      const [loud, neighbour] = [pod(shares, 32), pod(shares, 1)];
      let turns = 0;
      assert.deepEqual(await perTurn([loud], () => { if (turns++ === 0) neighbour.read(100); }, 10), [OCTETS_BESIDE_QUIET]);
      for (let i = 0; i < QUIET_TURNS; i++) { loud.read(READ); await nextTurn(); }
      assert.deepEqual(await perTurn([loud], () => undefined), [OCTETS_PER_TURN]);
    });
  });
  it("a reader that its user stopped is not set going, one that was closed neither", async () => {
    const share = new PodShare();
    const [stopped, gone] = [new Endless(), new Endless()];
    const stream = share.stream(stopped);
    stream.attach(quiet);
    share.stream(gone).attach(quiet);
    stopped.read(OCTETS_PER_TURN);
    gone.read(1);
    assert.deepEqual([stopped.paused, gone.paused], [true, true]);
    stream.pause();
    gone.destroy();
    await nextTurn();
    assert.deepEqual([stopped.paused, gone.paused], [true, true]);
    stream.resume();
    assert.ok(!stopped.paused);
    stopped.read(OCTETS_PER_TURN);
    stream.resume();
    assert.ok(stopped.paused, "its share comes first");
    await nextTurn();
    assert.ok(!stopped.paused);
  });
  it("requests beyond a turn's begin in later turns, in order", async () => {
    const share = new PodShare();
    const begun: number[] = [];
    for (let i = 0; i < 3 * REQUESTS_PER_TURN; i++) assert.ok(share.begin(() => begun.push(i)));
    assert.equal(begun.length, REQUESTS_PER_TURN);
    await nextTurn();
    assert.equal(begun.length, 2 * REQUESTS_PER_TURN);
    await nextTurn();
    assert.deepEqual(begun, [...begun.keys()]);
    assert.equal(begun.length, 3 * REQUESTS_PER_TURN);
  });
  it("so many may wait, the next is refused", async () => {
    const share = new PodShare();
    let begun = 0;
    for (let i = 0; i < REQUESTS_PER_TURN + WAITING_MAX; i++) assert.ok(share.begin(() => { begun++; }));
    assert.ok(!share.begin(() => assert.fail("it was refused")));
    while (begun < REQUESTS_PER_TURN + WAITING_MAX) await nextTurn();
  });
});
