import assert from "node:assert/strict";
import { bytes, ClientLog, output } from "./log.fixture.ts";

const OK = "HTTP/1.1 200 OK\r\n";

describe("H1Client reads answers", () => {
  const cases: [string, string, string[], boolean, ("HEAD" | "GET")?][] = [
    ["by length", `${OK}Content-Length: 2\r\nA: b\r\n\r\nhi`, ["answer 200 content-length|2|a|b", "body hi", "end"], true],
    ["in chunks with trailers", `${OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nt: 1\r\n\r\n`, ["answer 200 transfer-encoding|chunked", "trailers t|1", "body hi", "end"], true],
    ["without reason, without its blank", "HTTP/1.1 204\r\n\r\n", ["answer 204", "end"], true],
    ["304 with a length and no body", "HTTP/1.1 304 x\r\ncontent-length: 5\r\n\r\n", ["answer 304 content-length|5", "end"], true],
    ["of HEAD", `${OK}content-length: 5\r\n\r\n`, ["answer 200 content-length|5", "end"], true, "HEAD"],
    ["after 100 and 103", `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nlink: y\r\n\r\n${OK}content-length: 0\r\n\r\n`, ["info 100", "info 103 link|y", "answer 200 content-length|0", "end"], true],
    ["of a connection that closes", `${OK}content-length: 0\r\nconnection: close\r\n\r\n`, ["answer 200 content-length|0|connection|close", "end"], false],
    ["of HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", ["answer 200 content-length|1", "body x", "end"], false],
    ["HTTP/1.0 kept alive", "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", ["answer 200 content-length|0|connection|keep-alive", "end"], true],
  ];
  for (const [name, text, expected, reusable, method] of cases)
    it(`${name}, whole and octet by octet`, () => {
      for (const size of [text.length, 1]) {
        const peer = new ClientLog().ask(method ?? "GET").feed(text, size);
        assert.deepEqual(peer.log, expected);
        assert.equal(peer.client.reusable, reusable);
      }
    });

  it("until the end of the connection", () => {
    const peer = new ClientLog().ask().feed(`${OK}\r\nhi`);
    assert.deepEqual(peer.log, ["answer 200"]);
    assert.ok(peer.client.receiveEnd());
    assert.deepEqual(peer.log, ["answer 200", "body hi", "end"]);
    assert.equal(peer.client.reusable, false);
  });

  it("says when the connection ends inside or before an answer", () => {
    for (const text of ["", "HTT", `${OK}content-length: 3\r\n\r\nhi`, `${OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n`])
      assert.equal(new ClientLog().ask().feed(text).client.receiveEnd(), false, text);
    assert.equal(new ClientLog().client.receiveEnd(), true);
  });

  it("does not use what comes behind an answer for the next question", () => {
    const peer = new ClientLog().ask().feed(`${OK}content-length: 0\r\n\r\n${OK}content-length: 6\r\n\r\nforged`);
    assert.deepEqual(peer.log, ["answer 200 content-length|0", "end"]);
    assert.equal(peer.client.reusable, false);
  });

  it("refuses octets when nothing was asked", () => assert.deepEqual(new ClientLog().feed(OK).log, ["failed"]));
});

describe("H1Client refuses", () => {
  const cases: [string, string][] = [
    ["length beside chunks", `${OK}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`],
    ["two lengths", `${OK}content-length: 1\r\ncontent-length: 1\r\n\r\n`],
    ["another coding", `${OK}transfer-encoding: gzip\r\n\r\n`],
    ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["a status beyond 599", "HTTP/1.1 600 OK\r\n\r\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
    ["HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n"],
    ["ICY", "ICY 200 OK\r\n\r\n"],
    ["a bare LF", "HTTP/1.1 200 OK\n\n"],
    ["NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"],
    ["a folded field", `${OK}a: b\r\n c\r\n\r\n`],
    ["101 that was not asked for", "HTTP/1.1 101 x\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n"],
    ["S23 informational answers without end", "HTTP/1.1 102 x\r\n\r\n".repeat(40)],
    ["101 fields", `${OK}${Array.from({ length: 101 }, (_, i) => `f${i}: x\r\n`).join("")}\r\n`],
    ["a head without end", `${OK}a: ${"x".repeat(70_000)}`],
  ];
  for (const [name, text] of cases)
    it(name, () => {
      for (const size of [text.length, 501]) assert.equal(new ClientLog().ask().feed(text, size).log.at(-1), "failed");
    });
});

describe("H1Client asks", () => {
  const asked = (ask: (log: ClientLog) => void): string => { const peer = new ClientLog(); ask(peer); return output(peer.client); };
  const cases: [string, (log: ClientLog) => void, string][] = [
    ["without a body", ({ client }) => client.request("GET", "/x", "h:1", ["a", "b"], "none", undefined), "GET /x HTTP/1.1\r\nhost: h:1\r\na: b\r\n\r\n"],
    ["with fields behind the others", ({ client }) => client.request("POST", "/", "h", ["a", "b"], "none", undefined, ["c", "d"]), "POST / HTTP/1.1\r\nhost: h\r\na: b\r\nc: d\r\ncontent-length: 0\r\n\r\n"],
    ["POST of nothing", ({ client }) => client.request("POST", "/", "h", [], "none", undefined), "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"],
    ["by length", ({ client }) => { client.request("PUT", "/", "h", [], 2, undefined); client.data(bytes("hi")); client.end([]); }, "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi"],
    ["in chunks", ({ client }) => { client.request("PUT", "/", "h", [], "unknown", undefined); client.data(bytes("hi")); client.end(["t", "1"]); },
      "PUT / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nt: 1\r\n\r\n"],
    ["for an upgrade", ({ client }) => client.request("GET", "/", "h", ["sec-websocket-version", "13"], "none", "websocket"),
      "GET / HTTP/1.1\r\nhost: h\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"],
  ];
  for (const [name, ask, expected] of cases) it(name, () => assert.equal(asked(ask), expected));

  it("is not reusable while the request is not out", () => {
    const peer = new ClientLog();
    peer.client.request("PUT", "/", "h", [], 2, undefined);
    peer.feed(`${OK}content-length: 0\r\n\r\n`);
    assert.equal(peer.client.reusable, false);
    peer.client.data(bytes("hi"));
    assert.ok(peer.client.end([]));
    assert.equal(peer.client.reusable, true);
  });

  it("refuses less than it announced", () => {
    const peer = new ClientLog();
    peer.client.request("PUT", "/", "h", [], 2, undefined);
    assert.equal(peer.client.end([]), false);
    assert.equal(peer.client.reusable, false);
  });

  it("carries another protocol after 101", () => {
    const peer = new ClientLog().ask("GET", "x");
    output(peer.client);
    peer.feed("HTTP/1.1 101 x\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello");
    peer.client.data(bytes("raw"));
    assert.equal(output(peer.client), "raw");
    assert.equal(peer.body, "hello");
    assert.ok(peer.client.receiveEnd());
    assert.deepEqual(peer.log, ["answer 101 upgrade|x|connection|upgrade", "body hello", "end"]);
  });
});
