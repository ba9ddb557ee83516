// Our proxy beside others: http2-proxy must make the same of generated requests, and node:http must see the same requests in a stream as we do.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import { seededRandom } from "@ambit/runtime";
import { referenceProxy } from "./reference.fixture.ts";
import { endpointAt, received, Rig } from "./rig.fixture.ts";

const CASES = Number(process.env["DIFFERENTIAL_CASES"] ?? 150);
const SEED = Number(process.env["DIFFERENTIAL_SEED"] ?? 3);

interface Asked { readonly method: string; readonly url: string; readonly fields: readonly (readonly [string, string])[]; readonly body: string }
interface Answer { readonly status: number; readonly fields: readonly (readonly [string, string])[]; readonly body: string; readonly trailers: readonly (readonly [string, string])[] }
interface Case { readonly method: string; readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string; readonly chunked: boolean; readonly answer: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string; readonly chunked: boolean; readonly trailers: Readonly<Record<string, string>> } }

/** What one of the two adds, says its own way, or may say at all. */
const OURS = new Set(["x-request-id", "x-forwarded-proto", "x-envoy-attempt-count", "x-envoy-upstream-service-time", "date", "server", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "via", "forwarded", "trailer"]);
const shown = (fields: Iterable<readonly [string, unknown]>): [string, string][] => [...fields].map(([k, v]): [string, string] => [k.toLowerCase(), String(v)]).filter(([k]) => !OURS.has(k) && !k.startsWith(":")).sort(([a], [b]) => (a < b ? -1 : 1));

function makeCase(random: () => number): Case {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const some = <T>(list: readonly T[]): T[] => list.filter(() => random() < 0.4);
  const method = pick(["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"]);
  const bodied = method === "POST" || method === "PUT" || method === "PATCH";
  const status = pick([200, 200, 201, 204, 304, 301, 404, 418, 500]);
  const text = (): string => "abc\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n".repeat(Math.floor(random() * 400));
  return {
    method, url: pick(["/", "/a/b?c=d&e=%2f", "/a%20b", "/%C3%A9", "/a;b=c", "/?x", "/*"]), body: bodied && random() < 0.8 ? text() : "", chunked: bodied && random() < 0.5,
    headers: Object.fromEntries(some([["x-a", "1"], ["X-B", "two words"], ["accept", "a, b;q=0.5"], ["cookie", "a=b; c=d"], ["x-empty", ""], ["authorization", "Bearer x"], ["user-agent", "test/1"], ["content-type", "application/json"], ["x-utf", "caf\u00e9"]] as const)),
    answer: {
      status, body: status === 204 || status === 304 || random() < 0.2 ? "" : text(), chunked: random() < 0.5,
      headers: Object.fromEntries(some([["content-type", "text/plain"], ["x-answer", "a, b"], ["location", "/elsewhere"], ["etag", '"x"'], ["cache-control", "no-store"]] as const)),
      trailers: random() < 0.3 ? { "x-trailer": "t" } : {},
    },
  };
}

const viaHttp1 = (port: number, c: Case): Promise<Answer> => new Promise((resolve, reject) => {
  const request = http.request({ host: "127.0.0.1", port, method: c.method, path: c.url, agent: false, headers: { host: "app.example", ...c.headers, ...(c.body === "" && !c.chunked ? {} : c.chunked ? { "transfer-encoding": "chunked" } : { "content-length": Buffer.byteLength(c.body) }) } }, (response) => {
    const all: Buffer[] = [];
    response.on("data", (b: Buffer) => all.push(b));
    response.on("end", () => resolve({ status: response.statusCode ?? 0, fields: shown(Object.entries(response.headers)), body: Buffer.concat(all).toString(), trailers: shown(Object.entries(response.trailers)) }));
  });
  request.on("error", reject);
  request.end(c.body);
});

const viaHttp2 = (port: number, c: Case): Promise<Answer> => new Promise((resolve, reject) => {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", reject);
  const stream = session.request({ ":method": c.method, ":path": c.url, ":authority": "app.example", ...Object.fromEntries(Object.entries(c.headers).map(([k, v]) => [k.toLowerCase(), v])) }, { endStream: c.body === "" });
  const all: Buffer[] = [];
  let head: http2.IncomingHttpHeaders = {};
  let trailers: http2.IncomingHttpHeaders = {};
  stream.on("response", (h) => { head = h; });
  stream.on("trailers", (t) => { trailers = t; });
  stream.on("data", (b: Buffer) => all.push(b));
  stream.on("error", reject);
  stream.on("close", () => { session.close(); resolve({ status: Number(head[":status"]), fields: shown(Object.entries(head)), body: Buffer.concat(all).toString(), trailers: shown(Object.entries(trailers)) }); });
  if (c.body !== "") stream.end(c.body);
});

