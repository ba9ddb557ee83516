// Attacks on HTTP that proxies have fallen to, under the numbers of docs/parity-waypoint.md: what they would reach is a server of node:http, which reads for itself.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import { HpackEncoder } from "@ambit/http";
import { ManualClock } from "@ambit/proxy/testing";
import { heldOctets } from "@ambit/testkit";
import { HEAD_MS, IDLE_MS } from "./h1-downstream.ts";
import { endpointAt, met, received, Rig, type RigOptions } from "./rig.fixture.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/** What an attacker would have the server believe to be a request of its own. */
const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const H = "Host: a\r\n";
const post = (fields: string, body: string): string => `POST / HTTP/1.1\r\n${H}${fields}\r\n${body}`;

const MIB = 1 << 20;

// ---- HTTP/2 by hand -----------------------------------------------------------------------------------------------------------------------------

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE, CONTINUATION] = [0, 1, 3, 4, 7, 8, 9];
function frame(type: number, flags: number, id: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}
const u32 = (n: number): Buffer => { const b = Buffer.alloc(4); b.writeUInt32BE(n >>> 0); return b; };

/** A client whose frames are the test's. */
class RawClient {
  readonly socket: net.Socket;
  readonly hpack = new HpackEncoder();
  #text = Buffer.alloc(0);
  ended = false;

