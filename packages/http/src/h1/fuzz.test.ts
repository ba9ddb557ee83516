// Seeded fuzz and differential tests: however octets are cut we see the same; what we take, node:http takes as the same messages; what we write, both read back.
import assert from "node:assert/strict";
import http from "node:http";
import { duplexPair } from "node:stream";
import { H1Client } from "./client.ts";
import { bytes, ClientLog, output, ServerLog } from "./log.fixture.ts";

type Random = () => number;

/** mulberry32. */
function seededRandom(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;

/** A request of node:http's is read, answered and over in a handful of turns of the loop. */
const TURNS_MAX = 100;

/** Bits that smuggling is made of. */
const PIECES = ["GET", "POST", "HEAD", " ", "/", "/a?b", "http://h/", "*", " HTTP/1.1", " HTTP/1.0", "\r\n", "\r\n\r\n", "\n", "\r", "Host: h", "host:h2", "Content-Length: 3", "content-length:0",
  "Content-Length: 3, 3", "Transfer-Encoding: chunked", "transfer-encoding:identity", "Transfer-Encoding:\tchunked", "Connection: close", "Connection: keep-alive", "Connection: upgrade",
  "Upgrade: websocket", "Expect: 100-continue", ": ", "X: y", " folded", "\t", "\0", "\x0b", "abc", "3", "0", "a;x=1", "5;", "Trailer: a", "%0d%0a", "\xff", "0\r\n\r\n", "3\r\nabc\r\n"];

/** A proper request, then some of its octets changed. */
function hostile(random: Random): string {
  const chunked = random() < 0.5;
  const body = chunked ? "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" : "abcde";
  const one = (): string => random() < 0.5 ? "GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"
    : `POST /b HTTP/1.1\r\nHost: h\r\n${chunked ? "Transfer-Encoding: chunked" : "Content-Length: 5"}\r\n\r\n${body}`;
  let text = one() + one();
  for (let changes = Math.floor(random() * 4); changes > 0; changes--) {
    const at = Math.floor(random() * text.length);
    const cut = Math.floor(random() * 4);
    text = text.slice(0, at) + (random() < 0.8 ? pick(random, PIECES) : "") + text.slice(at + cut);
  }
  return text;
}

interface Seen { readonly method: string; readonly url: string; readonly body: string }

/** What node:http makes of it: whole requests, in order. */
async function nodeReads(text: string): Promise<Seen[]> {
  const seen: Seen[] = [];
  const server = http.createServer({ insecureHTTPParser: false, requireHostHeader: false }, (request, response) => {
    const all: Buffer[] = [];
    request.on("data", (piece: Buffer) => all.push(piece));
    request.on("error", () => {});
    request.on("end", () => { seen.push({ method: request.method ?? "", url: request.url ?? "", body: Buffer.concat(all).toString("latin1") }); response.end(); });
  });
  server.on("checkContinue", (request: http.IncomingMessage, response: http.ServerResponse) => server.emit("request", request, response));
  server.on("clientError", (_error, socket) => socket.destroy());
  const [ours, theirs] = duplexPair();
  ours.on("error", () => {});
  theirs.on("error", () => {});
  ours.resume();
  server.emit("connection", theirs);
  ours.end(Buffer.from(text, "latin1"));
  // Nothing here waits for a timer or the network: what has not happened by then never does.
  for (let turn = 0; turn < TURNS_MAX && !theirs.destroyed; turn++) await new Promise(setImmediate);
  theirs.destroy();
  ours.destroy();
  return seen;
}

/** What we make of it: whole requests, in order, and where the last of them ends. */
function weRead(text: string): { readonly seen: Seen[]; readonly end: number } {
  let end = 0;
  const seen: Seen[] = [];
  let now = { method: "", url: "", body: "" };
  const peer = new ServerLog(() => { seen.push(now); peer.server.respond(200, [], "none", false); peer.server.end([]); }, {
    onRequest: (head) => { now = { method: head.method, url: head.target, body: "" }; },
    onData: (piece) => { now.body += Buffer.from(piece).toString("latin1"); },
  });
  for (let at = 0, count = 0; at < text.length; at++) {
    peer.feed(text.charAt(at));
    if (seen.length > count) end = at + 1;
    count = seen.length;
  }
  return { seen, end };
}

const absolute = (url: string): string => url.replace(/^http:\/\/[^/?]*(?=\?)/, "/").replace(/^http:\/\/[^/?]*/, "") || "/";

describe("HTTP/1.1 under fuzzing", () => {
  it("gives the same events however requests are cut", () => {
    const random = seededRandom(1);
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      const text = hostile(random);
      const whole = new ServerLog().feed(text).log;
      if (whole.at(-1)?.startsWith("failed") === true) refused++;
      for (const size of [1, 2 + Math.floor(random() * 20)]) assert.deepEqual(new ServerLog().feed(text, size).log, whole, JSON.stringify(text));
    }
    assert.ok(refused > 300 && refused < 2700, `${refused} refused: the generator is not what it was`);
  });

  it("gives the same events however answers are cut", () => {
    const random = seededRandom(2);
    for (let i = 0; i < 2000; i++) {
      let text = pick(random, ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: 1\r\n\r\n", "HTTP/1.0 404 No\r\n\r\nabc"]);
      for (let changes = Math.floor(random() * 3); changes > 0; changes--) {
        const at = Math.floor(random() * text.length);
        text = text.slice(0, at) + pick(random, PIECES) + text.slice(at + Math.floor(random() * 3));
      }
      const read = (size: number): unknown => { const peer = new ClientLog().ask().feed(text, size); const ended = peer.client.receiveEnd(); return [peer.log, ended]; };
      const [whole] = read(text.length) as [string[], boolean];
      // Octets behind an answer refuse the connection at once or with the next piece: the answer itself is the same.
      const answers = (log: string[]): string[] => log.slice(0, log.includes("end") ? log.indexOf("end") + 1 : log.length);
      for (const size of [1, 5]) assert.deepEqual(answers((read(size) as [string[], boolean])[0]), answers(whole), JSON.stringify(text));
    }
  });

  it("takes no request that node:http reads otherwise", async () => {
    const random = seededRandom(3);
    let taken = 0;
    for (let i = 0; i < 2000; i++) {
      const text = hostile(random);
      const { seen: ours, end } = weRead(text);
      // Methods are tokens to us; node:http knows a list.
      if (ours.length === 0 || !ours.every((r) => http.METHODS.includes(r.method))) continue;
      taken += ours.length;
      const theirs = (await nodeReads(text.slice(0, end))).map((s) => ({ ...s, url: absolute(s.url) }));
      assert.deepEqual(ours, theirs, JSON.stringify(text));
    }
    assert.ok(taken > 500, `only ${taken} requests were taken`);
  }).timeout(20_000);

  it("writes requests that we and node:http read as they were meant", async () => {
    const random = seededRandom(4);
    for (let i = 0; i < 150; i++) {
      const meant: Seen[] = [];
      let text = "";
      for (let n = 1 + Math.floor(random() * 3); n > 0; n--) {
        const body = random() < 0.5 ? "" : pick(random, ["x", "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n".repeat(20), "y".repeat(5000)]);
        const client = new H1Client({ onInformational() {}, onResponse() {}, onData() {}, onTrailers() {}, onEnd() {}, onFailed() {} });
        const url = pick(random, ["/", "/a?b=c"]);
        const length = random() < 0.5;
        client.request("POST", url, "h", ["x", pick(random, ["plain", "a\r\nContent-Length: 3", "a\r\n\r\nGET / HTTP/1.1\r\n", "é\u2028"])], body === "" ? "none" : length ? body.length : "unknown", undefined);
        for (let at = 0; at < body.length; at += 1000) client.data(bytes(body.slice(at, at + 1000)));
        assert.ok(client.end(length ? [] : ["t", "a\r\n\r\nb"]));
        text += output(client);
        meant.push({ method: "POST", url, body });
      }
      assert.deepEqual(weRead(text).seen, meant, JSON.stringify(text));
      assert.deepEqual(await nodeReads(text), meant, JSON.stringify(text));
    }
  }).timeout(20_000);
});
