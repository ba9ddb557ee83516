import assert from "node:assert/strict";
import fc from "fast-check";
import { Flag, FrameType as T, PREFACE } from "./frame.ts";
import { bytes, CONNECT, frame, GET, RawPeer, setting, u32 } from "./raw.fixture.ts";

const END = Flag.END_STREAM | Flag.END_HEADERS;

describe("a hostile client", () => {
  const at = (p: RawPeer): RawPeer => p.settle();
  /** What it does to a settled server with stream 1 a CONNECT, and what our side answers. */
  const onOpen: readonly (readonly [string, (p: RawPeer) => Uint8Array[], string])[] = [
    ["DATA on stream 0", () => [frame(T.DATA, 0, 0, bytes("x"))], "goaway PROTOCOL_ERROR"],
    ["DATA on an idle stream", () => [frame(T.DATA, 0, 5, bytes("x"))], "goaway PROTOCOL_ERROR"],
    ["DATA on an even stream", () => [frame(T.DATA, 0, 2, bytes("x"))], "goaway PROTOCOL_ERROR"],
    ["more padding than payload", () => [frame(T.DATA, Flag.PADDED, 1, Uint8Array.of(5), bytes("abc"))], "goaway PROTOCOL_ERROR"],
    ["padding without its length", () => [frame(T.DATA, Flag.PADDED, 1)], "goaway FRAME_SIZE_ERROR"],
    ["DATA after its end", () => [frame(T.DATA, 1, 1), frame(T.DATA, 0, 1, bytes("x"))], "rst 1 STREAM_CLOSED"],
    ["a frame beyond our size", () => [Uint8Array.of(0x10, 0, 1, 0, 0, 0, 0, 0, 1)], "goaway FRAME_SIZE_ERROR"],
    ["HEADERS on stream 0", (p) => [p.headers(0, CONNECT)], "goaway PROTOCOL_ERROR"],
    ["HEADERS on an even stream", (p) => [p.headers(2, CONNECT)], "goaway PROTOCOL_ERROR"],
    ["a stream id that goes back", (p) => [p.headers(7, CONNECT), p.headers(5, CONNECT)], "goaway STREAM_CLOSED"],
    ["HEADERS again on a CONNECT", (p) => [p.headers(1, ["x", "y"], END)], "rst 1 PROTOCOL_ERROR"],
    ["HEADERS too short for its flags", () => [frame(T.HEADERS, Flag.PRIORITY | 4, 3)], "goaway FRAME_SIZE_ERROR"],
    ["HEADERS with too much padding", () => [frame(T.HEADERS, Flag.PADDED | 4, 3, Uint8Array.of(9), bytes("abc"))], "goaway PROTOCOL_ERROR"],
    ["a broken header block", () => [frame(T.HEADERS, 4, 3, Uint8Array.of(0x80))], "goaway COMPRESSION_ERROR"],
    ["CONTINUATION out of place", () => [frame(T.CONTINUATION, 4, 1, bytes(""))], "goaway PROTOCOL_ERROR"],
    ["another frame inside a header block", (p) => [p.headers(3, CONNECT, 0), frame(T.PING, 0, 0, bytes("12345678"))], "goaway PROTOCOL_ERROR"],
    ["CONTINUATION of another stream", (p) => [p.headers(3, CONNECT, 0), frame(T.CONTINUATION, 4, 5)], "goaway PROTOCOL_ERROR"],
    ["a CONTINUATION flood", (p) => [p.headers(3, CONNECT, 0), ...Array.from({ length: 40 }, () => frame(T.CONTINUATION, 0, 3))], "goaway ENHANCE_YOUR_CALM"],
    ["a header block beyond our size", () => [frame(T.HEADERS, 0, 3, Buffer.alloc(60_000)), frame(T.CONTINUATION, 0, 3, Buffer.alloc(60_000))], "goaway ENHANCE_YOUR_CALM"],
    ["PRIORITY on stream 0", () => [frame(T.PRIORITY, 0, 0, u32(0), Uint8Array.of(0))], "goaway PROTOCOL_ERROR"],
    ["PRIORITY of another size", () => [frame(T.PRIORITY, 0, 1, u32(0))], "goaway FRAME_SIZE_ERROR"],
    ["RST_STREAM on stream 0", () => [frame(T.RST_STREAM, 0, 0, u32(8))], "goaway PROTOCOL_ERROR"],
    ["RST_STREAM of an idle stream", () => [frame(T.RST_STREAM, 0, 9, u32(8))], "goaway PROTOCOL_ERROR"],
    ["RST_STREAM of another size", () => [frame(T.RST_STREAM, 0, 1, bytes("abc"))], "goaway FRAME_SIZE_ERROR"],
    ["SETTINGS on a stream", () => [frame(T.SETTINGS, 0, 1)], "goaway PROTOCOL_ERROR"],
    ["SETTINGS of another size", () => [frame(T.SETTINGS, 0, 0, bytes("abc"))], "goaway FRAME_SIZE_ERROR"],
    ["SETTINGS ACK with a payload", () => [frame(T.SETTINGS, 1, 0, setting(4, 1))], "goaway FRAME_SIZE_ERROR"],
    ["SETTINGS ACK twice", () => [frame(T.SETTINGS, 1, 0), frame(T.SETTINGS, 1, 0)], "goaway PROTOCOL_ERROR"],
    ["a hundred and one settings", () => [frame(T.SETTINGS, 0, 0, ...Array.from({ length: 101 }, () => setting(99, 1)))], "goaway ENHANCE_YOUR_CALM"],
    ["an initial window too large", () => [frame(T.SETTINGS, 0, 0, setting(4, 0x80000000))], "goaway FLOW_CONTROL_ERROR"],
    ["a frame size too small", () => [frame(T.SETTINGS, 0, 0, setting(5, 16383))], "goaway PROTOCOL_ERROR"],
    ["a frame size too large", () => [frame(T.SETTINGS, 0, 0, setting(5, 0x1000000))], "goaway PROTOCOL_ERROR"],
    ["a push setting of 2", () => [frame(T.SETTINGS, 0, 0, setting(2, 2))], "goaway PROTOCOL_ERROR"],
    ["PUSH_PROMISE", () => [frame(T.PUSH_PROMISE, 4, 1, u32(2))], "goaway PROTOCOL_ERROR"],
    ["PING on a stream", () => [frame(T.PING, 0, 1, bytes("12345678"))], "goaway PROTOCOL_ERROR"],
    ["PING of another size", () => [frame(T.PING, 0, 0, bytes("1234567"))], "goaway FRAME_SIZE_ERROR"],
    ["GOAWAY on a stream", () => [frame(T.GOAWAY, 0, 1, u32(0, 0))], "goaway PROTOCOL_ERROR"],
    ["GOAWAY too short", () => [frame(T.GOAWAY, 0, 0, u32(0))], "goaway FRAME_SIZE_ERROR"],
    ["a GOAWAY with a novel in it", () => [frame(T.GOAWAY, 0, 0, Buffer.alloc(20_000))], "goaway ENHANCE_YOUR_CALM"],
    ["WINDOW_UPDATE of 0 for the connection", () => [frame(T.WINDOW_UPDATE, 0, 0, u32(0))], "goaway PROTOCOL_ERROR"],
    ["WINDOW_UPDATE of 0 for a stream", () => [frame(T.WINDOW_UPDATE, 0, 1, u32(0))], "rst 1 PROTOCOL_ERROR"],
    ["WINDOW_UPDATE of an idle stream", () => [frame(T.WINDOW_UPDATE, 0, 9, u32(1))], "goaway PROTOCOL_ERROR"],
    ["a connection window beyond 2^31-1", () => [frame(T.WINDOW_UPDATE, 0, 0, u32(0x7fffffff))], "goaway FLOW_CONTROL_ERROR"],
    ["a stream window beyond 2^31-1", () => [frame(T.WINDOW_UPDATE, 0, 1, u32(0x7fffffff))], "rst 1 FLOW_CONTROL_ERROR"],
    ["a settings window beyond 2^31-1", () => [frame(T.WINDOW_UPDATE, 0, 1, u32(0x7fffffff - 65535)), frame(T.SETTINGS, 0, 0, setting(4, 65536))], "goaway FLOW_CONTROL_ERROR"],
    ["octets that are no frames", () => [bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n")], "goaway FRAME_SIZE_ERROR"],
  ];
  for (const [what, make, answer] of onOpen) it(`${what} → ${answer}`, () => {
    const p = at(new RawPeer("server"));
    p.send(p.headers(1, CONNECT));
    p.send(...make(p));
    assert.deepEqual(p.verdicts(), [answer]);
    assert.equal(p.connection.closed, answer.startsWith("goaway"));
  });

  const malformed: readonly (readonly [string, readonly string[]])[] = [
    ["CONNECT with :scheme", [...CONNECT, ":scheme", "https"]], ["CONNECT with :path", [":path", "/", ...CONNECT]], ["extended CONNECT", [...CONNECT, ":protocol", "websocket"]],
    ["no :method", [":authority", "a"]], ["an empty :method", [":method", "", ":authority", "a"]], ["a :method that is no token", [":method", "C T", ":authority", "a"]],
    ["a pseudo-field twice", [...CONNECT, ":authority", "b"]], ["a pseudo-field after others", [":method", "CONNECT", "a", "b", ":authority", "a"]], [":status in a request", [...CONNECT, ":status", "200"]],
    ["an upper-case name", [...CONNECT, "Baggage", "x"]], ["an empty name", [...CONNECT, "", "x"]], ["a name with a colon", [...CONNECT, "a:b", "x"]], ["a name with a blank", [...CONNECT, "a ", "x"]], ["a name with NUL", [...CONNECT, "a\0", "x"]],
    ["a value with a line feed", [...CONNECT, "a", "x\ny"]], ["a value with NUL", [...CONNECT, "a", "x\0"]], ["a value with a blank at the end", [...CONNECT, "a", "x "]], ["an :authority with CR", [":method", "CONNECT", ":authority", "a\r"]],
    ["connection", [...CONNECT, "connection", "close"]], ["transfer-encoding", [...CONNECT, "transfer-encoding", "chunked"]], ["upgrade", [...CONNECT, "upgrade", "h2"]], ["te other than trailers", [...CONNECT, "te", "gzip"]],
    ["GET without :path", [":method", "GET", ":scheme", "https", ":authority", "a"]], ["GET without :scheme", [":method", "GET", ":path", "/", ":authority", "a"]], ["a relative :path", [":method", "GET", ":scheme", "https", ":path", "a"]],
    ["* without OPTIONS", [":method", "GET", ":scheme", "https", ":path", "*"]], ["a :path with a blank", [":method", "GET", ":scheme", "https", ":path", "/a b"]],
    ["two content-lengths", [...GET, "content-length", "1", "content-length", "2"]], ["a signed content-length", [...GET, "content-length", "+1"]],
  ];
  for (const [what, fields] of malformed) it(`${what} is malformed: reset, and the connection goes on`, () => {
    const p = at(new RawPeer("server"));
    p.send(p.headers(1, fields), p.headers(3, CONNECT), p.headers(5, fields)); // the second time from the table
    assert.deepEqual(p.verdicts(), ["rst 1 PROTOCOL_ERROR", "rst 5 PROTOCOL_ERROR"]);
    assert.equal(p.log.length, 1);
    assert.match(p.log[0] ?? "", /^request 3 /);
  });

  it("a body shorter or longer than its content-length is reset", () => {
    const p = at(new RawPeer("server"));
    p.send(p.headers(1, [...GET, "content-length", "3"]), frame(T.DATA, 1, 1, bytes("ab")));
    p.send(p.headers(3, [...GET, "content-length", "3"]), frame(T.DATA, 0, 3, bytes("abcd")));
    p.send(p.headers(5, [...GET, "content-length", "3"], END));
    p.send(p.headers(7, [...GET, "content-length", "3"]), frame(T.DATA, 1, 7, bytes("abc")));
    assert.deepEqual(p.verdicts(), ["rst 1 PROTOCOL_ERROR", "rst 3 PROTOCOL_ERROR", "rst 5 PROTOCOL_ERROR"]);
    assert.equal(p.log.at(-1), "end 7");
  });

  const starts: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["HTTP/1.1", bytes("GET / HTTP/1.1\r\n\r\n"), /preface/],
    ["a preface that goes wrong at its end", bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\n\n"), /preface/],
    ["a frame before SETTINGS", Buffer.concat([PREFACE, frame(T.PING, 0, 0, bytes("12345678"))]), /first frame/],
    ["an acknowledgement before SETTINGS", Buffer.concat([PREFACE, frame(T.SETTINGS, 1, 0)]), /first frame/],
  ];
  for (const [what, octets, why] of starts) it(`${what} ends the connection, in whatever pieces it comes`, () => {
    for (const cut of [1, 7, 100]) {
      const p = new RawPeer("server", {}, {}, false);
      for (let at = 0; at < octets.length; at += cut) p.send(octets.subarray(at, at + cut));
      assert.match(p.failed?.message ?? "", why);
      assert.deepEqual(p.verdicts(), ["goaway PROTOCOL_ERROR"]);
    }
  });

  it("streams beyond our limit are refused as unprocessed, an oversized head is refused, and both leave HPACK right", () => {
    const p = at(new RawPeer("server", { maxConcurrentStreams: 2, maxHeaderListSize: 400 }));
    p.send(p.headers(1, CONNECT), p.headers(3, CONNECT), p.headers(5, [...CONNECT, "later", "indexed"]));
    p.send(frame(T.RST_STREAM, 0, 1, u32(8)), p.headers(7, [...CONNECT, "a", "x".repeat(200), "b", "y".repeat(200)]), p.headers(9, [...CONNECT, "later", "indexed"]));
    assert.deepEqual(p.verdicts(), ["rst 5 REFUSED_STREAM", "rst 7 ENHANCE_YOUR_CALM"]);
    assert.equal(p.log.at(-1), "request 9 :method CONNECT :authority 10.0.0.1:80 later indexed");
  });

  const floods: readonly (readonly [string, (p: RawPeer, i: number) => Uint8Array[]])[] = [
    ["PING", () => [frame(T.PING, 0, 0, bytes("12345678"))]], ["SETTINGS", () => [frame(T.SETTINGS, 0, 0)]], ["PRIORITY", () => [frame(T.PRIORITY, 0, 1, u32(0), Uint8Array.of(0))]],
    ["empty DATA", () => [frame(T.DATA, 0, 1)]], ["rapid resets", (p, i) => [p.headers(3 + 2 * i, CONNECT), frame(T.RST_STREAM, 0, 3 + 2 * i, u32(8))]],
    ["malformed requests", (p, i) => [p.headers(3 + 2 * i, ["x", "y"])]], ["GOAWAY", () => [frame(T.GOAWAY, 0, 0, u32(0, 0))]],
  ];
  for (const [what, make] of floods) it(`a flood of ${what} ends the connection; the same over time does not`, () => {
    const fast = at(new RawPeer("server"));
    fast.send(fast.headers(1, CONNECT));
    for (let i = 0; i < 2000 && !fast.connection.closed; i++) { fast.send(...make(fast, i)); fast.connection.takeOutput(); }
    assert.equal(fast.failed?.code, 0xb);
    const slow = at(new RawPeer("server"));
    slow.send(slow.headers(1, CONNECT));
    for (let i = 0; i < 2000; i++) { slow.now += 10; slow.send(...make(slow, i)); slow.connection.takeOutput(); }
    assert.equal(slow.failed, undefined);
  });

  it("a busy client that opens, ends and aborts thousands of streams in one instant is no flood", () => {
    const p = at(new RawPeer("server"));
    for (let id = 1; id < 10_000; id += 2) {
      p.send(p.headers(id, CONNECT));
      const stream = p.streams.get(id);
      assert.ok(stream);
      p.connection.respond(stream, [":status", "200"], false);
      if (id % 4 === 1) {
        p.send(frame(T.DATA, 0, id, bytes("x")), frame(T.DATA, 1, id));
        p.connection.data(stream, new Uint8Array(0), true);
      } else p.send(frame(T.RST_STREAM, 0, id, u32(8)));
      p.connection.takeOutput();
    }
    assert.equal(p.failed, undefined);
    assert.equal(p.connection.openStreams, 0);
  });

  it("one that asks and does not read our answers is cut before they fill memory", () => {
    const p = at(new RawPeer("server", { outputMax: 65_536 }));
    p.connection.hold();
    let octets = 0;
    for (let i = 0; i < 100_000 && !p.connection.closed; i++) {
      p.now += 10;
      p.send(frame(T.PING, 0, 0, bytes("12345678")));
      octets = Math.max(octets, p.connection.pendingOutput);
    }
    assert.equal(p.failed?.code, 0xb);
    assert.ok(octets < 400_000);
  });
});

describe("a hostile server", () => {
  const open = (limits = {}): RawPeer => {
    const p = new RawPeer("client", limits).settle();
    assert.ok(p.connection.request(CONNECT, false, undefined) !== undefined);
    p.connection.takeOutput();
    return p;
  };
  const table: readonly (readonly [string, (p: RawPeer) => Uint8Array[], readonly string[], readonly string[]])[] = [
    ["opens a stream", (p) => [p.headers(2, [":status", "200"])], ["goaway PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR", "failed PROTOCOL_ERROR"]],
    ["answers a stream we never opened", (p) => [p.headers(3, [":status", "200"])], ["goaway PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR", "failed PROTOCOL_ERROR"]],
    ["pushes", () => [frame(T.PUSH_PROMISE, 4, 1, u32(2))], ["goaway PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR", "failed PROTOCOL_ERROR"]],
    ["enables push", () => [frame(T.SETTINGS, 0, 0, setting(2, 1))], ["goaway PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR", "failed PROTOCOL_ERROR"]],
    ["sends data before its answer", () => [frame(T.DATA, 0, 1, bytes("x"))], ["rst 1 PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR"]],
    ["answers without status", (p) => [p.headers(1, ["x", "y"])], ["rst 1 PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR"]],
    ["answers 101", (p) => [p.headers(1, [":status", "101"])], ["rst 1 PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR"]],
    ["answers 2xx with letters", (p) => [p.headers(1, [":status", "2x0"])], ["rst 1 PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR"]],
    ["ends with an informational answer", (p) => [p.headers(1, [":status", "103"], END)], ["rst 1 PROTOCOL_ERROR"], ["reset 1 PROTOCOL_ERROR"]],
    ["informs, then answers", (p) => [p.headers(1, [":status", "103"]), p.headers(1, [":status", "200"]), frame(T.DATA, 1, 1, bytes("x"))], [], ["response 1 200", "data 1 x", "end 1"]],
    ["refuses", () => [frame(T.RST_STREAM, 0, 1, u32(7))], [], ["reset 1 REFUSED_STREAM unprocessed"]],
    ["goes away before us", () => [frame(T.GOAWAY, 0, 0, u32(0, 0), bytes("bye"))], [], ["reset 1 REFUSED_STREAM unprocessed", "goaway 0 NO_ERROR bye"]],
    ["goes away after us", () => [frame(T.GOAWAY, 0, 0, u32(1, 0))], [], ["goaway 1 NO_ERROR"]],
    ["answers after we reset", (p) => { const [s] = p.connection.streams(); if (s) p.connection.reset(s, 8); p.connection.takeOutput(); return [p.headers(1, [":status", "200"]), frame(T.DATA, 1, 1, bytes("late")), frame(T.WINDOW_UPDATE, 0, 1, u32(5))]; }, [], []],
  ];
  for (const [what, make, verdicts, log] of table) it(what, () => {
    const p = open();
    p.send(...make(p));
    assert.deepEqual(p.verdicts(), verdicts);
    assert.deepEqual(p.log, log);
  });

  it("allows fewer streams: request says no instead of breaking the rule", () => {
    const p = new RawPeer("client").settle(setting(3, 1));
    assert.ok(p.connection.request(CONNECT, false, undefined));
    assert.equal(p.connection.canOpen, false);
    assert.equal(p.connection.request(CONNECT, false, undefined), undefined);
    p.send(frame(T.GOAWAY, 0, 0, u32(1, 0)));
    assert.equal(p.connection.canOpen, false);
  });
});

describe("random peers", () => {
  const anyFrame = fc.record({ type: fc.integer({ min: 0, max: 12 }), flags: fc.integer({ min: 0, max: 255 }), id: fc.constantFrom(0, 1, 2, 3, 5, 7, 0x7fffffff), payload: fc.uint8Array({ maxLength: 40 }) });
  for (const role of ["server", "client"] as const) it(`never make a ${role} throw, leak credit or speak after the end`, () => {
    fc.assert(fc.property(fc.array(fc.oneof({ weight: 4, arbitrary: anyFrame }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }) }), { maxLength: 30 }), fc.integer({ min: 1, max: 50 }), (input, cut) => {
      const p = new RawPeer(role, {}, {}).settle();
      if (role === "server") p.send(p.headers(1, CONNECT), p.headers(3, GET));
      else { p.connection.request(CONNECT, false, undefined); p.connection.request(GET, true, undefined); p.send(p.headers(1, [":status", "200"])); }
      const all = Buffer.concat(input.map((i) => (i instanceof Uint8Array ? i : frame(i.type, i.flags, i.id, i.payload))));
      for (let at = 0; at < all.length; at += cut) p.send(all.subarray(at, at + cut));
      if (p.failed !== undefined) {
        assert.equal(p.log.at(-1), p.log.filter((l) => l.startsWith("failed"))[0]);
        assert.equal(p.connection.openStreams, 0);
      }
      p.sent();
    }), { numRuns: 1500 });
  });

  it("cut into any pieces, the same octets mean the same", () => {
    const script = (p: RawPeer): Uint8Array => Buffer.concat([p.headers(1, CONNECT), frame(T.DATA, Flag.PADDED, 1, Uint8Array.of(2), bytes("hello"), bytes("00")), frame(99, 7, 3, bytes("unknown")),
      p.headers(3, GET, 0), frame(T.CONTINUATION, 4, 3), frame(T.SETTINGS, 0, 0, setting(4, 100)), frame(T.DATA, 1, 1), frame(T.RST_STREAM, 0, 3, u32(8))]);
    const whole = new RawPeer("server").settle();
    whole.onData = () => {};
    const octets = script(whole);
    whole.send(octets);
    assert.deepEqual(whole.log, ["request 1 :method CONNECT :authority 10.0.0.1:80", `request 3 ${GET.join(" ")}`, "end 1", "reset 3 CANCEL"]);
    for (let cut = 1; cut < 30; cut++) {
      const p = new RawPeer("server").settle();
      p.onData = () => {};
      for (let at = 0; at < octets.length; at += cut) p.send(octets.subarray(at, at + cut));
      assert.deepEqual(p.log, whole.log);
      assert.equal(p.data, 5);
    }
  });
});