describe("our proxy and http2-proxy", () => {
  for (const [protocol, via] of [["http1", viaHttp1], ["http2", viaHttp2]] as const)
    it(`make the same of ${CASES} requests over ${protocol} (seed ${SEED})`, async () => {
      let current: Case | undefined;
      let asked: Asked | undefined;
      const app = http.createServer((request, response) => {
        const all: Buffer[] = [];
        request.on("data", (b: Buffer) => all.push(b));
        request.on("end", () => {
          const fields = shown(Array.from({ length: request.rawHeaders.length / 2 }, (_, i) => [request.rawHeaders[2 * i] ?? "", request.rawHeaders[2 * i + 1] ?? ""] as const));
          asked = { method: request.method ?? "", url: request.url ?? "", fields, body: Buffer.concat(all).toString() };
          const { answer } = current ?? makeCase(() => 0);
          const bodiless = answer.status === 204 || answer.status === 304;
          const trailers = answer.chunked && !bodiless && request.method !== "HEAD" && Object.keys(answer.trailers).length > 0;
          response.writeHead(answer.status, { ...answer.headers, ...(bodiless ? {} : answer.chunked ? { "transfer-encoding": "chunked", ...(trailers ? { trailer: "x-trailer" } : {}) } : { "content-length": Buffer.byteLength(answer.body) }) });
          response.write(answer.body);
          if (trailers) response.addTrailers(answer.trailers);
          response.end();
        });
      });
      app.listen(0, "127.0.0.1");
      await once(app, "listening");
      const appPort = (app.address() as net.AddressInfo).port;
      const reference = referenceProxy(protocol, () => appPort);
      reference.listen(0, "127.0.0.1");
      await once(reference, "listening");
      const rig = await new Rig({ protocol, endpoint: () => endpointAt(appPort) }).start();
      const random = seededRandom(SEED);
      try {
        for (let i = 0; i < CASES; i++) {
          const c = (current = makeCase(random));
          const through = async (port: number): Promise<{ asked: Asked | undefined; answer: Answer }> => { asked = undefined; const answer = await via(port, c); return { asked, answer }; };
          const theirs = await through((reference.address() as net.AddressInfo).port);
          assert.deepEqual(await through(rig.port), theirs, JSON.stringify({ i, c }).slice(0, 600));
        }
      } finally {
        await rig.end();
        app.closeAllConnections();
        await Promise.all([app, reference].map((s) => new Promise((resolve) => s.close(resolve))));
      }
    }).timeout(60_000);
});

describe("our proxy and node:http see the same requests in a stream", () => {
  const STEPS = ["GET /%N HTTP/1.1\r\nHost: a\r\n\r\n", "POST /%N HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST /%N HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
    "PUT /%N HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\nGET /inside HTTP/1.1\r\nHost: a\r\n\r\nx\r\n\r\n", "HEAD /%N HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE /%N HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"];
  const SPOILS = ["\r", "\n", "\r\n", " ", "\t", "\0", ":", "0", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "chunked", "HTTP/1.0", "\x0b", "é", ",", ";", "\r\n\r\n", "GET /inside HTTP/1.1\r\nHost: a\r\n\r\n"];

  it(`whatever is spoilt in it, over ${CASES} streams (seed ${SEED})`, async () => {
    const random = seededRandom(SEED);
    let seen: string[] = [];
    const app = http.createServer((request, response) => {
      let octets = 0;
      request.on("data", (b: Buffer) => { octets += b.length; });
      request.on("end", () => { seen.push(`${request.method} ${request.url} ${octets}`); response.end("ok"); });
    });
    app.listen(0, "127.0.0.1");
    await once(app, "listening");
    const rig = await new Rig({ endpoint: () => endpointAt((app.address() as net.AddressInfo).port) }).start();
    let reached = 0;
    try {
      for (let i = 0; i < CASES; i++) {
        let text = Array.from({ length: 1 + Math.floor(random() * 4) }, (_, n) => (STEPS[Math.floor(random() * STEPS.length)] ?? "").replace("%N", String(n))).join("");
        for (let spoilt = Math.floor(random() * 3); spoilt > 0; spoilt--) {
          const at = Math.floor(random() * text.length);
          const by = SPOILS[Math.floor(random() * SPOILS.length)] ?? "";
          text = random() < 0.5 ? text.slice(0, at) + by + text.slice(at) : text.slice(0, at) + by + text.slice(at + by.length);
        }
        seen = [];
        rig.records.length = 0;
        const socket = rig.socket();
        const cut = Math.floor(random() * text.length);
        socket.write(text.slice(0, cut), "latin1");
        socket.end(text.slice(cut), "latin1");
        await received(socket).catch(() => "");
        await rig.until((r) => r.sessions.size === 0);
        // What we judged and sent on whole is what the server took for requests: no more, no fewer, none longer.
        const judged = rig.records.filter((r) => r.attempts > 0 && r.requestEndMs !== undefined && r.status === 200).map((r) => `${r.facts.method} ${r.facts.target} ${r.bytesReceived}`);
        assert.deepEqual(seen.filter((s) => !judged.includes(s)), [], JSON.stringify(text));
        assert.deepEqual(judged.filter((s) => !seen.includes(s)), [], JSON.stringify(text));
        assert.ok(seen.length <= judged.length, JSON.stringify(text));
        reached += seen.length;
      }
      assert.ok(reached > CASES / 2, `only ${reached} requests reached the server: nothing was compared`);
    } finally {
      await rig.end();
      app.closeAllConnections();
      await new Promise((resolve) => app.close(resolve));
    }
  }).timeout(60_000);
});
