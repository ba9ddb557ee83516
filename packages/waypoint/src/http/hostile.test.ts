// Clients and upstreams that break rules, cut, stall or flood: one record each, bounded memory, nobody else hurt.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import type net from "node:net";
import { nextTurn, seededRandom, systemClock } from "@ambit/runtime";
import { heldOctets } from "@ambit/testkit";
import { detectProtocol } from "./detect.ts";
import { endpointAt, forwardPlan, met, POOL, received, Rig, type RigOptions } from "./rig.fixture.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/** `pnpm connections` sets 10,000. */
const IDLE = Number(process.env["IDLE_CONNECTIONS"] ?? 2_000);
/** Opens so many connections to a port, each with one request answered, and keeps them until its input ends. */
const CLIENTS = `
  const net = require("node:net"), [port, count] = process.argv.slice(1).map(Number), sockets = [];
  let begun = 0, answered = 0;
  const next = () => {
    if (begun === count) return;
    begun++;
    const s = net.connect(port, "127.0.0.1", () => s.write(${JSON.stringify("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}));
    sockets.push(s);
    s.on("error", (e) => { console.error(e.message); process.exit(1); });
    s.once("data", () => { if (++answered === count) process.stdout.write(count + " answered"); next(); });
  };
  for (let i = 0; i < 100; i++) next();
  process.stdin.resume().on("end", () => { for (const s of sockets) s.destroy(); });`;

/** An upstream that is a raw socket: what it gets is kept, what it answers is the test's. */
async function raw(rig: Rig, on: (socket: net.Socket, nth: number) => void): Promise<number> {
  let nth = 0;
  return rig.listen((socket) => { socket.resume(); on(socket, nth++); });
}

const answering = (socket: net.Socket): void => void socket.on("data", () => socket.write(OK));

