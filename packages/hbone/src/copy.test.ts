import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { systemClock, type Clock } from "@ambit/runtime";
import { Recorder, sendAll, turns } from "@ambit/testkit";
import { fromSocket, type ByteStream } from "@ambit/transport";
import { copyBidirectional, type CopyResult } from "./copy.ts";
import { Rig } from "./tunnel.fixture.ts";

/** left ⇄ a (copy) b ⇄ right, all plain sockets. */
async function chain(rig: Rig, options: Parameters<typeof copyBidirectional>[2] = {}): Promise<{ left: ByteStream; right: ByteStream; leftSocket: net.Socket; rightSocket: net.Socket; result: Promise<CopyResult> }> {
  const join = async (): Promise<[net.Socket, net.Socket]> => {
    let onSocket: (s: net.Socket) => void = () => {};
    const other = new Promise<net.Socket>((resolve) => (onSocket = resolve));
    const port = await rig.listen((s) => onSocket(s));
    const near = rig.dialSocket(port);
    await once(near, "connect");
    return [near, await other];
  };
  const [leftSocket, a] = await join();
  const [b, rightSocket] = await join();
  const result = copyBidirectional(fromSocket(a), fromSocket(b), options);
  return { left: fromSocket(leftSocket), right: fromSocket(rightSocket), leftSocket, rightSocket, result };
}

