import assert from "node:assert/strict";
import { ServerLog, bytes, output } from "./log.fixture.ts";

const H = "Host: a\r\n";
const get = (more = "", start = "GET / HTTP/1.1"): string => `${start}\r\n${H}${more}\r\n`;

describe("H1Server reads requests", () => {
  const cases: [string, string, string[]][] = [
    ["a plain one", get("Accept:  */* \r\nX-Own: 1\r\n"), ["GET a / 1.1 accept|*/*|x-own|1", "end"]],
    ["two of a name stay two", get("a: 1\r\nA: 2\r\n"), ["GET a / 1.1 a|1|a|2", "end"]],
    ["an empty value, and latin-1", get("a:\r\nb:\t\xe9 x\t\r\n"), ["GET a / 1.1 a||b|\xe9 x", "end"]],
    ["a body by length", `${get("Content-Length: 5\r\n", "POST /x?y HTTP/1.1")}hello`, ["POST a /x?y 1.1 content-length|5", "body hello", "end"]],
    ["a chunked body with an extension and trailers", `${get("transfer-encoding: Chunked\r\n", "POST / HTTP/1.1")}3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n`,
      ["POST a / 1.1 transfer-encoding|Chunked", "trailers x-t|1", "body abc0123456789", "end"]],
    ["an absolute target wins over Host", get("", "GET http://b:81?q HTTP/1.1"), ["GET b:81 /?q 1.1 ", "end"]],
    ["OPTIONS *", get("", "OPTIONS * HTTP/1.1"), ["OPTIONS a * 1.1 ", "end"]],
    ["an absolute OPTIONS", get("", "OPTIONS http://b HTTP/1.1"), ["OPTIONS b * 1.1 ", "end"]],
    ["CONNECT", get("", "CONNECT b:443 HTTP/1.1"), ["CONNECT b:443 b:443 1.1 "]],
    ["HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", ["GET  / 1.0  close", "end"]],
    ["HTTP/1.0 that asks to be kept", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", ["GET  / 1.0 connection|Keep-Alive", "end"]],
    ["Connection: close", get("Connection: x, Close\r\n"), ["GET a / 1.1 connection|x, Close close", "end"]],
    ["an upgrade", get("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"), ["GET a / 1.1 connection|keep-alive, Upgrade|upgrade|WebSocket upgrade=websocket", "end"]],
    ["Upgrade that Connection does not name is none", get("Upgrade: h2c\r\n"), ["GET a / 1.1 upgrade|h2c", "end"]],
    ["100-continue", `${get("Expect: 100-Continue\r\ncontent-length: 1\r\n", "PUT / HTTP/1.1")}x`, ["PUT a / 1.1 expect|100-Continue|content-length|1 expect", "body x", "end"]],
    ["an empty line before it", `\r\n${get()}`, ["GET a / 1.1 ", "end"]],
    ["pipelined ones in order", `${get("", "GET /1 HTTP/1.1")}${get("content-length: 1\r\n", "POST /2 HTTP/1.1")}x${get("", "GET /3 HTTP/1.1")}`,
      ["GET a /1 1.1 ", "end", "POST a /2 1.1 content-length|1", "body x", "end", "GET a /3 1.1 ", "end"]],
  ];
  for (const [name, text, expected] of cases)
    it(`${name}, whole and octet by octet`, () => {
      for (const size of [text.length, 1, 7]) assert.deepEqual(new ServerLog().feed(text, size).log, expected, `pieces of ${size}`);
    });
});

describe("H1Server refuses", () => {
  const post = (fields: string, body = ""): string => `POST / HTTP/1.1\r\n${H}${fields}\r\n${body}`;
  const chunked = (body: string): string => post("transfer-encoding: chunked\r\n", body);
  const many = (n: number): string => get(Array.from({ length: n }, (_, i) => `f${i}: x\r\n`).join(""));
  const cases: [string, string, number][] = [
    ["S12 CL.TE", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"), 400],
    ["S12 TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5c\r\n"), 400],
    ["S12 TE.TE", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), 400],
    ["S12 TE twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400],
    ["S12 a list that ends in chunked", post("Transfer-Encoding: x, chunked\r\n"), 400],
    ["S12 another coding", post("Transfer-Encoding: gzip\r\n"), 501],
    ["S12 xchunked", post("Transfer-Encoding: xchunked\r\n"), 501],
    ["S12 TE with a control character", post("Transfer-Encoding: \x0bchunked\r\n"), 400],
    ["S12 TE in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400],
    ["S12 two lengths that differ", post("Content-Length: 1\r\nContent-Length: 2\r\n", "xy"), 400],
    ["S12 two lengths alike", post("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), 400],
    ["S12 a list of lengths", post("Content-Length: 1, 1\r\n", "x"), 400],
    ["a signed length", post("Content-Length: +1\r\n"), 400],
    ["a hexadecimal length", post("Content-Length: 0x1\r\n"), 400],
    ["an empty length", post("Content-Length:\r\n"), 400],
    ["a length beyond counting", post(`Content-Length: ${"9".repeat(16)}\r\n`), 400],
    ["S12 a blank before the colon", post("Content-Length : 5\r\n"), 400],
    ["S12 a blank before the name", post(" Content-Length: 5\r\n"), 400],
    ["S12 line folding", get("a: b\r\n c\r\n"), 400],
    ["S12 line folding by a tab", get("a: b\r\n\tc\r\n"), 400],
    ["S12 bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400],
    ["S12 bare LF inside", `GET / HTTP/1.1\r\n${H}a: b\nc: d\r\n\r\n`, 400],
    ["a bare CR in a value", get("a: b\rc\r\n"), 400],
    ["a bare CR in the request line", `GET /\r HTTP/1.1\r\n${H}\r\n`, 400],
    ["NUL in a value", get("a: b\0\r\n"), 400],
    ["DEL in a value", get("a: b\x7f\r\n"), 400],
    ["a field without colon", get("abc\r\n"), 400],
    ["an empty name", get(": x\r\n"), 400],
    ["a name that is no token", get("a@b: x\r\n"), 400],
    ["a name with obs-text", get("\xe9: x\r\n"), 400],
    ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
    ["two Hosts", get("Host: b\r\n"), 400],
    ["Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400],
    ["Host with user information", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400],
    ["Host as a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400],
    ["S6 a method in lower case", get("", "get / HTTP/1.1"), 400],
    ["a method that is no token", get("", "G(T / HTTP/1.1"), 400],
    ["two blanks in the request line", get("", "GET  / HTTP/1.1"), 400],
    ["a tab in the request line", get("", "GET\t/ HTTP/1.1"), 400],
    ["a blank behind the version", get("", "GET / HTTP/1.1 "), 400],
    ["S2 a fragment", get("", "GET /#x HTTP/1.1"), 400],
    ["a target beyond ASCII", get("", "GET /\xe9 HTTP/1.1"), 400],
    ["a target that is no path", get("", "GET x HTTP/1.1"), 400],
    ["* of another method", get("", "GET * HTTP/1.1"), 400],
    ["an absolute target with another scheme", get("", "GET https://a/ HTTP/1.1"), 400],
    ["an absolute target with user information", get("", "GET http://u@a/ HTTP/1.1"), 400],
    ["CONNECT without a port", get("", "CONNECT a HTTP/1.1"), 400],
    ["a bare CR behind the version", "GET / HTTP/1.1\r\tHost: a\r\n\r\n", 400],
    ["HTTP/0.9", "GET /\r\n\r\n", 400],
    ["HTTP/2.0", get("", "GET / HTTP/2.0"), 505],
    ["HTTP/1.2", get("", "GET / HTTP/1.2"), 505],
    ["http/1.1", get("", "GET / http/1.1"), 400],
    ["another expectation", get("Expect: a-pony\r\n"), 417],
    ["Connection that names content-length", post("Connection: content-length\r\nContent-Length: 0\r\n"), 400],
    ["Connection that names host", get("Connection: Host\r\n"), 400],
    ["a chunk size that is no number", chunked("x\r\n"), 400],
    ["an empty chunk size", chunked("\r\n"), 400],
    ["a signed chunk size", chunked("-1\r\n"), 400],
    ["0x in a chunk size", chunked("0x1\r\na\r\n"), 400],
    ["a blank before a chunk size", chunked(" 1\r\na\r\n"), 400],
    ["a blank behind a chunk size", chunked("1 \r\na\r\n"), 400],
    ["a chunk size line ended by LF", chunked("1\na\r\n"), 400],
    ["LF inside a chunk extension", chunked("1;a\n\r\na\r\n"), 400],
    ["a chunk size beyond counting", chunked(`${"f".repeat(14)}\r\n`), 400],
    ["a chunk extension without end", chunked(`1;${"x".repeat(300)}\r\na\r\n`), 400],
    ["a chunk longer than its size", chunked("1\r\nab\r\n"), 400],
    ["a chunk ended by LF", chunked("1\r\na\n0\r\n\r\n"), 400],
    ["framing in trailers", chunked("0\r\nContent-Length: 3\r\n\r\n"), 400],
    ["Host in trailers", chunked("0\r\nHost: b\r\n\r\n"), 400],
    ["folding in trailers", chunked("0\r\na: b\r\n c\r\n\r\n"), 400],
    ["101 fields", many(100), 431],
    ["101 trailers", chunked(`0\r\n${Array.from({ length: 101 }, (_, i) => `f${i}: x\r\n`).join("")}\r\n`), 431],
    ["a head of more than 60 KiB", get(`a: ${"x".repeat(61_440)}\r\n`), 431],
    ["a request line of more than 60 KiB", get("", `GET /${"x".repeat(61_440)} HTTP/1.1`), 431],
    ["a head that never ends", `GET /${"x".repeat(70_000)}`, 431],
    ["empty lines without end", "\r\n".repeat(10), 400],
    ["TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 400],
  ];
  for (const [name, text, status] of cases)
    it(`${name} with ${status}, however it is cut`, () => {
      for (const size of [text.length, text.length > 5000 ? 1009 : 1, 3001]) {
        const { log, problem } = new ServerLog().feed(text, size);
        assert.match(log.at(-1) ?? "", new RegExp(`^failed ${status}`), `${JSON.stringify(log)} ${problem ?? ""}`);
        assert.ok(!log.some((line) => line === "end"));
      }
    });

  it("takes 100 fields and 60 KiB", () => {
    assert.equal(new ServerLog().feed(many(99)).log.at(-1), "end");
    const head = get(`a: ${"x".repeat(61_440 - get("a: \r\n").length)}\r\n`);
    assert.equal(head.length, 61_440);
    assert.equal(new ServerLog().feed(head, 1000).log.at(-1), "end");
  });

  it("reads nothing after a refusal", () => {
    const peer = new ServerLog().feed(`get / HTTP/1.1\r\n${H}\r\n${get()}`);
    assert.deepEqual(peer.log, ["failed 400"]);
    peer.server.respond(400, [], "none", true);
    peer.server.end([]);
    assert.equal(output(peer.server), "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert.ok(peer.server.closing || peer.server.idle);
  });
});

describe("H1Server answers", () => {
  const after = (request: string, answer: (log: ServerLog) => void): { text: string; peer: ServerLog } => {
    const peer = new ServerLog(answer).feed(request);
    return { text: output(peer.server), peer };
  };
  const reply = (status: number, fields: string[], body: "none" | "unknown" | number, data = "", trailers: string[] = []) => ({ server }: ServerLog): void => {
    server.respond(status, fields, body, false);
    if (data !== "") server.data(bytes(data));
    server.end(trailers);
  };
  const cases: [string, string, (log: ServerLog) => void, string][] = [
    ["by length", get(), reply(200, ["a", "b"], 2, "hi"), "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 2\r\n\r\nhi"],
    ["in chunks with trailers", get(), reply(200, [], "unknown", "hi", ["content-length", "9", "t", "1", "transfer-encoding", "x"]), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nt: 1\r\n\r\n"],
    ["HTTP/1.0 until the end", "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", reply(200, [], "unknown", "hi", ["t", "1"]), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi"],
    ["HTTP/1.0 kept alive", "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", reply(200, [], 2, "hi"), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nhi"],
    ["HEAD with the length of what is not sent", get("", "HEAD / HTTP/1.1"), reply(200, [], 77), "HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n"],
    ["204 without length", get(), reply(204, [], "none"), "HTTP/1.1 204 No Content\r\n\r\n"],
    ["304 with a length", get(), reply(304, [], 5), "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"],
    ["a status without a name", get(), reply(299, [], "none"), "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n"],
    ["S13 what breaks a line becomes ?", get(), reply(200, ["a", "x\r\nb: c\0\u{1F600}"], "none"), "HTTP/1.1 200 OK\r\na: x??b: c???\r\ncontent-length: 0\r\n\r\n"],
  ];
  for (const [name, request, answer, expected] of cases) it(name, () => assert.equal(after(request, answer).text, expected));

  it("1xx before the final one", () => {
    const { text } = after(get(), ({ server }) => { server.informational(103, ["link", "x"]); reply(200, [], "none")({ server } as ServerLog); });
    assert.equal(text, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  });

  it("closes when the answer ends before the request", () => {
    const peer = new ServerLog(undefined, { onRequest: () => { peer.server.respond(413, [], "none", false); peer.server.end([]); } });
    peer.feed(get("content-length: 5\r\n", "POST / HTTP/1.1")).feed("hello");
    assert.ok(peer.server.closing);
    assert.deepEqual(peer.log, []);
  });

  it("closes when it is told that a body will be more or less than announced", () => {
    const { peer } = after(get(), ({ server }) => { server.respond(200, [], 3, false); assert.throws(() => server.data(bytes("abcd"))); assert.equal(server.end([]), false); });
    assert.equal(peer.server.closing, false);
  });

  it("says that it closes while draining", () => {
    const peer = new ServerLog();
    peer.server.drain();
    peer.feed(get());
    assert.match(output(peer.server), /connection: close/);
    assert.ok(peer.server.closing);
  });

  it("holds pipelined requests until the answer before them is out", () => {
    const peer = new ServerLog(() => {}).feed(get("", "GET /1 HTTP/1.1") + get("", "GET /2 HTTP/1.1"));
    assert.equal(peer.log.length, 2);
    assert.ok(peer.server.holds);
    reply(200, [], "none")(peer);
    assert.deepEqual(peer.log.slice(2), ["GET a /2 1.1 ", "end"]);
  });

  it("keeps early octets of an upgrade until it is accepted", () => {
    const peer = new ServerLog(() => {}).feed(`${get("Connection: upgrade\r\nUpgrade: x\r\n")}early`);
    assert.equal(peer.body, "");
    peer.server.upgrade("x", ["a", "b"]);
    assert.equal(output(peer.server), "HTTP/1.1 101 Switching Protocols\r\na: b\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert.equal(peer.body, "early");
    peer.feed(" late");
    peer.server.data(bytes("raw"));
    assert.equal(output(peer.server), "raw");
    assert.equal(peer.body, "early late");
    assert.ok(peer.server.receiveEnd());
    assert.equal(peer.log.at(-1), "end");
  });

  it("S12 reads no request out of what follows an upgrade that was not accepted; a wish for h2c is passed over", () => {
    for (const [protocol, requests] of [["websocket", 1], ["h2c", 2]] as const) {
      const peer = new ServerLog(undefined, { onRequest: () => { peer.log.push("request"); peer.server.respond(200, [], "none", false); peer.server.end([]); } });
      peer.feed(get(`Connection: upgrade\r\nUpgrade: ${protocol}\r\n`) + get());
      assert.equal(peer.log.filter((l) => l === "request").length, requests, protocol);
      assert.equal(peer.server.closing, requests === 1);
    }
  });

  it("S12 reads no request out of what follows a CONNECT", () => {
    const peer = new ServerLog(undefined, { onRequest: () => { peer.log.push("request"); peer.server.respond(403, [], "none", true); peer.server.end([]); } });
    peer.feed(get("", "CONNECT a:1 HTTP/1.1") + get());
    assert.deepEqual(peer.log, ["request"]);
  });
});
