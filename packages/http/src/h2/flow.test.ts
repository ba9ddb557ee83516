import assert from "node:assert/strict";
import { Flag, FrameType as T, readUint32 } from "./frame.ts";
import { bytes, CONNECT, frame, RawPeer, setting, u32 } from "./raw.fixture.ts";
import type { H2Stream } from "./stream.ts";

const DEFAULT = 65_535;

function client(...settings: Uint8Array[]): { p: RawPeer; stream: H2Stream<undefined> } {
  const p = new RawPeer("client").settle(...settings);
  const stream = p.connection.request(CONNECT, false, undefined);
  assert.ok(stream);
  p.sent();
  return { p, stream };
}

function server(limits = {}): { p: RawPeer; stream: H2Stream<undefined> } {
  const p = new RawPeer("server", limits).settle();
  p.onData = () => {};
  p.send(p.headers(1, CONNECT));
  const stream = p.streams.get(1);
  assert.ok(stream);
  p.connection.respond(stream, [":status", "200"], false);
  p.sent();
  return { p, stream };
}

const dataOctets = (p: RawPeer): number => p.sent().filter((f) => f.type === T.DATA).reduce((n, f) => n + f.payload.length, 0);
const updates = (p: RawPeer): string[] => p.sent().filter((f) => f.type === T.WINDOW_UPDATE).map((f) => `${f.id} +${readUint32(f.payload, 0)}`);

describe("sending", () => {
  it("stops at the connection's window, tells waiting streams in turn, and splits at the peer's frame size", () => {
    const { p, stream } = client(setting(4, 1 << 20));
    assert.equal(p.connection.data(stream, new Uint8Array(100_000), true), DEFAULT);
    assert.deepEqual(p.sent().map((f) => [f.payload.length, f.flags]), [[16_384, 0], [16_384, 0], [16_384, 0], [16_383, 0]]);
    p.send(frame(T.WINDOW_UPDATE, 0, 0, u32(100_000)));
    assert.deepEqual(p.log, ["writable 1"]);
    assert.equal(p.connection.data(stream, new Uint8Array(100_000 - DEFAULT), true), 100_000 - DEFAULT);
    assert.equal(p.sent().at(-1)?.flags, Flag.END_STREAM);
    assert.equal(p.connection.data(stream, bytes("more"), false), 0);
  });

  it("stops at the stream's window, and at a window that the peer shrank below what is out", () => {
    const { p, stream } = client(setting(4, 10));
    assert.equal(p.connection.data(stream, new Uint8Array(15), false), 10);
    p.send(frame(T.SETTINGS, 0, 0, setting(4, 4)));
    assert.equal(stream.sendWindow, -6);
    p.send(frame(T.WINDOW_UPDATE, 0, 1, u32(6)));
    assert.deepEqual(p.log, []);
    p.send(frame(T.WINDOW_UPDATE, 0, 1, u32(1)));
    assert.deepEqual(p.log, ["writable 1"]);
    assert.equal(p.connection.data(stream, new Uint8Array(5), false), 1);
    p.send(frame(T.SETTINGS, 0, 0, setting(4, 100)));
    assert.deepEqual(p.log, ["writable 1", "writable 1"]);
  });

  it("an end needs no window; octets and end share a frame when they fit", () => {
    const { p, stream } = client(setting(4, 0));
    assert.equal(p.connection.data(stream, bytes("x"), true), 0);
    assert.equal(p.connection.data(stream, new Uint8Array(0), true), 0);
    assert.equal(stream.localEnded, true);
    assert.deepEqual(p.sent().map((f) => [f.type, f.flags, f.payload.length]), [[T.DATA, 1, 0]]);
  });

  it("takes nothing while the transport is full or the output is, and wakes everybody after", () => {
    const p = new RawPeer("client", { outputMax: 1000 }).settle(setting(4, 1 << 20));
    const [a, b] = [p.connection.request(CONNECT, false, undefined), p.connection.request(CONNECT, false, undefined)];
    assert.ok(a && b);
    p.sent();
    assert.equal(p.connection.data(a, new Uint8Array(5000), false), 1000);
    assert.equal(p.connection.data(b, new Uint8Array(5000), false), 0);
    p.connection.hold();
    p.sent();
    assert.equal(p.connection.data(a, new Uint8Array(10), false), 0);
    p.send(frame(T.WINDOW_UPDATE, 0, 0, u32(1000)), frame(T.WINDOW_UPDATE, 0, 1, u32(1000)));
    assert.deepEqual(p.log, []);
    p.connection.resume();
    assert.deepEqual(p.log, ["writable 1", "writable 3"]);
  });

  it("tells waiting streams in the order in which they began to wait, while there is room", () => {
    const turns: number[] = [];
    const p: RawPeer = new RawPeer("client", {}, { onWritable: (s) => { turns.push(s.id); p.connection.data(s, new Uint8Array(150), false); } }).settle(setting(4, 1 << 20));
    const streams = [1, 2, 3].map(() => p.connection.request(CONNECT, false, undefined));
    const [first, second, third] = streams;
    assert.ok(first && second && third);
    p.connection.data(first, new Uint8Array(DEFAULT + 1), false);
    p.connection.data(third, bytes("x"), false);
    p.connection.data(second, bytes("x"), false);
    p.send(frame(T.WINDOW_UPDATE, 0, 0, u32(300)));
    assert.deepEqual(turns, [1, 5]);
    p.send(frame(T.WINDOW_UPDATE, 0, 0, u32(10)));
    assert.deepEqual(turns, [1, 5, 3]);
    p.send(frame(T.WINDOW_UPDATE, 0, 0, u32(1000)));
    assert.deepEqual(turns, [1, 5, 3, 3]);
  });

  it("forgets a reset stream that waited", () => {
    const { p, stream } = client(setting(4, 0));
    p.connection.data(stream, bytes("x"), false);
    p.send(frame(T.RST_STREAM, 0, 1, u32(8)), frame(T.WINDOW_UPDATE, 0, 1, u32(10)), frame(T.SETTINGS, 0, 0, setting(4, 100)));
    assert.deepEqual(p.log, ["reset 1 CANCEL"]);
    assert.equal(p.connection.data(stream, bytes("x"), true), 0);
  });
});