describe("serveHttp under hostile clients", () => {
  let rig: Rig;
  let upstream = 0;
  const make = async (o: RigOptions = {}, on: (socket: net.Socket, nth: number) => void = answering): Promise<Rig> => {
    rig = await new Rig({ endpoint: () => endpointAt(upstream), ...o }).start();
    upstream = await raw(rig, on);
    return rig;
  };
  afterEach(() => rig.end());

  const refused: [string, string, RegExp][] = [
    ["two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", /^HTTP\/1.1 400 /],
    ["length beside chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", /^HTTP\/1.1 400 /],
    ["a header bomb", `GET / HTTP/1.1\r\nHost: a\r\nx: ${"y".repeat(70_000)}\r\n\r\n`, /^HTTP\/1.1 431 /],
    ["a thousand fields", `GET / HTTP/1.1\r\nHost: a\r\n${"a: b\r\n".repeat(1000)}\r\n`, /^HTTP\/1.1 431 /],
    ["HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", /^HTTP\/1.1 426 /],
    ["CONNECT and what it hides", `CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n${GET}`, /^HTTP\/1.1 403 /],
    ["no HTTP at all", "\x16\x03\x01\0\x05hello\r\n\r\n", /^HTTP\/1.1 400 /],
  ];
  for (const [name, text, expected] of refused)
    it(`answers ${name} and closes, with a record`, async () => {
      await make();
      const socket = rig.socket();
      socket.write(text, "latin1");
      const answer = await received(socket);
      assert.match(answer, expected);
      assert.match(answer, /connection: close/);
      assert.equal(answer.match(/HTTP\/1.1/g)?.length, 1, answer);
      assert.equal(rig.records.length, 1);
      assert.equal(rig.opened, 0);
    });

  it("answers a broken chunk in the middle of a body, and the upstream never sees it whole", async () => {
    const seen: string[] = [];
    await make({}, (socket) => socket.on("data", (b: Buffer) => seen.push(b.toString())));
    const socket = rig.socket();
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    await met(() => !(!seen.join("").includes("abc")));
    socket.write("zz\r\n");
    assert.match(await received(socket), /^HTTP\/1.1 400 /);
    assert.ok(!seen.join("").includes("0\r\n\r\n"));
    assert.deepEqual([rig.records[0]?.status, rig.records[0]?.flags], [400, ["DPE"]]);
  });

  it("records a request whose client resets in the middle of the body", async () => {
    await make({}, () => {});
    const socket = rig.socket();
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    await met(() => !(rig.opened === 0));
    socket.resetAndDestroy();
    await rig.until((r) => r.records.length === 1 && r.served.length === 1);
    assert.deepEqual([rig.records[0]?.flags, rig.records[0]?.bytesReceived], [["DC"], 3]);
  });

  it("survives rapid reset: the connection ends, the next one works", async () => {
    await make();
    const session = http2.connect(`http://127.0.0.1:${rig.port}`);
    session.on("error", () => {});
    const gone = new Promise((resolve) => { session.on("goaway", resolve); session.on("close", resolve); });
    for (let i = 0; i < 3000 && !session.destroyed && !session.closed; i++) {
      const stream = session.request({ ":path": "/" });
      stream.on("error", () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await gone;
    session.destroy();
    await rig.until((r) => r.sessions.size === 0);
    assert.equal(rig.upstreams.active(endpointAt(upstream).key), 0);
    const socket = rig.socket();
    socket.write(GET);
    assert.match(await received(socket, /ok$/), /200 OK/);
  }).timeout(10_000);

  it("gives every request one record, whatever happens when", async () => {
    const random = seededRandom(7);
    const planned = new Set<string>();
    await make({ plan: (facts) => { planned.add(facts.target); return forwardPlan(facts, { retry: { retries: 1, on: ["5xx"], statuses: [], backoffMs: 1, backoffMaxMs: 2 }, timeouts: { requestMs: 80, attemptMs: undefined, deadline: false } }); }, retryable: () => random() < 0.3 },
      (socket) => socket.on("data", () => {
        const what = random();
        if (what < 0.4) socket.write(OK);
        else if (what < 0.5) socket.destroy();
        else if (what < 0.6) socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        else if (what < 0.7) socket.write("rubbish\r\n\r\n");
        else if (what < 0.8) socket.end(OK);
        else if (what < 0.9) socket.write(`${OK}${OK}`);
      }));
    const clients = Array.from({ length: 150 }, (_, i) => {
      const socket = rig.socket();
      socket.resume();
      const over = Promise.race([once(socket, "close").catch(() => {}), once(socket, "end").then(() => socket.end(), () => {})]);
      const body = random() < 0.5 ? "" : "x".repeat(Math.floor(random() * 3000));
      const sent = body.slice(0, random() < 0.7 ? body.length : 10);
      socket.write(`${body === "" ? "GET" : "PUT"} /${i} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${body === "" ? "" : `Content-Length: ${body.length}\r\n`}\r\n${sent}`);
      const leaves = random() < 0.2;
      if (leaves) setTimeout(() => socket.destroy(), random() * 20);
      return { socket, over, target: `/${i}`, leaves, whole: sent.length === body.length };
    });
    await Promise.all(clients.filter((c) => c.whole || c.leaves).map((c) => c.over));
    // Half a request has no time limit: it is over when its client has enough of it.
    const stayed = clients.filter((c) => !c.leaves);
    await met(() => stayed.every((c) => planned.has(c.target)));
    for (const { socket } of clients) socket.destroy();
    await rig.until((r) => r.sessions.size === 0);
    const recorded = rig.records.map((r) => r.facts.target).sort();
    assert.deepEqual(recorded, [...planned].sort());
    assert.ok(stayed.length > 100);
    assert.equal(new Set(rig.records.map((r) => r.requestId)).size, recorded.length);
    assert.equal(rig.upstreams.active(endpointAt(upstream).key), 0);
    assert.equal(rig.upstreams.shared.kept.now, 0);
  }).timeout(10_000);

  it(`holds ${IDLE} idle connections in little memory`, async () => {
    await make();
    const before = { held: heldOctets(), rss: process.memoryUsage.rss() };
    // Their other ends are another process's: neither its memory nor its descriptors count.
    const clients = spawn(process.execPath, ["-e", CLIENTS, String(rig.port), String(IDLE)], { stdio: ["pipe", "pipe", "inherit"] });
    try {
      const [said] = await once(clients.stdout, "data") as [Buffer];
      assert.equal(said.toString(), `${IDLE} answered`);
      const each = (heldOctets() - before.held) / IDLE;
      const resident = (process.memoryUsage.rss() - before.rss) / IDLE;
      assert.ok(each < 12_000, `${Math.round(each)} octets for each connection, ${Math.round(resident)} resident`);
      assert.deepEqual([rig.records.length, rig.sessions.size], [IDLE, IDLE]);
    } finally {
      clients.stdin.end();
      await once(clients, "close");
    }
  }).timeout(60_000);

  it("gives a server-first connection back as TCP", async () => {
    await make({ protocol: "detect", detectMs: 30 });
    const silent = rig.socket();
    await rig.until((r) => r.served.length === 1);
    const [served] = rig.served;
    assert.equal(served?.kind, "tcp");
    if (served?.kind === "tcp") {
      const heard: string[] = [];
      served.stream.attach({ onData: (b) => { heard.push(Buffer.from(b).toString()); served.stream.write(b); }, onEnd: () => served.stream.end(), onDrain() {}, onClose() {} });
      silent.write("hello");
      assert.equal(await received(silent, /hello/), "hello");
      assert.deepEqual(heard, ["hello"]);
      assert.equal(served.tls, false);
      silent.end();
    }
  });

  it("takes nobody for silent whose words have come while it was busy itself", async () => {
    await make({ protocol: "detect", detectMs: 20 });
    const socket = rig.socket();
    await met(() => rig.sessions.size === 1);
    // Timers come right behind what is busy here, before the loop looks at its sockets again.
    await nextTurn();
    socket.write(GET);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60);
    assert.match(await Promise.race([received(socket, /ok$/), rig.until((r) => r.served.length === 1).then(() => rig.served[0]?.kind ?? "")]), /200 OK/);
  });

  it("ends no quiet connection of a process that drains whose next request has come while it was busy itself", async () => {
    const due: (() => void)[] = [];
    await make({ clock: { ...systemClock, after: (ms, task) => { due.push(task); return systemClock.after(60_000 + ms, task); } } });
    const socket = rig.socket();
    socket.write(GET);
    assert.match((await once(socket, "data")).join(), /200 OK/);
    due.length = 0;
    for (const session of rig.sessions) session.drain();
    assert.equal(due.length, 1);
    // When timers are due, and before the loop looks at its sockets.
    await systemClock.sleep(1);
    socket.write(GET);
    due[0]?.();
    assert.match(await received(socket), /200 OK[^]*connection: close[^]*ok$/i);
  });

  it("gives one that begins with TLS back as such, and HTTP not", async () => {
    await make({ protocol: "detect", detectMs: 60_000 });
    const early = rig.socket();
    early.write("\x16\x03\x01hello");
    await rig.until((r) => r.served.length === 1);
    const [again] = rig.served;
    assert.equal(again?.kind, "tcp");
    if (again?.kind === "tcp") {
      assert.equal(again.tls, true);
      const first = new Promise<string>((resolve) => again.stream.attach({ onData: (b) => resolve(Buffer.from(b).toString("latin1")), onEnd() {}, onDrain() {}, onClose() {} }));
      assert.equal(await first, "\x16\x03\x01hello");
      again.stream.destroy();
    }
    const spoken = rig.socket();
    for (const c of GET) { spoken.write(c); await new Promise((resolve) => setImmediate(resolve)); }
    assert.match(await received(spoken, /ok$/), /200 OK/);
  });
});

describe("serveHttp over hostile upstreams", () => {
  let rig: Rig;
  let upstream = 0;
  const make = async (on: (socket: net.Socket, nth: number) => void, o: RigOptions = {}): Promise<Rig> => {
    rig = await new Rig({ endpoint: () => endpointAt(upstream), ...o }).start();
    upstream = await raw(rig, on);
    return rig;
  };
  const get = async (more = "", method = "GET"): Promise<string> => { const socket = rig.socket(); socket.write(`${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`); return received(socket); };
  afterEach(() => rig.end());

  const broken: [string, string, RegExp, string][] = [
    ["rubbish", "rubbish\r\n\r\n", /^HTTP\/1.1 502 /, "UPE"],
    ["length beside chunks", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", /^HTTP\/1.1 502 /, "UPE"],
    ["a header bomb", `HTTP/1.1 200 OK\r\na: ${"x".repeat(70_000)}\r\n\r\n`, /^HTTP\/1.1 502 /, "UPE"],
    ["101 that nobody asked for", "HTTP/1.1 101 x\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n", /^HTTP\/1.1 502 /, "UPE"],
    ["a flood of 1xx", "HTTP/1.1 102 x\r\n\r\n".repeat(100), /HTTP\/1.1 502 /, "UPE"],
  ];
  for (const [name, text, expected, flag] of broken)
    it(`S23 answers 502 for ${name}`, async () => {
      await make((socket) => socket.once("data", () => socket.write(text)));
      assert.match(await get(), expected);
      assert.deepEqual(rig.records[0]?.flags, [flag]);
    });

  it("never gives a client what an upstream says behind its answer", async () => {
    await make((socket, nth) => socket.on("data", () => socket.write(nth === 0 ? `${OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged` : OK)));
    assert.match(await get(), /ok$/);
    assert.match(await get(), /ok$/);
    assert.equal(rig.opened, 2);
  });

  it("asks again, once, when a kept connection was closed under an idempotent request", async () => {
    let requests = 0;
    await make((socket, nth) => socket.on("data", () => { requests++; if (nth === 0 && requests > 1) socket.destroy(); else socket.write(OK); }));
    assert.match(await get(), /200 OK/);
    assert.match(await get(), /200 OK/);
    assert.deepEqual([rig.opened, requests, rig.records[1]?.attempts, rig.records[1]?.flags], [2, 3, 1, []]);
    await rig.until((r) => r.outcomes.length === 2);
  });

  it("does not ask again for a POST that may have been read", async () => {
    let requests = 0;
    await make((socket) => socket.on("data", () => { requests++; if (requests > 1) socket.destroy(); else socket.write(OK); }));
    assert.match(await get("", "GET"), /200 OK/);
    assert.match(await get("Content-Length: 0\r\n", "POST"), /503 /);
    assert.deepEqual([requests, rig.records[1]?.flags], [2, ["UC"]]);
  });

  it("notices a kept connection that its server closed, before it is used", async () => {
    await make((socket) => socket.on("data", () => socket.end(OK)));
    assert.match(await get(), /200 OK/);
    await rig.until(() => true);
    assert.match(await get("Content-Length: 0\r\n", "POST"), /200 OK/);
    assert.equal(rig.opened, 2);
  });

  it("lets requests wait for a connection where there may be no more, and refuses those beyond", async () => {
    const sockets: net.Socket[] = [];
    await make((socket) => socket.on("data", () => sockets.push(socket)), { endpoint: () => endpointAt(upstream, { pool: { ...POOL, maxConnections: 1, maxPendingRequests: 1 } }) });
    const one = get();
    await met(() => !(sockets.length === 0));
    const two = get();
    await met(() => !(rig.upstreams.active(endpointAt(upstream).key) < 2));
    assert.match(await get(), /503 [\s\S]*overflow/);
    sockets[0]?.write(OK);
    assert.match(await one, /200 OK/);
    await met(() => !(sockets.length === 1));
    sockets[1]?.write(OK);
    assert.match(await two, /200 OK/);
    assert.equal(rig.opened, 1);
  });

  it("gives up connecting in time", async () => {
    await make(() => {}, { endpoint: () => endpointAt(upstream, { pool: { ...POOL, connectTimeoutMs: 40 } }), open: (_e, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))) });
    assert.match(await get(), /503 [\s\S]*connection timeout/);
    assert.deepEqual(rig.records[0]?.flags, ["UF"]);
  });

  it("does not wait for ever for an HTTP/2 upstream that says nothing", async () => {
    await make(() => {}, { endpoint: () => endpointAt(upstream, { protocol: "http2", pool: { ...POOL, connectTimeoutMs: 40 } }) });
    assert.match(await get(), /503 /);
    assert.deepEqual(rig.records[0]?.flags, ["UF"]);
  });

  it("uses a connection as often as it is allowed", async () => {
    await make(answering, { endpoint: () => endpointAt(upstream, { pool: { ...POOL, maxRequestsPerConnection: 2 } }) });
    for (let i = 0; i < 4; i++) assert.match(await get(), /200 OK/);
    assert.equal(rig.opened, 2);
  });

  it("ends an answer that came before its request did, and closes", async () => {
    await make((socket) => socket.once("data", () => socket.write("HTTP/1.1 413 x\r\ncontent-length: 0\r\n\r\n")));
    const socket = rig.socket();
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    const answer = await received(socket);
    assert.match(answer, /^HTTP\/1.1 413 /);
    assert.equal(rig.records[0]?.status, 413);
  });
});