describe("copyBidirectional", () => {
  let rig: Rig;
  beforeEach(() => { rig = new Rig(); });
  afterEach(() => rig.end());

  it("keeps half-closes, counts octets, says who ended first", async () => {
    const pieces: string[] = [];
    const { left, right, result } = await chain(rig, { onBytes: (direction, n) => pieces.push(`${direction} ${n}`) });
    const [l, r] = [new Recorder(left), new Recorder(right)];
    right.write(Buffer.from("banner"));
    await l.until((x) => x.octets === 6);
    right.end();
    await l.until((x) => x.ended);
    left.write(Buffer.from("still here"));
    await r.until((x) => x.text === "still here");
    left.end();
    await Promise.all([l.closed, r.closed]);
    assert.deepEqual(await result, { aToB: 10, bToA: 6, endedBy: "b", error: undefined });
    assert.deepEqual(pieces, ["ba 6", "ab 10"]);
  });

  it("passes a reset on, in each direction", async () => {
    for (const side of ["left", "right"] as const) {
      const c = await chain(rig);
      const other = new Recorder(side === "left" ? c.right : c.left);
      new Recorder(side === "left" ? c.left : c.right);
      (side === "left" ? c.left : c.right).destroy(new Error("reset"));
      await other.closed;
      assert.equal((other.error as Error & { code?: string }).code, "reset");
      const result = await c.result;
      assert.deepEqual([result.endedBy, (result.error as Error & { code?: string }).code], [side === "left" ? "a" : "b", "reset"]);
    }
  });

  it("a reader that stops, stops the writer: nothing piles up", async () => {
    const { left, right, result } = await chain(rig);
    const l = new Recorder(left);
    const r = new Recorder(right);
    right.pause();
    const piece = new Uint8Array(64 << 10);
    let sent = 0;
    for (let stalled = 0; stalled < 20 && sent < 64 << 20; ) {
      const drains = l.drains;
      sent += piece.length;
      if (left.write(piece)) continue;
      for (stalled = 0; stalled < 20 && l.drains === drains; stalled++) await turns(1);
    }
    assert.ok(sent < 32 << 20, `${sent} octets went into a copy that nobody reads`);
    right.resume();
    left.end();
    right.end();
    await Promise.all([l.closed, r.closed]);
    assert.equal(r.octets, sent);
    assert.equal((await result).aToB, sent);
  });

  it("ends both with the signal's reason, at once or later", async () => {
    const abort = new AbortController();
    const { left, right, result } = await chain(rig, { signal: abort.signal });
    const [l, r] = [new Recorder(left), new Recorder(right)];
    await sendAll(left, l, Buffer.from("x"), 1);
    await r.until((x) => x.octets === 1);
    const reason = new Error("connection closed due to policy change");
    abort.abort(reason);
    await Promise.all([l.closed, r.closed]);
    assert.deepEqual(await result, { aToB: 1, bToA: 0, endedBy: "abort", error: reason });
    assert.ok(l.error !== undefined && r.error !== undefined);
    const early = await chain(rig, { signal: AbortSignal.abort(reason) });
    assert.deepEqual([(await early.result).endedBy, (await early.result).error], ["abort", reason]);
  });

  it("ends both gently if asked to: both see an end, who goes on writing sees a reset", async () => {
    for (const writes of [false, true]) {
      const abort = new AbortController();
      const { left, right, result } = await chain(rig, { signal: abort.signal, gently: (reason) => reason === "softly" });
      const [l, r] = [new Recorder(left), new Recorder(right)];
      abort.abort("softly");
      await l.until((x) => x.ended);
      await r.until((x) => x.ended);
      while (writes && l.closes === 0) { // after an end, a socket learns of a reset by writing
        left.write(Buffer.from("one more"));
        await turns(1);
      }
      left.end();
      right.end();
      await Promise.all([l.closed, r.closed]);
      assert.equal((await result).endedBy, "abort");
      assert.deepEqual([l.error === undefined, r.octets], [!writes, 0]);
    }
  });

  it("delivers what a closed side sent, then resets a writer that goes on", async () => {
    const timers: { task: () => void }[] = [];
    const clock: Clock = { ...systemClock, after: (_ms, task) => { timers.push({ task }); return { cancel: () => {} }; } };
    const a = fakeStream();
    const { left, result } = await (async () => {
      let onSocket: (s: net.Socket) => void = () => {};
      const other = new Promise<net.Socket>((resolve) => (onSocket = resolve));
      const port = await rig.listen((s) => onSocket(s));
      const near = rig.dialSocket(port);
      return { left: fromSocket(near), result: copyBidirectional(a.stream, fromSocket(await other), { clock }) };
    })();
    const l = new Recorder(left);
    const bulk = new Uint8Array(1 << 20);
    a.handler().onData(bulk);
    a.handler().onEnd();
    a.handler().onClose(undefined); // an RST_STREAM with NO_ERROR: gone in both directions
    await l.until((r) => r.ended);
    assert.equal(l.octets, bulk.length);
    while (l.closes === 0) { // after an end, a socket learns of a reset by writing
      left.write(Buffer.from("nobody reads this"));
      await turns(1);
    }
    assert.equal((l.error as Error & { code?: string }).code, "reset");
    assert.deepEqual([(await result).aToB, (await result).bToA, (await result).endedBy], [bulk.length, 0, "a"]);
    assert.ok(timers.length <= 1);
  });

  it("cuts a side that neither writes nor closes after its peer is gone", async () => {
    const timers: (() => void)[] = [];
    const clock: Clock = { ...systemClock, after: (_ms, task) => { timers.push(task); return { cancel: () => {} }; } };
    const [a, b] = [fakeStream(), fakeStream()];
    const result = copyBidirectional(a.stream, b.stream, { clock });
    a.handler().onClose(undefined);
    assert.deepEqual([b.calls, timers.length], [["end", "resume"], 0]);
    b.handler().onFinish?.();
    assert.equal(timers.length, 1);
    timers[0]?.();
    assert.deepEqual(b.calls, ["end", "resume", "destroy"]);
    b.handler().onClose(new Error("cut"));
    assert.equal((await result).endedBy, "a");
  });
});

function fakeStream(): { stream: ByteStream; calls: string[]; handler: () => Parameters<ByteStream["attach"]>[0] } {
  const calls: string[] = [];
  let handler: Parameters<ByteStream["attach"]>[0] | undefined;
  const stream: ByteStream = { closed: false, attach: (h) => void (handler = h), write: () => true, writeMany: () => true, pause: () => void calls.push("pause"),
    resume: () => void calls.push("resume"), end: () => void calls.push("end"), destroy: () => void calls.push("destroy") };
  return { stream, calls, handler: () => handler ?? assert.fail("not attached") };
}