describe("receiving", () => {
  const small = { streamWindow: 1000, connectionWindow: 70_000 };

  it("gives credit only for what was consumed, in quarters of a window", () => {
    const { p, stream } = server(small);
    p.send(frame(T.DATA, 0, 1, new Uint8Array(600)));
    assert.deepEqual(updates(p), []);
    p.connection.consumed(stream, 249);
    assert.deepEqual(updates(p), []);
    p.connection.consumed(stream, 1);
    assert.deepEqual(updates(p), ["1 +250"]);
    p.connection.consumed(stream, 10_000);
    assert.deepEqual(updates(p), ["1 +350"]);
  });

  it("refuses octets beyond a stream's window, and beyond the connection's", () => {
    const a = server(small);
    a.p.send(frame(T.DATA, 0, 1, new Uint8Array(1001)));
    assert.deepEqual(a.p.verdicts(), ["rst 1 FLOW_CONTROL_ERROR"]);
    const b = new RawPeer("server", { streamWindow: 60_000, connectionWindow: 70_000 }).settle();
    b.onData = () => {};
    b.send(b.headers(1, CONNECT), b.headers(3, CONNECT));
    b.send(frame(T.DATA, 0, 1, new Uint8Array(60_000)), frame(T.DATA, 0, 3, new Uint8Array(10_001)));
    assert.deepEqual(b.verdicts(), ["goaway FLOW_CONTROL_ERROR"]);
  });

  it("gives back the connection's credit of padding, of reset streams and of what arrives late", () => {
    const { p, stream } = server({ streamWindow: 65_535, connectionWindow: 80_000 });
    p.send(frame(T.DATA, Flag.PADDED, 1, Uint8Array.of(200), new Uint8Array(200)));
    p.send(frame(T.DATA, 0, 1, new Uint8Array(10_000)));
    p.connection.reset(stream, 8);
    p.send(frame(T.DATA, 0, 1, new Uint8Array(9_799)));
    assert.deepEqual(updates(p), ["0 +20000"]);
    // For ever: nothing is lost however often streams die with octets in them.
    for (let id = 3; id < 203; id += 2) {
      p.send(p.headers(id, CONNECT), frame(T.DATA, 0, id, new Uint8Array(15_000)));
      const s = p.streams.get(id);
      assert.ok(s);
      p.connection.reset(s, 8);
      p.send(frame(T.DATA, 0, id, new Uint8Array(15_000)));
    }
    assert.equal(p.failed, undefined);
  });

  it("a stream that ended still holds the connection's credit until it is consumed", () => {
    const { p, stream } = server({ streamWindow: 65_535, connectionWindow: 80_000 });
    p.send(frame(T.DATA, 1, 1, new Uint8Array(30_000)));
    p.connection.data(stream, new Uint8Array(0), true);
    assert.equal(stream.closed, true);
    assert.deepEqual(updates(p), []);
    p.connection.consumed(stream, 30_000);
    assert.deepEqual(updates(p), ["0 +30000"]);
    p.connection.reset(stream, 8);
    assert.deepEqual(p.verdicts(), []);
  });

  it("a reset inside onData stops the rest of that frame", () => {
    const { p, stream } = server();
    let calls = 0;
    p.onData = () => { calls++; p.connection.reset(stream, 8); };
    const data = frame(T.DATA, 1, 1, new Uint8Array(1000));
    p.send(data.subarray(0, 500), data.subarray(500));
    assert.equal(calls, 1);
    assert.deepEqual(p.log.slice(1), []);
  });

  it("drains: GOAWAY twice, new streams refused after the second, done with the last stream", () => {
    const { p, stream } = server();
    p.connection.drain();
    const first = p.sent();
    assert.deepEqual(first.map((f) => f.type), [T.GOAWAY, T.PING]);
    assert.equal(readUint32(first[0]?.payload ?? new Uint8Array(), 0), 0x7fffffff);
    p.send(p.headers(3, CONNECT));
    assert.equal(p.streams.has(3), true, "it was on its way");
    p.send(frame(T.PING, 1, 0, first[1]?.payload ?? new Uint8Array()));
    assert.equal(readUint32(p.sent()[0]?.payload ?? new Uint8Array(), 0), 3);
    p.send(p.headers(5, CONNECT));
    assert.deepEqual(p.verdicts(), ["rst 5 REFUSED_STREAM"]);
    assert.equal(p.connection.drained, false);
    p.connection.reset(stream, 8);
    const late = p.streams.get(3);
    assert.ok(late);
    p.connection.reset(late, 8);
    assert.equal(p.connection.drained, true);
    assert.equal(dataOctets(p), 0);
  });

  it("a lost transport resets every stream as broken, never as ended", () => {
    const { p } = server();
    p.connection.lost();
    assert.deepEqual(p.log.slice(1), ["reset 1 CONNECT_ERROR"]);
    p.connection.lost();
    p.send(frame(T.PING, 0, 0, bytes("12345678")));
    assert.deepEqual(p.sent(), []);
  });
});