describe("detectProtocol", () => {
  const cases: [string, string][] = [
    ["GET / HTTP/1.1\r\n", "http1"], ["M-SEARCH * HTTP/1.1\r\n", "http1"], ["CONNECT a:1 HTTP/1.1\r\n", "http1"], ["GET http://a/ HTTP/1.0\n", "http1"], ["POST /x HTTP/9.9\r\n", "http1"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"], ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxyz", "http2"], ["PRI * HTTP/2.0\r\n\r\nXX", "other"],
    ["", "more"], ["P", "more"], ["PRI * HT", "more"], ["GET", "more"], ["GET ", "more"], ["GET /x HTT", "more"],
    ["\x16\x03\x01", "other"], ["SSH-2.0-x\r\n", "other"], ["*1\r\n$4\r\n", "other"], ["get key\r\n", "other"], ["EHLO there\r\n", "other"], ["PING\r\n", "other"], ["USER anonymous\r\n", "other"],
    ["CONNECT {\"verbose\":true}\r\n", "other"], ["GET key\r\n", "other"], [`${"A".repeat(40)} `, "other"],
  ];
  for (const [text, expected] of cases) it(`${JSON.stringify(text)} → ${expected}`, () => assert.equal(detectProtocol(Buffer.from(text, "latin1")), expected));
});
