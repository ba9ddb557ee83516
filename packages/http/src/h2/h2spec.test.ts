// The cases of h2spec, by its own numbers, as a table: what a peer does, and what RFC 9113 and RFC 7541 have us do. Where the RFC leaves a choice, ours stands here.
import assert from "node:assert/strict";
import { Flag, FrameType as T } from "./frame.ts";
import { bytes, frame, GET, RawPeer, setting, u32 } from "./raw.fixture.ts";

const END = Flag.END_STREAM | Flag.END_HEADERS;
const POST = GET.with(1, "POST");
const NOTHING = new Uint8Array(0);
const PING = "12345678";
/** A raw header block, in place of one that our own encoder would make. */
const block = (id: number, hex: string): Uint8Array => frame(T.HEADERS, END, id, Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex")));
/** `:method GET :scheme http :path /`, for literals to follow. */
const HEAD = "82 86 84";

type Case = readonly [section: string, what: string, make: (p: RawPeer) => Uint8Array[], verdict: string];
const PROTOCOL = "goaway PROTOCOL_ERROR";
const SIZE = "goaway FRAME_SIZE_ERROR";
const COMPRESSION = "goaway COMPRESSION_ERROR";
const CALM = "goaway ENHANCE_YOUR_CALM";
const rst = (id: number, code: string): string => `rst ${id} ${code}`;
/** Nothing is held against the peer. */
const FINE = "";

const CASES: readonly Case[] = [
  ["generic/2", "an idle stream takes PRIORITY", () => [frame(T.PRIORITY, 0, 1, u32(0), Uint8Array.of(5))], FINE],
  ["generic/2", "a closed stream takes PRIORITY", (p) => [p.headers(1, GET, END), frame(T.RST_STREAM, 0, 1, u32(8)), frame(T.PRIORITY, 0, 1, u32(0), Uint8Array.of(5))], FINE],
  ["generic/3.1", "DATA", (p) => [p.headers(1, POST), frame(T.DATA, 1, 1, bytes("x"))], FINE],
  ["generic/3.1", "several DATA", (p) => [p.headers(1, POST), frame(T.DATA, 0, 1, bytes("x")), frame(T.DATA, 1, 1, bytes("x"))], FINE],
  ["generic/3.1", "padded DATA", (p) => [p.headers(1, POST), frame(T.DATA, 1 | Flag.PADDED, 1, Uint8Array.of(2), bytes("x"), Uint8Array.of(0, 0))], FINE],
  ["generic/3.2", "HEADERS with priority", (p) => [frame(T.HEADERS, END | Flag.PRIORITY, 1, u32(0), Uint8Array.of(3), Uint8Array.from(p.hpack.encode(GET)))], FINE],
  ["generic/3.2", "padded HEADERS", (p) => [frame(T.HEADERS, END | Flag.PADDED, 1, Uint8Array.of(1), Uint8Array.from(p.hpack.encode(GET)), Uint8Array.of(0))], FINE],
  ["generic/3.4", "RST_STREAM", (p) => [p.headers(1, POST), frame(T.RST_STREAM, 0, 1, u32(8))], FINE],
  ["generic/3.5", "SETTINGS", () => [frame(T.SETTINGS, 0, 0, setting(3, 100))], FINE],
  ["generic/3.7", "PING", () => [frame(T.PING, 0, 0, bytes(PING))], FINE],
  ["generic/3.8", "GOAWAY", () => [frame(T.GOAWAY, 0, 0, u32(0, 0))], FINE],
  ["generic/3.9", "WINDOW_UPDATE of the connection", () => [frame(T.WINDOW_UPDATE, 0, 0, u32(1))], FINE],
  ["generic/3.9", "WINDOW_UPDATE of a stream", (p) => [p.headers(1, POST), frame(T.WINDOW_UPDATE, 0, 1, u32(1))], FINE],
  ["generic/3.10", "CONTINUATION", (p) => [frame(T.HEADERS, 1, 1, Uint8Array.from(p.hpack.encode(GET))), frame(T.CONTINUATION, 0, 1, Uint8Array.from(p.hpack.encode(["a", "b"]))), frame(T.CONTINUATION, 4, 1, Uint8Array.from(p.hpack.encode(["c", "d"])))], FINE],
  ["generic/4", "POST with trailers", (p) => [p.headers(1, POST), frame(T.DATA, 0, 1, bytes("x")), p.headers(1, ["x-trailer", "y"], END)], FINE],
  ["generic/5", "every form of a field", () => [block(1, `${HEAD} 41 01 61 40 01 62 01 63 00 01 64 01 65 10 01 66 01 67 20`.replace(/ 20$/, ""))], FINE],
  ["generic/5", "a table size update at the start", () => [block(1, `20 ${HEAD} 41 01 61`)], FINE],
  ["generic/5", "Huffman", () => [block(1, `${HEAD} 41 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff`)], FINE],

  ["http2/4.1", "a frame of an unknown type is ignored", () => [frame(0x16, 0, 0, bytes(PING)), frame(T.PING, 0, 0, bytes(PING))], FINE],
  ["http2/4.1", "flags that are not defined are ignored", () => [frame(T.PING, 0x16, 0, bytes(PING))], FINE],
  ["http2/4.1", "the reserved bit is ignored", () => [frame(T.PING, 0, 0x80000000, bytes(PING))], FINE],
  ["http2/4.2", "DATA of 2^14 octets", (p) => [p.headers(1, POST), frame(T.DATA, 1, 1, new Uint8Array(16_384))], FINE],
  ["http2/4.2", "a frame beyond SETTINGS_MAX_FRAME_SIZE", (p) => [p.headers(1, POST), frame(T.DATA, 0, 1, new Uint8Array((1 << 20) + 1))], SIZE],
  ["http2/4.2", "HEADERS beyond what we take of a head", () => [frame(T.HEADERS, END, 1, new Uint8Array(70_000))], CALM],
  ["http2/4.3", "a header block that cannot be read", () => [block(1, "40")], COMPRESSION],
  ["http2/4.3", "PRIORITY inside a header block", (p) => [p.headers(1, GET, 1), frame(T.PRIORITY, 0, 1, u32(0), Uint8Array.of(5))], PROTOCOL],
  ["http2/4.3", "HEADERS of another stream inside a header block", (p) => [p.headers(1, GET, 1), p.headers(3, GET, END)], PROTOCOL],
  ["http2/5.1", "idle: DATA", () => [frame(T.DATA, 1, 1, bytes("x"))], PROTOCOL],
  ["http2/5.1", "idle: RST_STREAM", () => [frame(T.RST_STREAM, 0, 1, u32(8))], PROTOCOL],
  ["http2/5.1", "idle: WINDOW_UPDATE", () => [frame(T.WINDOW_UPDATE, 0, 1, u32(100))], PROTOCOL],
  ["http2/5.1", "idle: CONTINUATION", () => [frame(T.CONTINUATION, 4, 1, NOTHING)], PROTOCOL],
  ["http2/5.1", "half-closed (remote): DATA", (p) => [p.headers(1, GET, END), frame(T.DATA, 1, 1, bytes("x"))], rst(1, "STREAM_CLOSED")],
  ["http2/5.1", "half-closed (remote): HEADERS", (p) => [p.headers(1, GET, END), p.headers(1, GET, END)], rst(1, "STREAM_CLOSED")],
  ["http2/5.1", "half-closed (remote): CONTINUATION", (p) => [p.headers(1, GET, END), frame(T.CONTINUATION, 4, 1, NOTHING)], PROTOCOL],
  ["http2/5.1", "closed by RST_STREAM: DATA", (p) => [p.headers(1, POST), frame(T.RST_STREAM, 0, 1, u32(8)), frame(T.DATA, 1, 1, bytes("x"))], rst(1, "STREAM_CLOSED")],
  ["http2/5.1", "closed by RST_STREAM: HEADERS", (p) => [p.headers(1, POST), frame(T.RST_STREAM, 0, 1, u32(8)), p.headers(1, POST, END)], "goaway STREAM_CLOSED"],
  ["http2/5.1", "closed by RST_STREAM: CONTINUATION", (p) => [p.headers(1, POST), frame(T.RST_STREAM, 0, 1, u32(8)), frame(T.CONTINUATION, 4, 1, NOTHING)], PROTOCOL],
  ["http2/5.1.1", "an even stream", (p) => [p.headers(2, GET, END)], PROTOCOL],
  ["http2/5.1.1", "a stream id that goes back", (p) => [p.headers(5, GET, END), p.headers(3, GET, END)], "goaway STREAM_CLOSED"],
  ["http2/5.3.1", "a stream that depends on itself (RFC 9113: priorities have no meaning)", (p) => [frame(T.HEADERS, END | Flag.PRIORITY, 1, u32(1), Uint8Array.of(3), Uint8Array.from(p.hpack.encode(GET)))], FINE],
  ["http2/5.3.1", "PRIORITY of a stream on itself (likewise)", () => [frame(T.PRIORITY, 0, 1, u32(1), Uint8Array.of(5))], FINE],
  ["http2/5.5", "an unknown frame inside a header block", (p) => [p.headers(1, GET, 1), frame(0x16, 0, 1, bytes("x")), frame(T.CONTINUATION, 4, 1, NOTHING)], PROTOCOL],
  ["http2/6.1", "DATA on stream 0", () => [frame(T.DATA, 1, 0, bytes("x"))], PROTOCOL],
  ["http2/6.1", "DATA on a stream that is not open", (p) => [p.headers(1, GET, END), frame(T.DATA, 1, 1, bytes("x"))], rst(1, "STREAM_CLOSED")],
  ["http2/6.1", "more padding than payload", (p) => [p.headers(1, POST), frame(T.DATA, 1 | Flag.PADDED, 1, Uint8Array.of(9), bytes("x"))], PROTOCOL],
  ["http2/6.2", "HEADERS on stream 0", (p) => [p.headers(0, GET, END)], PROTOCOL],
  ["http2/6.2", "HEADERS with more padding than payload", () => [frame(T.HEADERS, END | Flag.PADDED, 1, Uint8Array.of(9), bytes("x"))], PROTOCOL],
  ["http2/6.3", "PRIORITY on stream 0", () => [frame(T.PRIORITY, 0, 0, u32(0), Uint8Array.of(5))], PROTOCOL],
  ["http2/6.3", "PRIORITY of another size", () => [frame(T.PRIORITY, 0, 1, u32(0))], SIZE],
  ["http2/6.4", "RST_STREAM on stream 0", () => [frame(T.RST_STREAM, 0, 0, u32(8))], PROTOCOL],
  ["http2/6.4", "RST_STREAM of an idle stream", () => [frame(T.RST_STREAM, 0, 1, u32(8))], PROTOCOL],
  ["http2/6.4", "RST_STREAM of another size", (p) => [p.headers(1, POST), frame(T.RST_STREAM, 0, 1, bytes("abc"))], SIZE],
  ["http2/6.5", "SETTINGS with ACK and a payload", () => [frame(T.SETTINGS, 1, 0, setting(1, 0))], SIZE],
  ["http2/6.5", "SETTINGS on a stream", () => [frame(T.SETTINGS, 0, 1, setting(3, 1))], PROTOCOL],
  ["http2/6.5", "SETTINGS of another size", () => [frame(T.SETTINGS, 0, 0, bytes("abc"))], SIZE],
  ["http2/6.5.2", "ENABLE_PUSH of 2", () => [frame(T.SETTINGS, 0, 0, setting(2, 2))], PROTOCOL],
  ["http2/6.5.2", "INITIAL_WINDOW_SIZE beyond 2^31-1", () => [frame(T.SETTINGS, 0, 0, setting(4, 0x80000000))], "goaway FLOW_CONTROL_ERROR"],
  ["http2/6.5.2", "MAX_FRAME_SIZE below 2^14", () => [frame(T.SETTINGS, 0, 0, setting(5, 16_383))], PROTOCOL],
  ["http2/6.5.2", "MAX_FRAME_SIZE beyond 2^24-1", () => [frame(T.SETTINGS, 0, 0, setting(5, 16_777_216))], PROTOCOL],
  ["http2/6.5.2", "an unknown setting is ignored", () => [frame(T.SETTINGS, 0, 0, setting(0xff, 1))], FINE],
  ["http2/6.7", "PING on a stream", () => [frame(T.PING, 0, 1, bytes(PING))], PROTOCOL],
  ["http2/6.7", "PING of another size", () => [frame(T.PING, 0, 0, bytes("123456"))], SIZE],
  ["http2/6.8", "GOAWAY on a stream", () => [frame(T.GOAWAY, 0, 1, u32(0, 0))], PROTOCOL],
  ["http2/6.9", "WINDOW_UPDATE of 0 for the connection", () => [frame(T.WINDOW_UPDATE, 0, 0, u32(0))], PROTOCOL],
  ["http2/6.9", "WINDOW_UPDATE of 0 for a stream", (p) => [p.headers(1, POST), frame(T.WINDOW_UPDATE, 0, 1, u32(0))], rst(1, "PROTOCOL_ERROR")],
  ["http2/6.9", "WINDOW_UPDATE of another size", () => [frame(T.WINDOW_UPDATE, 0, 0, bytes("abc"))], SIZE],
  ["http2/6.9.1", "a connection's window beyond 2^31-1", () => [frame(T.WINDOW_UPDATE, 0, 0, u32(0x7fffffff)), frame(T.WINDOW_UPDATE, 0, 0, u32(0x7fffffff))], "goaway FLOW_CONTROL_ERROR"],
  ["http2/6.9.1", "a stream's window beyond 2^31-1", (p) => [p.headers(1, POST), frame(T.WINDOW_UPDATE, 0, 1, u32(0x7fffffff)), frame(T.WINDOW_UPDATE, 0, 1, u32(0x7fffffff))], rst(1, "FLOW_CONTROL_ERROR")],
  ["http2/6.10", "CONTINUATION after END_HEADERS", (p) => [p.headers(1, POST), frame(T.CONTINUATION, 4, 1, NOTHING)], PROTOCOL],
  ["http2/6.10", "DATA inside a header block", (p) => [p.headers(1, POST, 0), frame(T.DATA, 1, 1, bytes("x"))], PROTOCOL],
  ["http2/6.10", "CONTINUATION on stream 0", (p) => [p.headers(1, POST, 0), frame(T.CONTINUATION, 4, 0, NOTHING)], PROTOCOL],
  ["http2/6.10", "CONTINUATION after CONTINUATION with END_HEADERS", (p) => [p.headers(1, POST, 0), frame(T.CONTINUATION, 4, 1, NOTHING), frame(T.CONTINUATION, 4, 1, NOTHING)], PROTOCOL],
  ["http2/6.10", "CONTINUATION after DATA", (p) => [p.headers(1, POST), frame(T.DATA, 0, 1, bytes("x")), frame(T.CONTINUATION, 4, 1, NOTHING)], PROTOCOL],
  ["http2/7", "GOAWAY with an unknown code", () => [frame(T.GOAWAY, 0, 0, u32(0, 0xff))], FINE],
  ["http2/7", "RST_STREAM with an unknown code", (p) => [p.headers(1, POST), frame(T.RST_STREAM, 0, 1, u32(0xff))], FINE],
  ["http2/8.1", "a second HEADERS that does not end the stream", (p) => [p.headers(1, POST), p.headers(1, ["x", "y"], 4)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2", "a name with a capital", (p) => [p.headers(1, [...GET, "X-TEST", "ok"], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.1", "an unknown pseudo-field", (p) => [p.headers(1, [":test", "ok", ...GET], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.1", "a pseudo-field of answers", (p) => [p.headers(1, [...GET, ":status", "200"], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.1", "a pseudo-field in trailers", (p) => [p.headers(1, POST), p.headers(1, [":method", "200"], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.1", "a pseudo-field after others", (p) => [p.headers(1, [":method", "GET", ":scheme", "https", ":authority", "a", "x", "y", ":path", "/"], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.2", "connection", (p) => [p.headers(1, [...GET, "connection", "keep-alive"], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.2", "te other than trailers", (p) => [p.headers(1, [...GET, "te", "trailers, deflate;q=0.5"], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.3", "an empty :path", (p) => [p.headers(1, GET.with(5, ""), END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.3", "no :method", (p) => [p.headers(1, GET.slice(2), END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.3", "no :scheme", (p) => [p.headers(1, [...GET.slice(0, 2), ...GET.slice(4)], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.3", "no :path", (p) => [p.headers(1, [...GET.slice(0, 4), ...GET.slice(6)], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.3", ":method twice", (p) => [p.headers(1, [":method", "GET", ...GET], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.3", ":scheme twice", (p) => [p.headers(1, [":scheme", "https", ...GET], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.3", ":path twice", (p) => [p.headers(1, [":path", "/", ...GET], END)], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.6", "content-length that one DATA does not keep", (p) => [p.headers(1, [...POST, "content-length", "1"]), frame(T.DATA, 1, 1, bytes("test"))], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.1.2.6", "content-length that several DATA do not keep", (p) => [p.headers(1, [...POST, "content-length", "1"]), frame(T.DATA, 0, 1, bytes("te")), frame(T.DATA, 1, 1, bytes("st"))], rst(1, "PROTOCOL_ERROR")],
  ["http2/8.2", "PUSH_PROMISE", (p) => [p.headers(1, POST), frame(T.PUSH_PROMISE, 4, 1, u32(2), Uint8Array.from(p.hpack.encode(GET)))], PROTOCOL],

  ["hpack/2.3.3", "an index beyond the tables", () => [block(1, `${HEAD} ff 80 08`)], COMPRESSION],
  ["hpack/2.3.3", "a name's index beyond the tables", () => [block(1, `${HEAD} 7f 80 08 01 61`)], COMPRESSION],
  ["hpack/4.2", "a table size update behind a field", () => [block(1, `${HEAD} 20`)], COMPRESSION],
  ["hpack/5.2", "Huffman padding of more than 7 bits", () => [block(1, `${HEAD} 00 01 61 82 1f ff`)], COMPRESSION],
  ["hpack/5.2", "Huffman padding of zeros", () => [block(1, `${HEAD} 00 01 61 81 00`)], COMPRESSION],
  ["hpack/5.2", "EOS in a Huffman string", () => [block(1, `${HEAD} 00 01 61 84 ff ff ff ff`)], COMPRESSION],
  ["hpack/6.1", "index 0", () => [block(1, `${HEAD} 80`)], COMPRESSION],
  ["hpack/6.3", "a table size beyond our SETTINGS", () => [block(1, `3f e2 1f ${HEAD}`)], COMPRESSION],
];

describe("h2spec", () => {
  for (const [section, what, make, verdict] of CASES) it(`${section} ${what}${verdict === "" ? "" : ` → ${verdict}`}`, () => {
    const p = new RawPeer("server").settle();
    p.send(...make(p));
    assert.deepEqual(p.verdicts().join(), verdict);
    assert.equal(p.connection.closed, verdict.startsWith("goaway"));
    if (p.connection.closed) return;
    // Whatever became of the stream, the connection is as good as before.
    p.send(frame(T.PING, 0, 0, bytes("87654321")));
    assert.ok(p.sent().some((f) => f.type === T.PING && f.flags === 1 && Buffer.from(f.payload).toString() === "87654321"));
  });

  it("http2/5.1.2 streams beyond SETTINGS_MAX_CONCURRENT_STREAMS are refused as unprocessed", () => {
    const p = new RawPeer("server", { maxConcurrentStreams: 2 }).settle();
    p.send(p.headers(1, POST), p.headers(3, POST), p.headers(5, POST));
    assert.deepEqual(p.verdicts(), ["rst 5 REFUSED_STREAM"]);
  });

  it("http2/5.4.1 GOAWAY comes before the end of the connection, and names the last stream", () => {
    const p = new RawPeer("server").settle();
    p.send(p.headers(7, GET, END), frame(T.DATA, 0, 0, bytes("x")));
    const goaway = p.sent().find((f) => f.type === T.GOAWAY);
    assert.deepEqual([p.connection.closed, goaway && Buffer.from(goaway.payload).readUInt32BE(0)], [true, 7]);
  });

  it("http2/6.5.3 of several values of one setting the last holds, and one ACK follows each frame", () => {
    const p = new RawPeer("server").settle();
    p.send(frame(T.SETTINGS, 0, 0, setting(4, 100), setting(4, 3)), frame(T.SETTINGS, 0, 0));
    assert.equal(p.sent().filter((f) => f.type === T.SETTINGS && f.flags === 1).length, 2);
    p.send(p.headers(1, GET, END));
    const stream = p.streams.get(1);
    assert.ok(stream);
    p.connection.respond(stream, [":status", "200"], false);
    assert.equal(p.connection.data(stream, bytes("abcdef"), true), 3);
  });

  it("http2/6.7 a PING is answered with its own octets, an answer with nothing", () => {
    const p = new RawPeer("server").settle();
    p.send(frame(T.PING, 0, 0, bytes(PING)), frame(T.PING, 1, 0, bytes("abcdefgh")));
    assert.deepEqual(p.sent().filter((f) => f.type === T.PING).map((f) => [f.flags, Buffer.from(f.payload).toString()]), [[1, PING]]);
  });

  it("http2/6.9.1 a window of one octet lets one octet through", () => {
    const p = new RawPeer("server").settle(setting(4, 1));
    p.send(p.headers(1, GET, END));
    const stream = p.streams.get(1);
    assert.ok(stream);
    p.connection.respond(stream, [":status", "200"], false);
    assert.equal(p.connection.data(stream, bytes("ab"), true), 1);
    assert.deepEqual(p.sent().filter((f) => f.type === T.DATA).map((f) => f.payload.length), [1]);
  });

  it("http2/6.9.2 a window changed after HEADERS holds for the stream, and may become negative", () => {
    const p = new RawPeer("server").settle(setting(4, 0));
    p.send(p.headers(1, GET, END));
    const stream = p.streams.get(1);
    assert.ok(stream);
    p.connection.respond(stream, [":status", "200"], false);
    assert.equal(p.connection.data(stream, bytes("abc"), true), 0);
    p.send(frame(T.SETTINGS, 0, 0, setting(4, 1)));
    assert.equal(p.connection.data(stream, bytes("abc"), true), 1);
    // 1 sent of 0 allowed: the window is -1, and 2 make it 1.
    p.send(frame(T.SETTINGS, 0, 0, setting(4, 0)));
    assert.equal(p.connection.data(stream, bytes("bc"), true), 0);
    p.send(frame(T.WINDOW_UPDATE, 0, 1, u32(2)));
    assert.equal(p.connection.data(stream, bytes("bc"), true), 1);
  });
});
