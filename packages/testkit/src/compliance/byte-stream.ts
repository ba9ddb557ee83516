// Owns the suite that every ByteStream engine passes: ordering, back-pressure, half-close, reset, destroy.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import type { ByteStream } from "@ambit/transport";
import { Recorder, sendAll, turns } from "./recorder.ts";

export interface StreamPair {
  readonly left: ByteStream;
  readonly right: ByteStream;
  /** Ends everything the pair opened. */
  close(): Promise<void> | void;
}

export interface StreamTraits {
  /** A destroy with a reason reaches the peer as an error, not only as an end. */
  readonly resets: boolean;
  /** Octets that one side may take for a peer that reads nothing. */
  readonly stalledMax: number;
}

export function byteStreamCompliance(name: string, make: () => Promise<StreamPair>, traits: StreamTraits): void {
  describe(`${name} is a ByteStream`, () => {
    let pair: StreamPair;
    beforeEach(async () => { pair = await make(); });
    afterEach(() => pair.close());

    it("delivers octets in order, both ways at once, in pieces of any size", async () => {
      const { left, right } = pair;
      const [a, b] = [new Recorder(left), new Recorder(right)];
      const [toRight, toLeft] = [randomBytes(3_000_001), randomBytes(2_000_003)];
      await Promise.all([sendAll(left, a, toRight, 70_001), sendAll(right, b, toLeft, 997)]);
      await Promise.all([a.until((r) => r.octets === toLeft.length), b.until((r) => r.octets === toRight.length)]);
      assert.equal(a.digest(), sha(toLeft));
      assert.equal(b.digest(), sha(toRight));
    });

    it("keeps the order of write and writeMany", async () => {
      const { left, right } = pair;
      new Recorder(left);
      const b = new Recorder(right);
      left.write(Buffer.from("a"));
      left.writeMany([Buffer.from("b"), Buffer.from("c")]);
      left.write(Buffer.from("d"));
      left.writeMany([Buffer.from("e")]);
      left.write(new Uint8Array(0));
      left.end();
      await b.until((r) => r.ended);
      assert.equal(b.text, "abcde");
    });

    for (const direction of ["left", "right"] as const) it(`half-closes from the ${direction}: the other half goes on`, async () => {
      const [first, second] = direction === "left" ? [pair.left, pair.right] : [pair.right, pair.left];
      const [a, b] = [new Recorder(first), new Recorder(second)];
      first.write(Buffer.from("question"));
      first.end();
      await b.until((r) => r.ended);
      assert.equal(b.text, "question");
      const answer = randomBytes(1_000_000);
      await sendAll(second, b, answer, 50_000);
      await a.until((r) => r.octets === answer.length);
      assert.equal(a.ended, false);
      assert.equal(a.closes + b.closes, 0);
      second.end();
      await Promise.all([a.closed, b.closed]);
      assert.deepEqual([a.error, b.error, a.ended, b.ended, a.closes, b.closes], [undefined, undefined, true, true, 1, 1]);
      assert.equal(a.digest(), sha(answer));
    });

    it("does not lose what comes before attach, and takes a second handler", async () => {
      const { left, right } = pair;
      new Recorder(left);
      left.write(Buffer.from("early"));
      await turns(5);
      const b = new Recorder(right);
      await b.until((r) => r.octets === 5);
      const c = new Recorder(right);
      left.write(Buffer.from("late"));
      await c.until((r) => r.octets === 4);
      assert.equal(b.text, "early");
    });

    it("does not lose an end that comes before attach", async () => {
      const { left, right } = pair;
      left.end();
      await turns(10);
      const b = new Recorder(right);
      await b.until((r) => r.ended);
      const a = new Recorder(left);
      right.end();
      await Promise.all([a.closed, b.closed]);
      assert.deepEqual([a.events, b.events], [["end", "close"], ["end", "close"]]);
    });

    it("holds data and end back while paused", async () => {
      const { left, right } = pair;
      new Recorder(left);
      const b = new Recorder(right);
      right.pause();
      left.write(Buffer.from("x".repeat(1000)));
      left.end();
      await turns(10);
      assert.equal(b.ended, false);
      right.resume();
      await b.until((r) => r.ended);
      assert.equal(b.octets, 1000);
    });

    it("bounds what a stalled reader makes us hold, and goes on when it reads", async () => {
      const { left, right } = pair;
      const [a, b] = [new Recorder(left), new Recorder(right)];
      right.pause();
      const piece = new Uint8Array(64 << 10);
      let sent = 0;
      for (let stalled = 0; stalled < 20; ) {
        const drains = a.drains;
        sent += piece.length;
        assert.ok(sent <= traits.stalledMax, `took ${sent} octets for a reader that reads nothing`);
        if (left.write(piece)) continue;
        for (stalled = 0; stalled < 20 && a.drains === drains; stalled++) await turns(1);
      }
      right.resume();
      await Promise.all([a.until((r) => r.drains > 0), b.until((r) => r.octets === sent)]);
    });

    it("destroy without a reason ends both sides, once", async () => {
      const { left, right } = pair;
      const [a, b] = [new Recorder(left), new Recorder(right)];
      left.write(Buffer.from("x"));
      await b.until((r) => r.octets === 1);
      left.destroy();
      left.destroy(new Error("late"));
      assert.equal(a.closes, 0);
      await Promise.all([a.closed, b.until((r) => r.ended || r.closes > 0)]);
      right.end();
      await b.closed;
      await turns(3);
      assert.deepEqual([a.error, a.closes, b.closes, left.closed, right.closed], [undefined, 1, 1, true, true]);
    });

    it("destroy with a reason resets the peer, and hands the reason to our handler", async () => {
      const { left, right } = pair;
      const [a, b] = [new Recorder(left), new Recorder(right)];
      left.write(Buffer.from("x"));
      await b.until((r) => r.octets === 1);
      const reason = new Error("policy");
      left.destroy(reason);
      await Promise.all([a.closed, traits.resets ? b.closed : b.until((r) => r.ended || r.closes > 0)]);
      assert.equal(a.error, reason);
      if (traits.resets) assert.equal((b.error as Error & { code?: string }).code, "reset");
      right.destroy();
      await b.closed;
    });

    for (const [when, wait] of [["at once", () => undefined], ["after a tick", () => Promise.resolve()], ["a turn later", () => turns(1)]] as const) it(`destroy with a reason while our end is under way still ends everything (${when})`, async () => {
      const { left, right } = pair;
      const [a, b] = [new Recorder(left), new Recorder(right)];
      left.write(Buffer.from("x"));
      await b.until((r) => r.octets === 1);
      left.end();
      await wait();
      left.destroy(new Error("policy"));
      await a.closed;
      await b.until((r) => r.ended || r.closes > 0);
      right.destroy();
      await b.closed;
      assert.deepEqual([a.closes, b.closes], [1, 1]);
    });

    it("ignores what is done after the end", async () => {
      const { left, right } = pair;
      const [a, b] = [new Recorder(left), new Recorder(right)];
      left.end();
      assert.equal(left.write(Buffer.from("x")), false);
      assert.equal(left.writeMany([Buffer.from("x")]), false);
      left.end();
      right.end();
      await Promise.all([a.closed, b.closed]);
      assert.equal(left.write(Buffer.from("x")), false);
      left.pause();
      left.resume();
      left.end();
      left.destroy(new Error("late"));
      await turns(3);
      assert.deepEqual([a.closes, a.error, b.octets], [1, undefined, 0]);
    });

    it("tells a handler that comes after the close", async () => {
      const { left } = pair;
      left.destroy(new Error("gone"));
      await turns(5);
      const late = new Recorder(left);
      await late.closed;
      assert.equal(late.error?.message, "gone");
    });
  });
}

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