  constructor(socket: net.Socket, settings: Uint8Array = new Uint8Array(0)) {
    this.socket = socket;
    socket.on("data", (b: Buffer) => { this.#text = Buffer.concat([this.#text, b]); });
    socket.on("close", () => { this.ended = true; });
    socket.on("end", () => { this.ended = true; });
    socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, settings)]));
  }

  headers(id: number, fields: readonly string[], flags = 5): Buffer {
    return frame(HEADERS, flags, id, Uint8Array.from(this.hpack.encode(fields)));
  }

  /** Type, stream and, of RST_STREAM and GOAWAY, the code. */
  get frames(): { type: number; id: number; code: number }[] {
    const out = [];
    for (let at = 0; at + 9 <= this.#text.length;) {
      const length = this.#text.readUIntBE(at, 3);
      if (at + 9 + length > this.#text.length) break;
      const type = this.#text[at + 3] ?? 0;
      const payload = this.#text.subarray(at + 9, at + 9 + length);
      out.push({ type, id: this.#text.readUInt32BE(at + 5), code: type === RST_STREAM ? payload.readUInt32BE(0) : type === GOAWAY ? payload.readUInt32BE(4) : -1 });
      at += 9 + length;
    }
    return out;
  }
}
const REQUEST = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"];
const ENHANCE_YOUR_CALM = 0xb;

describe("attacks on HTTP", () => {
  let rig: Rig;
  let upstream = 0;
  let seen: { method: string; url: string; octets: number; fields: readonly string[] }[] = [];
  const make = async (o: RigOptions = {}, on?: (socket: net.Socket) => void): Promise<Rig> => {
    seen = [];
    rig = await new Rig({ endpoint: () => endpointAt(upstream), ...o }).start();
    const server = http.createServer((req, res) => {
      const request = { method: req.method ?? "", url: req.url ?? "", octets: 0, fields: req.rawHeaders };
      req.on("data", (b: Buffer) => { request.octets += b.length; });
      req.on("end", () => { seen.push(request); res.end("ok"); });
    });
    upstream = await rig.listen((socket) => { if (on === undefined) server.emit("connection", socket); else on(socket); socket.resume(); });
    return rig;
  };
  afterEach(() => rig.end());
  /** Sends, and what comes back until the end or until nothing more will. */
  const tell = async (text: string): Promise<string> => {
    const socket = rig.socket();
    socket.write(text, "latin1");
    return received(socket);
  };
  const works = async (): Promise<void> => assert.match(await tell(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")), /^HTTP\/1.1 200 /);

  it("S6 a method in small letters is refused, never taken for its capitals", async () => {
    await make();
    for (const method of ["get", "Get", "gET"]) assert.match(await tell(GET.replace("GET", method)), /^HTTP\/1.1 400 /);
    assert.deepEqual(seen, []);
  });

  it("S7 what only proxies of the mesh may say does not get through from a client", async () => {
    await make();
    const forged = ["x-forwarded-client-cert: By=spiffe://a;URI=spiffe://admin", "x-envoy-original-path: /admin", "x-envoy-attempt-count: 9", "x-envoy-expected-rq-timeout-ms: 1", "x-envoy-internal: true", "x-envoy-decorator-operation: a", "x-envoy-peer-metadata: x"];
    await tell(`GET / HTTP/1.1\r\n${H}Connection: close\r\n${forged.join("\r\n")}\r\n\r\n`);
    const fields = (seen[0]?.fields ?? []).map((f) => f.toLowerCase());
    assert.deepEqual(["x-forwarded-client-cert", "x-envoy-original-path", "x-envoy-internal", "x-envoy-decorator-operation", "x-envoy-peer-metadata"].filter((name) => fields.includes(name)), []);
    assert.ok(!fields.includes("9"), "the count of attempts is ours");
  });

  const refused: readonly (readonly [string, string])[] = [
    ["CL.TE", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${SMUGGLED}`)],
    ["TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", `5c\r\n${SMUGGLED}\r\n0\r\n\r\n`)],
    ...["Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Transfer-Encoding:\tchunked, identity", "Transfer-Encoding: identity", "Transfer-Encoding: \x0bchunked",
      "X: y\nTransfer-Encoding: chunked", "Transfer-Encoding\r\n : chunked", " Transfer-Encoding: chunked", "Transfer-Encoding: chunked;x=y", "transfer_encoding: chunked\r\nTransfer-Encoding: \"chunked\""].map((te): [string, string] => [`TE.TE ${JSON.stringify(te)}`, post(`Content-Length: 4\r\n${te}\r\n`, `1\r\nZ\r\nQ${SMUGGLED}`)]),
    ...["Content-Length : 5", "Content-Length: +5", "Content-Length: 0x5", "Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1", "Content-Length: 5 5", "Content-Length: 99999999999999999999", "Content-Length:"].map((cl): [string, string] => [`length ${JSON.stringify(cl)}`, post(`${cl}\r\n`, `hello${SMUGGLED}`)]),
    ["bare LF", `GET / HTTP/1.1\n${H.replace("\r", "")}\n${SMUGGLED}`], ["bare CR", `GET / HTTP/1.1\r${H}\r\n${SMUGGLED}`],
    ["obs-fold", `GET / HTTP/1.1\r\n${H}X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    ["NUL in a value", `GET / HTTP/1.1\r\n${H}X: a\0b\r\n\r\n${SMUGGLED}`], ["NUL in a name", `GET / HTTP/1.1\r\n${H}X\0: a\r\n\r\n${SMUGGLED}`],
    ["two hosts", `GET / HTTP/1.1\r\n${H}Host: b\r\n\r\n${SMUGGLED}`], ["no host", `GET / HTTP/1.1\r\n\r\n${SMUGGLED}`],
    ["a version of one's own", `GET / HTTP/1.1 HTTP/1.1\r\n${H}\r\n${SMUGGLED}`], ["chunks in HTTP/1.0", `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    ...["5;a\nb", "0x5", " 5", "5 ", "+5", "5\n", "FFFFFFFFFFFFFFFFF", "5;a=\"\r\n", ""].map((size): [string, string] => [`chunk size ${JSON.stringify(size)}`, post("Transfer-Encoding: chunked\r\n", `${size}\r\nhello\r\n0\r\n\r\n${SMUGGLED}`)]),
    ["a chunk longer than it says", post("Transfer-Encoding: chunked\r\n", `1\r\nhello\r\n0\r\n\r\n${SMUGGLED}`)],
    ["framing in trailers", post("Transfer-Encoding: chunked\r\n", `0\r\nContent-Length: 5\r\n\r\nhello${SMUGGLED}`)],
    ["octets behind CONNECT", `CONNECT a:80 HTTP/1.1\r\n${H}\r\n${SMUGGLED}`],
  ];
  for (const [name, text] of refused) it(`S12 ${name}: nothing of it becomes a request of its own`, async () => {
    await make();
    const answer = await tell(text);
    // Framing in trailers only ends the connection after a request that was whole.
    assert.match(answer, /^HTTP\/1.1 (4\d\d|501) |connection: close/i, answer);
    assert.deepEqual(seen.map((r) => r.url).filter((url) => url === "/smuggled"), []);
  });

  it("S12 a request inside a body stays a body, whoever the method is", async () => {
    await make();
    for (const method of ["GET", "HEAD", "DELETE", "OPTIONS", "POST"]) {
      seen = [];
      const answer = await tell(`${method} / HTTP/1.1\r\n${H}Connection: close\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`);
      assert.match(answer, /^HTTP\/1.1 200 /);
      assert.deepEqual(seen.map((r) => [r.method, r.url, r.octets]), [[method, "/", SMUGGLED.length]]);
    }
  });

  it("S12 octets sent before an upgrade is accepted are not forwarded before it is, and never as requests", async () => {
    await make();
    const answer = await tell(`GET / HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n${SMUGGLED}`);
    assert.match(answer, /^HTTP\/1.1 200 [\s\S]*connection: close/);
    assert.deepEqual(seen.map((r) => r.url), ["/"]);
  });

  const downgrades: readonly (readonly [string, readonly string[]])[] = [
    ["CRLF in a value", [...REQUEST, "x", `a\r\n\r\n${SMUGGLED}`]], ["LF in a value", [...REQUEST, "x", "a\nb: c"]], ["CRLF in a name", [...REQUEST, "x\r\ny", "z"]], ["a colon in a name", [...REQUEST, "transfer-encoding: chunked\r\nx", "z"]],
    ["transfer-encoding", [...REQUEST.with(1, "POST"), "transfer-encoding", "chunked"]], ["connection", [...REQUEST, "connection", "x"]], ["two lengths", [...REQUEST.with(1, "POST"), "content-length", "0", "content-length", "5"]],
    ["a pseudo-field after others", [":method", "GET", "x", "y", ":scheme", "http", ":path", "/", ":authority", "a"]], [":path with a blank", REQUEST.with(5, `/ HTTP/1.1\r\nHost: a\r\n\r\n${SMUGGLED}`)], [":path with a line break", REQUEST.with(5, "/\r\nx: y")],
    [":method with a blank", REQUEST.with(1, `GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET`)], [":authority with a line break", REQUEST.with(7, "a\r\nx: y")], [":authority with a path", REQUEST.with(7, "a/smuggled")], ["an authority beside a host", [...REQUEST, "host", "b"]],
  ];
  it("S13 what would break HTTP/1.1 is reset stream by stream, never serialised, and the connection serves on", async () => {
    await make({ protocol: "http2" });
    const client = new RawClient(rig.socket());
    for (const [i, [, fields]] of downgrades.entries()) client.socket.write(client.headers(2 * i + 1, fields));
    const good = 2 * downgrades.length + 1;
    client.socket.write(client.headers(good, REQUEST));
    await met(() => client.frames.some((f) => f.type === DATA && f.id === good));
    assert.deepEqual(downgrades.filter((_, i) => !client.frames.some((f) => f.type === RST_STREAM && f.id === 2 * i + 1) && !client.frames.some((f) => f.type === HEADERS && f.id === 2 * i + 1)).map(([name]) => name), []);
    assert.deepEqual(seen.map((r) => [r.url, r.fields.filter((_, i) => i % 2 === 0 && r.fields[i] === "x")]), [["/", []]]);
  });

  it("S14 rapid reset: 100,000 requests taken back at once end their connection, reach nobody, and nobody else waits", async () => {
    await make({ protocol: "http2" });
    const other = new RawClient(rig.socket());
    const before = heldOctets();
    const client = new RawClient(rig.socket());
    for (let i = 0; i < 100_000 && !client.ended; i++) {
      client.socket.write(Buffer.concat([client.headers(2 * i + 1, REQUEST), frame(RST_STREAM, 0, 2 * i + 1, u32(8))]));
      if (i % 500 !== 0) continue;
      other.socket.write(other.headers(i / 250 + 1, REQUEST));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await met(() => client.frames.some((f) => f.type === GOAWAY && f.code === ENHANCE_YOUR_CALM));
    client.socket.destroy();
    await met(() => other.frames.filter((f) => f.type === DATA).length > 0 && rig.records.every((r) => r.flags.length > 0 || r.status === 200));
    assert.ok(rig.records.length < 5_000, `${rig.records.length} requests were looked at`);
    assert.ok(heldOctets() - before < 20 * MIB, `${Math.round((heldOctets() - before) / MIB)} MiB held`);
    assert.equal(other.frames.some((f) => f.type === GOAWAY || f.type === RST_STREAM), false);
  }).timeout(20_000);

  for (const [name, pieces] of [["without octets", new Uint8Array(0)], ["with octets", new Uint8Array(64)]] as const)
    it(`S15 CONTINUATION without end, ${name}: closed at the bound, nothing is kept`, async () => {
      await make({ protocol: "http2" });
      const before = heldOctets();
      const client = new RawClient(rig.socket());
      client.socket.write(client.headers(1, REQUEST, 1));
      for (let i = 0; i < 20_000 && !client.ended; i++) {
        client.socket.write(frame(CONTINUATION, 0, 1, pieces));
        if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await met(() => client.frames.some((f) => f.type === GOAWAY && f.code === ENHANCE_YOUR_CALM));
      assert.equal(rig.records.length, 0);
      assert.ok(heldOctets() - before < 8 * MIB);
    }).timeout(20_000);

  it("S16 a small block that would decode to a large head is refused by its decoded size, cookies included", async () => {
    await make({ protocol: "http2" });
    const client = new RawClient(rig.socket());
    const before = heldOctets();
    // One entry of 3,000 octets, named 5,000 times in one octet each.
    client.socket.write(frame(HEADERS, 5, 1, Buffer.concat([Uint8Array.from(client.hpack.encode(REQUEST)), Buffer.from([0x40, 1, 0x61, 0x7f, 0xb9, 0x16]), Buffer.alloc(3_000, "x"), Buffer.alloc(5_000, 0xbe)])));
    client.socket.write(client.headers(3, [...REQUEST, ...Array.from({ length: 5_000 }, () => ["cookie", "a=b"]).flat()]));
    await met(() => [1, 3].every((id) => client.ended || client.frames.some((f) => f.id === id && (f.type === RST_STREAM || f.type === HEADERS)) || client.frames.some((f) => f.type === GOAWAY)));
    assert.deepEqual(seen, []);
    assert.ok(rig.records.every((r) => r.status === 431), "refused");
    assert.ok(heldOctets() - before < 8 * MIB);
  });

  it("S18 connections that overflow their window are freed", async () => {
    await make({ protocol: "http2" });
    await Promise.all(Array.from({ length: 100 }, async () => { const c = new RawClient(rig.socket()); c.socket.write(frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff))); await once(c.socket, "end"); c.socket.destroy(); }));
    const before = heldOctets();
    for (let round = 0; round < 20; round++)
      await Promise.all(Array.from({ length: 100 }, async () => { const c = new RawClient(rig.socket()); c.socket.write(frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff))); await once(c.socket, "end"); c.socket.destroy(); }));
    await rig.until((r) => r.sessions.size === 0);
    assert.ok(heldOctets() - before < 6 * MIB, `${Math.round((heldOctets() - before) / 1024)} KiB after 2,000 of them`);
  }).timeout(20_000);

  it("S23 an HTTP/2 server that allows no streams, or goes away at once, costs its own request only", async () => {
    let nth = 0;
    await make({ endpoint: () => endpointAt(upstream, { protocol: "http2", pool: { ...endpointAt(1).pool, connectTimeoutMs: 200 } }) },
      (socket) => { socket.resume(); const none = Buffer.concat([Buffer.from([0, 3]), u32(0)]); socket.write(nth++ === 0 ? frame(SETTINGS, 0, 0, none) : Buffer.concat([frame(SETTINGS, 0, 0), frame(GOAWAY, 0, 0, Buffer.concat([u32(0), u32(0)]))])); });
    for (let i = 0; i < 2; i++) assert.match(await tell(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")), /^HTTP\/1.1 503 /);
  });

  it("S23 trailers without measure break the answer off", async () => {
    await make({}, (socket) => void socket.once("data", () => socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${"a: b\r\n".repeat(20_000)}\r\n`)));
    const socket = rig.socket();
    socket.write(GET);
    // The break may come as a reset: what matters is that no end of the body does.
    let answer = "";
    socket.on("data", (b: Buffer) => { answer += b.toString(); });
    await once(socket, "close").catch(() => undefined);
    assert.doesNotMatch(answer, /\r\n0\r\n/);
    assert.deepEqual(rig.records[0]?.flags, ["UPE"]);
  });

  it("S24 a head that comes too slowly, or hardly begins, and a connection that says nothing, are ended in time", async () => {
    const clock = new ManualClock();
    await make({ clock });
    const [slow, beginning, silent] = [rig.socket(), rig.socket(), rig.socket()];
    let answers = "";
    for (const socket of [slow, beginning]) socket.on("data", (b: Buffer) => { answers += b.toString(); });
    const begun = `GET / HTTP/1.1\r\n${H}X: `;
    slow.write(begun);
    beginning.write("G");
    silent.resume();
    await met(() => rig.sessions.size === 3 && clock.pending === 3 && rig.octetsRead === begun.length + 1);
    await clock.advance(5 * HEAD_MS);
    await met(() => answers.match(/HTTP\/1.1 408 /g)?.length === 2);
    assert.deepEqual(rig.records.map((r) => [r.status, r.flags]), [[408, ["SI"]], [408, ["SI"]]]);
    await clock.advance(HEAD_MS);
    await met(() => rig.sessions.size === 1);
    await clock.advance(IDLE_MS);
    await met(() => rig.sessions.size === 0);
    assert.equal(clock.pending, 0);
  });

  it("S24 heads that never end hold no more than their bound", async () => {
    await make();
    const before = heldOctets();
    const clients = Array.from({ length: 300 }, () => rig.socket());
    const head = `GET / HTTP/1.1\r\n${H}X: ${"x".repeat(55_000)}`;
    for (const c of clients) c.write(head);
    await met(() => rig.octetsRead === clients.length * head.length);
    const each = (heldOctets() - before) / clients.length;
    assert.ok(each < 160 << 10, `${Math.round(each / 1024)} KiB for each of 55 KiB`);
    assert.equal(rig.opened, 0);
  });

  for (const [protocol, ask] of [["http1", (socket: net.Socket) => { socket.write(GET); socket.pause(); }], ["http2", (socket: net.Socket) => { const c = new RawClient(socket, Buffer.concat([Buffer.from([0, 4]), u32(0)])); c.socket.write(c.headers(1, REQUEST)); }]] as const)
    it(`S24 clients that do not read (${protocol}) stop the server that answers, and hold no more than their windows`, async () => {
      const CLIENTS = 40;
      const sent: number[] = [];
      await make({ protocol }, (socket) => void socket.once("data", () => {
        const nth = sent.push(0) - 1;
        const piece = Buffer.alloc(64 << 10, "x");
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        const more = (): void => { while (!socket.destroyed && socket.write(piece)) sent[nth] = (sent[nth] ?? 0) + piece.length; };
        socket.on("drain", more);
        more();
      }));
      const before = heldOctets();
      for (let i = 0; i < CLIENTS; i++) ask(rig.socket());
      await met(() => sent.length === CLIENTS);
      // Still means that nothing moves any more.
      for (let last = -1, now = 0, calm = 0; calm < 5; last = now) { await new Promise((resolve) => setTimeout(resolve, 50)); now = sent.reduce((a, b) => a + b, 0); calm = now === last ? calm + 1 : 0; }
      const each = (heldOctets() - before) / CLIENTS;
      assert.ok(each < 2 * MIB, `${Math.round(each / 1024)} KiB for each`);
      assert.ok(Math.max(...sent) < 50 * MIB, `a server could send ${Math.round(Math.max(...sent) / MIB)} MiB to a client that reads nothing`);
    }).timeout(20_000);

  it("S25 a PROXY header from a client is no header of anybody's", async () => {
    await make();
    assert.match(await tell(`PROXY TCP4 10.0.0.1 10.0.0.2 1 80\r\n${GET}`), /^HTTP\/1.1 400 /);
    assert.match(await tell(`\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x50${GET}`), /^HTTP\/1.1 400 /);
    assert.deepEqual(seen, []);
    await works();
  });
});
