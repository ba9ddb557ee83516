// What a general proxy needs beyond tunnels: informational responses, extended CONNECT, trailers both ways, requests that could break HTTP/1.1.
import assert from "node:assert/strict";
import { Flag, FrameType } from "./frame.ts";
import { frame, GET, RawPeer, setting } from "./raw.fixture.ts";

const END = Flag.END_STREAM | Flag.END_HEADERS;
const POST = [":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a"];
const WEBSOCKET = [":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat", ":authority", "a"];

describe("informational responses", () => {
  it("reach a client before the final one", () => {
    const seen: string[] = [];
    const p = new RawPeer("client", {}, { onInformational: (_s, status, fields) => void seen.push(`${status} ${fields.slice(2).join("=")}`) }).settle();
    p.connection.request(GET, true, undefined);
    p.send(p.headers(1, [":status", "103", "link", "x"]), p.headers(1, [":status", "200"], END));
    assert.deepEqual(seen, ["103 link=x"]);
    assert.deepEqual(p.log.filter((l) => l.startsWith("response")), ["response 1 200"]);
  });

  it("do not count as the server's answer", () => {
    const p = new RawPeer("server").settle();
    p.send(p.headers(1, GET, END));
    const stream = p.streams.get(1);
    assert.ok(stream);
    p.connection.respond(stream, [":status", "103"], false);
    assert.equal(stream.answered, false);
    p.connection.respond(stream, [":status", "200"], true);
    assert.deepEqual(p.sent().map((f) => [f.type, f.flags]), [[FrameType.HEADERS, 4], [FrameType.HEADERS, 5]]);
  });

  it("without end become a failure of the connection", () => {
    const p = new RawPeer("client").settle();
    p.connection.request(GET, true, undefined);
    for (let i = 0; i < 1100 && p.failed === undefined; i++) p.send(p.headers(1, [":status", "102"]));
    assert.ok(p.failed);
  });
});

describe("extended CONNECT", () => {
  it("is announced, and taken with a path and a body that is a tunnel", () => {
    const p = new RawPeer("server", { extendedConnect: true });
    assert.ok(p.sent().some((f) => f.type === FrameType.SETTINGS && Buffer.from(f.payload).includes(Buffer.from(setting(8, 1)))));
    p.settle().send(p.headers(1, [...WEBSOCKET, "content-length", "3"]), frame(FrameType.DATA, 0, 1, Buffer.from("hello")));
    assert.match(p.log[0] ?? "", /^request 1 :method CONNECT :protocol websocket/);
    assert.equal(p.log[1], "data 1 hello");
  });

  it("is known to a client once the server said so", () => {
    const p = new RawPeer("client");
    assert.equal(p.connection.peerExtendedConnect, false);
    p.settle(setting(8, 1));
    assert.equal(p.connection.peerExtendedConnect, true);
  });

  const malformed: [string, boolean, string[]][] = [
    ["where it was not announced", false, WEBSOCKET],
    ["without :path", true, WEBSOCKET.filter((_, i) => i !== 6 && i !== 7)],
    ["without :authority", true, WEBSOCKET.slice(0, 8)],
    ["of another method", true, [...GET, ":protocol", "websocket"]],
    ["with a :protocol that is no token", true, WEBSOCKET.with(3, "web socket")],
  ];
  for (const [name, extendedConnect, fields] of malformed)
    it(`${name} is reset`, () => {
      const p = new RawPeer("server", { extendedConnect }).settle();
      p.send(p.headers(1, fields));
      assert.deepEqual(p.verdicts(), ["rst 1 PROTOCOL_ERROR"]);
    });
});

describe("S13: a request that would break HTTP/1.1 is reset", () => {
  const cases: [string, string[]][] = [
    ["a line break in a value", [...GET, "a", "x\r\nb: c"]],
    ["a control character in a value", [...GET, "a", "x\x01"]],
    ["DEL in a value", [...GET, "a", "x\x7f"]],
    ["transfer-encoding", [...GET, "transfer-encoding", "chunked"]],
    ["connection", [...GET, "connection", "close"]],
    ["upgrade", [...GET, "upgrade", "h2c"]],
    ["te other than trailers", [...GET, "te", "gzip"]],
    ["a name in upper case", [...GET, "A", "x"]],
    ["a name with a colon", [...GET, "a:b", "x"]],
    ["a pseudo-field behind a field", [...GET.slice(0, 6), "a", "b", ":authority", "c"]],
    ["a pseudo-field twice", [...GET, ":path", "/b"]],
    ["a path with a blank", GET.with(5, "/a b")],
    ["a path with a line break", GET.with(5, "/a\r\nHost: b")],
    ["a path with a fragment", GET.with(5, "/a#b")],
    ["a path beyond ASCII", GET.with(5, "/\xe9")],
    ["a path that is no path", GET.with(5, "a")],
    ["* of another method", GET.with(5, "*")],
    ["a method with a blank", GET.with(1, "GET /x")],
    ["S6 a method in lower case", GET.with(1, "get")],
    ["two lengths that differ", [...POST, "content-length", "1", "content-length", "2"]],
    ["a length that is no number", [...POST, "content-length", "+1"]],
  ];
  for (const [name, fields] of cases)
    it(name, () => {
      const p = new RawPeer("server").settle();
      p.send(p.headers(1, fields, END));
      assert.deepEqual(p.verdicts(), ["rst 1 PROTOCOL_ERROR"]);
      assert.deepEqual(p.log, []);
    });

  for (const [name, length, data] of [["more body than its length", "1", "ab"], ["less body than its length", "3", "ab"]] as const)
    it(name, () => {
      const p = new RawPeer("server").settle();
      p.send(p.headers(1, [...POST, "content-length", length]), frame(FrameType.DATA, Flag.END_STREAM, 1, Buffer.from(data)));
      assert.deepEqual(p.verdicts(), ["rst 1 PROTOCOL_ERROR"]);
      assert.equal(p.log.at(-1), "reset 1 PROTOCOL_ERROR");
    });
});

describe("trailers", () => {
  it("go both ways", () => {
    const server = new RawPeer("server").settle();
    server.send(server.headers(1, POST), server.headers(1, ["x-sum", "1"], END));
    assert.deepEqual(server.log.slice(1), ["trailers 1 x-sum 1", "end 1"]);
    const client = new RawPeer("client").settle();
    const stream = client.connection.request(POST, false, undefined);
    assert.ok(stream);
    client.connection.trailers(stream, ["x-sum", "1"]);
    client.send(client.headers(1, [":status", "200"]), client.headers(1, ["grpc-status", "0"], END));
    assert.deepEqual(client.log, ["response 1 200", "trailers 1 grpc-status 0", "end 1"]);
  });
});
