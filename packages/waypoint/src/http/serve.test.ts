// End to end over loopback: clients and servers are node:http, node:http2 and raw sockets.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import type { UpstreamEndpoint } from "./options.ts";
import { address, endpointAt, forwardPlan, met, POOL, Rig, type RigOptions } from "./rig.fixture.ts";

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** An application: what it got, and a way to answer. */
class App {
  readonly seen: { method: string; url: string; headers: http.IncomingHttpHeaders; body: Buffer; trailers: NodeJS.Dict<string> }[] = [];
  port = 0;
  handler: (request: http.IncomingMessage | http2.Http2ServerRequest, response: http.ServerResponse, body: Buffer) => void = (_q, response, body) => { response.end(body); };
  readonly #server: http.Server | http2.Http2Server;
  readonly #sessions = new Set<http2.ServerHttp2Session>();

  constructor(protocol: "http1" | "http2") {
    const on = (request: http.IncomingMessage | http2.Http2ServerRequest, response: unknown): void => {
      const all: Buffer[] = [];
      request.on("data", (piece: Buffer) => all.push(piece));
      request.on("error", () => {});
      request.on("end", () => {
        const body = Buffer.concat(all);
        this.seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, body, trailers: request.trailers as NodeJS.Dict<string> });
        this.handler(request, response as http.ServerResponse, body);
      });
    };
    if (protocol === "http1") this.#server = http.createServer(on);
    else {
      this.#server = http2.createServer({ settings: { enableConnectProtocol: true }, maxSessionMemory: 1000 }, on);
      this.#server.on("session", (s: http2.ServerHttp2Session) => { this.#sessions.add(s); s.on("error", () => {}); });
    }
  }

  get server(): http.Server | http2.Http2Server { return this.#server; }

  async start(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as net.AddressInfo).port;
    return this;
  }

  async end(): Promise<void> {
    for (const s of this.#sessions) s.destroy();
    if (this.#server instanceof http.Server) this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

interface Answer { status: number; headers: http.IncomingHttpHeaders; body: Buffer; trailers: NodeJS.Dict<string>; informational: number[] }

function ask(port: number, o: http.RequestOptions & { body?: Buffer; chunked?: boolean; trailers?: http.OutgoingHttpHeaders } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const informational: number[] = [];
    const request = http.request({ host: "127.0.0.1", port, path: "/", ...o, headers: { ...(o.body !== undefined && o.chunked !== true ? { "content-length": o.body.length } : {}), ...(o.headers as object | undefined) } }, (response) => {
      const all: Buffer[] = [];
      response.on("data", (piece: Buffer) => all.push(piece));
      response.on("error", reject);
      response.on("aborted", () => reject(new Error("aborted")));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(all), trailers: response.trailers, informational }));
    });
    request.on("information", (info) => informational.push(info.statusCode));
    request.on("error", reject);
    if (o.trailers !== undefined) { request.flushHeaders(); request.addTrailers(o.trailers); }
    request.end(o.body);
  });
}

async function ask2(session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders, body?: Buffer, trailers?: http2.OutgoingHttpHeaders): Promise<Answer> {
  const stream = session.request(headers, { endStream: body === undefined, waitForTrailers: trailers !== undefined });
  const answer: Answer = { status: 0, headers: {}, body: Buffer.alloc(0), trailers: {}, informational: [] };
  stream.on("headers", (h) => answer.informational.push(Number(h[":status"])));
  stream.on("response", (h) => { answer.status = Number(h[":status"]); answer.headers = h as http.IncomingHttpHeaders; });
  stream.on("trailers", (h) => { answer.trailers = h as NodeJS.Dict<string>; });
  if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  if (body !== undefined) stream.end(body);
  const all: Buffer[] = [];
  stream.on("data", (piece: Buffer) => all.push(piece));
  stream.resume();
  await once(stream, "close");
  answer.body = Buffer.concat(all);
  return answer;
}

for (const up of ["http1", "http2"] as const)
  describe(`serveHttp, ${up} upstream`, () => {
    let app: App;
    let rig: Rig;
    const cleanup: (() => void | Promise<void>)[] = [];
    const make = async (o: RigOptions = {}): Promise<Rig> => {
      app = await new App(up).start();
      rig = await new Rig({ endpoint: () => endpointAt(app.port, { protocol: up }), serverName: "istio-envoy", ...o }).start();
      return rig;
    };
    const client2 = (): http2.ClientHttp2Session => {
      const session = http2.connect(`http://127.0.0.1:${rig.port}`);
      session.on("error", () => {});
      cleanup.push(() => session.destroy());
      return session;
    };
    afterEach(async () => {
      for (const task of cleanup.splice(0)) await task();
      await rig.end();
      await app.end();
    });

    it("passes an HTTP/1.1 request and its answer, with what is ours to add", async () => {
      await make();
      app.handler = (_q, response) => { response.setHeader("x-own", "1"); response.statusCode = 201; response.end("hello"); };
      const answer = await ask(rig.port, { method: "POST", path: "/a?b=c", headers: { host: "web:80", "x-in": "2", connection: "keep-alive, x-hop", "x-hop": "3", te: "gzip, trailers" }, body: Buffer.from("body") });
      assert.equal(answer.status, 201);
      assert.equal(answer.body.toString(), "hello");
      assert.equal(answer.headers["x-own"], "1");
      assert.equal(answer.headers["server"], "istio-envoy");
      assert.match(answer.headers["x-envoy-upstream-service-time"] as string, /^\d+$/);
      const [seen] = app.seen;
      assert.ok(seen);
      assert.deepEqual([seen.method, seen.url, seen.body.toString(), seen.headers["x-in"], seen.headers["x-hop"], seen.headers["te"]], ["POST", "/a?b=c", "body", "2", undefined, "trailers"]);
      assert.equal(seen.headers[up === "http1" ? "host" : ":authority"], "web:80");
      assert.equal(seen.headers["x-forwarded-proto"], "http");
      assert.equal(seen.headers["x-envoy-attempt-count"], "1");
      assert.match(seen.headers["x-request-id"] as string, /^[0-9a-f-]{36}$/);
      const [record] = rig.records;
      assert.ok(record);
      assert.deepEqual([record.status, record.bytesReceived, record.bytesSent, record.attempts, record.details, record.flags], [201, 4, 5, 1, "via_upstream", []]);
    });

    it("passes an HTTP/2 request and its answer", async () => {
      await make();
      const answer = await ask2(client2(), { ":method": "POST", ":path": "/x", ":authority": "web", cookie: ["a=1", "b=2"] }, Buffer.from("body"));
      assert.deepEqual([answer.status, answer.body.toString(), app.seen[0]?.headers["cookie"]], [200, "body", "a=1; b=2"]);
      assert.equal(rig.records[0]?.facts.protocol, "HTTP/2");
    });

    it("keeps connections and answers pipelined requests in order", async () => {
      await make();
      app.handler = (request, response) => { setTimeout(() => response.end(request.url), request.url === "/0" ? 30 : 0); };
      const socket = rig.socket();
      for (let i = 0; i < 5; i++) socket.write(`GET /${i} HTTP/1.1\r\nHost: a\r\n${i === 4 ? "Connection: close\r\n" : ""}\r\n`);
      let text = "";
      socket.on("data", (piece: Buffer) => { text += piece.toString(); });
      await once(socket, "end");
      assert.deepEqual([...text.matchAll(/\r\n(?:[0-9a-f]+\r\n)?(\/\d)/g)].map((m) => m[1]), ["/0", "/1", "/2", "/3", "/4"]);
      assert.equal(rig.opened, 1);
    });

    it("carries large bodies both ways, whole", async () => {
      await make();
      const body = randomBytes(6 << 20);
      const [one, two] = await Promise.all([ask(rig.port, { method: "PUT", body }), ask2(client2(), { ":method": "PUT", ":path": "/" }, body)]);
      assert.equal(sha(one.body), sha(body));
      assert.equal(sha(two.body), sha(body));
    }).timeout(10_000);

    it("carries chunked bodies and trailers both ways", async () => {
      await make();
      app.handler = (_q, response, body) => { response.setHeader("trailer", "x-sum"); response.write(body); response.addTrailers({ "x-sum": "42" }); response.end(); };
      const one = await ask(rig.port, { method: "POST", chunked: true, headers: { "transfer-encoding": "chunked", trailer: "x-up" }, trailers: { "x-up": "7" }, body: Buffer.from("abc") });
      assert.deepEqual([one.body.toString(), one.trailers["x-sum"], app.seen[0]?.trailers["x-up"]], ["abc", "42", "7"]);
      const two = await ask2(client2(), { ":method": "POST", ":path": "/" }, Buffer.from("abc"), { "x-up": "8" });
      assert.deepEqual([two.body.toString(), two.trailers["x-sum"], app.seen[1]?.trailers["x-up"]], ["abc", "42", "8"]);
    });

    it("serves undici, as fetch uses it: streamed both ways", async () => {
      await make();
      app.handler = (request, response, body) => { response.setHeader("x-got", request.headers["x-in"] ?? ""); for (const octet of body) response.write(Buffer.of(octet)); response.end(); };
      const parts = ["one ", "two ", "three"];
      const stream = new ReadableStream({ pull(controller) { const part = parts.shift(); if (part === undefined) controller.close(); else controller.enqueue(Buffer.from(part)); } });
      const answer = await fetch(`http://127.0.0.1:${rig.port}/x`, { method: "POST", headers: { "x-in": "a, b" }, body: stream, duplex: "half" } as RequestInit);
      assert.deepEqual([answer.status, answer.headers.get("x-got"), await answer.text()], [200, "a, b", "one two three"]);
    });

    it("passes HEAD, 204 and 304 without bodies and goes on", async () => {
      await make();
      app.handler = (request, response) => {
        if (request.method === "HEAD") { response.setHeader("content-length", "77"); response.end(); } else { response.statusCode = Number(request.url?.slice(1)); response.end(); }
      };
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      cleanup.push(() => agent.destroy());
      const head = await ask(rig.port, { method: "HEAD", agent });
      assert.deepEqual([head.status, head.headers["content-length"], head.body.length], [200, "77", 0]);
      for (const status of [204, 304, 200]) assert.equal((await ask(rig.port, { path: `/${status}`, agent })).status, status);
      assert.equal(rig.opened, 1);
    });

    it("passes 103, and answers 100-continue itself after the plan", async () => {
      await make();
      app.handler = (_q, response, body) => { if (up === "http1") response.writeEarlyHints({ link: "</x>; rel=preload" }); else (response as unknown as http2.Http2ServerResponse).stream.additionalHeaders({ ":status": 103, link: "</x>" }); response.end(body); };
      const answer = await ask(rig.port, { method: "PUT", headers: { expect: "100-continue" }, body: Buffer.from("abc") });
      assert.deepEqual([answer.informational, answer.body.toString(), app.seen[0]?.headers["expect"]], [[100, 103], "abc", undefined]);
      const two = await ask2(client2(), { ":method": "GET", ":path": "/" });
      assert.deepEqual(two.informational, [103]);
    });

    it("holds back an upstream whose client does not read", async () => {
      await make();
      const written = { octets: 0, full: false };
      app.handler = (_q, response) => {
        const piece = Buffer.alloc(64 << 10);
        const more = (): void => { while (!response.destroyed && written.octets < 200 << 20) { written.octets += piece.length; if (!response.write(piece)) { response.once("drain", more); return; } } };
        more();
      };
      const socket = rig.socket();
      socket.pause();
      socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      const stream = client2().request({ ":path": "/" });
      stream.pause();
      let before = -1;
      while (before !== written.octets) { before = written.octets; await new Promise((resolve) => setTimeout(resolve, 150)); }
      assert.ok(written.octets < 40 << 20, `${written.octets} octets were taken for clients that read nothing`);
      stream.destroy();
    }).timeout(10_000);

    it("tells the client when an answer breaks off", async () => {
      await make();
      app.handler = (request, response) => { response.write("half"); setTimeout(() => (request.socket as net.Socket).destroy(), 20); };
      await assert.rejects(ask(rig.port));
      await rig.until((r) => r.records.length === 1);
      assert.match(rig.records[0]?.flags.join() ?? "", up === "http1" ? /^UC$/ : /^(UC|UR)$/);
      const result = await ask2(client2(), { ":path": "/" }).then((a) => a.body.toString(), () => "error");
      assert.ok(result === "error" || result === "half");
      await rig.until((r) => r.records.length === 2);
      assert.match(rig.records[1]?.flags.join() ?? "", up === "http1" ? /^UC$/ : /^(UC|UR)$/);
    });

    it("gives an attempt up when its client goes away", async () => {
      await make();
      const closed = new Promise((resolve) => { app.handler = (request) => { request.on("close", resolve); if (up === "http1") (request.socket as net.Socket).on("close", resolve); }; });
      const socket = rig.socket();
      socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      await met(() => !(app.seen.length === 0));
      socket.destroy();
      await closed;
      await rig.until((r) => r.records.length === 1);
      assert.deepEqual([rig.records[0]?.flags, rig.records[0]?.status, rig.outcomes[0]?.result.kind], [["DC"], 0, "abandoned"]);
      assert.equal(rig.upstreams.active(endpointAt(app.port, { protocol: up }).key), 0);
    });

    it("answers 503 UF when there is no connection", async () => {
      await make({ open: () => Promise.reject(new Error("nobody home")) });
      const answer = await ask(rig.port);
      assert.equal(answer.status, 503);
      assert.match(answer.body.toString(), /remote connection failure.*nobody home/);
      assert.deepEqual([rig.records[0]?.flags, rig.outcomes[0]?.result.kind], [["UF"], "connect"]);
      const grpc = await ask2(client2(), { ":method": "POST", ":path": "/a.B/C", "content-type": "application/grpc", te: "trailers" }, Buffer.alloc(5));
      assert.deepEqual([grpc.status, grpc.headers["grpc-status"], grpc.body.length], [200, "14", 0]);
      assert.match(grpc.headers["grpc-message"] as string, /connection failure/);
      assert.equal(rig.records[1]?.grpcStatus, 14);
    });

    it("retries what the policy says, with the body, and says how often", async () => {
      let tries = 0;
      await make({ plan: (facts) => forwardPlan(facts, { retry: { retries: 2, on: ["5xx"], statuses: [], backoffMs: 1, backoffMaxMs: 2 } }),
        retryable: (_p, outcome) => outcome.result.kind === "answered" && outcome.result.status === 503 });
      app.handler = (_q, response, body) => { response.statusCode = ++tries < 3 ? 503 : 200; response.end(body); };
      const answer = await ask(rig.port, { method: "POST", body: Buffer.from("again") });
      assert.deepEqual([answer.status, answer.body.toString(), tries], [200, "again", 3]);
      assert.deepEqual(app.seen.map((s) => [s.headers["x-envoy-attempt-count"], s.body.toString()]), [["1", "again"], ["2", "again"], ["3", "again"]]);
      assert.equal(rig.records[0]?.attempts, 3);
      await rig.until((r) => r.outcomes.length === 3);
      tries = -10;
      const exhausted = await ask(rig.port, { method: "POST", body: Buffer.from("x") });
      assert.equal(exhausted.status, 503);
      assert.deepEqual([rig.records[1]?.attempts, rig.records[1]?.flags], [3, ["URX"]]);
    });

    for (const [name, limit] of [["a budget of retries", { retryBudget: { percent: 20, minConcurrency: 1 } }], ["a limit of retries", { pool: { ...POOL, maxRetries: 1 } }]] as const)
      it(`${name} that is spent: the answer goes out as it came, 503 where there was none, flagged UO`, async () => {
        let endpoint: Partial<UpstreamEndpoint> = limit;
        await make({ endpoint: () => endpointAt(app.port, { protocol: up, ...endpoint }), plan: (facts) => forwardPlan(facts, { retry: { retries: 3, on: ["5xx"], statuses: [], backoffMs: 400, backoffMaxMs: 400 } }), random: () => 0.999,
          retryable: (_p, outcome) => outcome.result.kind !== "answered" || outcome.result.status === 503 });
        let tries = 0;
        app.handler = (_q, response) => { response.statusCode = ++tries > 2 ? 200 : 503; response.end("first"); };
        // Its retry waits, and is all there may be.
        const waiting = ask(rig.port, { path: "/waiting" });
        await met(() => tries === 1 && rig.outcomes.length === 1);
        const spent = await ask(rig.port, { path: "/spent" });
        assert.deepEqual([spent.status, spent.body.toString(), tries], [503, "first", 2]);
        assert.deepEqual([rig.records[0]?.attempts, rig.records[0]?.flags], [1, ["UO"]]);
        assert.deepEqual([(await waiting).status, rig.records[1]?.attempts, rig.records[1]?.flags], [200, 2, []]);
        endpoint = { ...limit, retryBudget: { percent: 0, minConcurrency: 0 }, key: "nowhere", address: address(1) };
        assert.equal((await ask(rig.port, { path: "/nowhere" })).status, 503);
        assert.deepEqual(rig.records[2]?.flags, ["UO", "UF"]);
      });

    it("ends attempts and requests in time", async () => {
      await make({ plan: (facts) => forwardPlan(facts, { timeouts: { requestMs: facts.target === "/request" ? 60 : undefined, attemptMs: facts.target === "/request" ? undefined : 60, deadline: facts.grpc } }) });
      app.handler = () => {};
      for (const [path, details] of [["/request", "response_timeout"], ["/attempt", "upstream_per_try_timeout"]] as const) {
        const answer = await ask(rig.port, { path });
        assert.deepEqual([answer.status, answer.body.toString()], [504, "upstream request timeout"]);
        const record = rig.records.at(-1);
        assert.deepEqual([record?.flags, record?.details], [["UT"], details]);
        assert.ok((record?.durationMs ?? 0) >= 59 && (record?.durationMs ?? 0) < 2000);
      }
      assert.equal(app.seen[0]?.headers["x-envoy-expected-rq-timeout-ms"], "60");
      const grpc = await ask2(client2(), { ":method": "POST", ":path": "/request", "content-type": "application/grpc", "grpc-timeout": "1S" }, Buffer.alloc(0));
      assert.equal(grpc.headers["grpc-status"], "4");
    });

    it("mirrors, and nobody notices when that fails", async () => {
      const mirrorApp = await new App(up).start();
      cleanup.push(() => mirrorApp.end());
      const backend = { service: "shop/mirror", port: 80, subset: undefined };
      await make({
        plan: (facts) => forwardPlan(facts, { mirrors: [{ backend, head: { method: facts.method, authority: `${facts.authority}-shadow`, target: facts.target, fields: facts.fields } }] }),
        choose: (goal) => ({ kind: "endpoint", answer: [], endpoint: endpointAt(goal.kind === "service" && goal.backend === backend ? mirrorApp.port : app.port, { protocol: up }) }),
      });
      mirrorApp.handler = (_q, response) => { response.statusCode = 500; response.end("nobody reads this"); };
      const answer = await ask(rig.port, { method: "POST", headers: { host: "web" }, body: Buffer.from("twice") });
      assert.deepEqual([answer.status, answer.body.toString()], [200, "twice"]);
      await rig.until((r) => r.outcomes.length === 2);
      const [copy] = mirrorApp.seen;
      assert.deepEqual([copy?.body.toString(), copy?.headers[up === "http1" ? "host" : ":authority"]], ["twice", "web-shadow"]);
      assert.deepEqual(rig.records[0]?.mirrors, [backend]);
      assert.equal(rig.upstreams.shared.mirrors, 0);
    });

    it("counts gRPC messages and passes the status of the trailers", async () => {
      await make();
      const message = (text: string): Buffer => { const b = Buffer.alloc(5 + text.length); b.writeUInt32BE(text.length, 1); b.write(text, 5); return b; };
      app.handler = (_q, response) => { response.setHeader("content-type", "application/grpc"); response.write(Buffer.concat([message("a"), message("bc")])); response.addTrailers({ "grpc-status": "3" }); response.end(); };
      if (up === "http1") app.handler = (_q, response) => { response.setHeader("trailer", "grpc-status"); response.setHeader("content-type", "application/grpc"); response.write(Buffer.concat([message("a"), message("bc")])); response.addTrailers({ "grpc-status": "3" }); response.end(); };
      const answer = await ask2(client2(), { ":method": "POST", ":path": "/a.B/C", "content-type": "application/grpc" }, Buffer.concat([message("x"), message(""), message("y".repeat(300))]));
      assert.equal(answer.trailers["grpc-status"], "3");
      await rig.until((r) => r.records.length === 1);
      const [record] = rig.records;
      assert.deepEqual([record?.requestMessages, record?.responseMessages, record?.grpcStatus], [3, 2, 3]);
    });

    it("limits requests, and says so", async () => {
      await make();
      rig.options.choose = undefined as never;
      const limited = endpointAt(app.port, { protocol: up, pool: { ...endpointAt(1).pool, maxRequests: 1 } });
      Object.assign(rig.options, { choose: () => ({ kind: "endpoint", endpoint: limited, answer: [] }) });
      let finish: () => void = () => {};
      app.handler = (_q, response) => { finish = () => response.end("done"); };
      const first = ask(rig.port);
      await met(() => !(app.seen.length === 0));
      const second = await ask(rig.port);
      assert.deepEqual([second.status, second.headers["x-envoy-overloaded"], rig.records[0]?.flags], [503, "true", ["UO"]]);
      finish();
      assert.equal((await first).body.toString(), "done");
    });

    it("drains: what is under way ends well, then the connection", async () => {
      await make();
      let finish: () => void = () => {};
      app.handler = (_q, response) => { finish = () => response.end("done"); };
      const session = client2();
      const one = ask(rig.port, { headers: { connection: "keep-alive" } });
      const two = ask2(session, { ":path": "/" });
      const finishes: (() => void)[] = [];
      app.handler = (_q, response) => { finishes.push(() => response.end("done")); };
      await met(() => !(finishes.length < 2));
      for (const s of rig.sessions) s.drain();
      for (const f of finishes) f();
      finish();
      assert.equal((await one).headers["connection"], "close");
      assert.equal((await two).body.toString(), "done");
      await rig.until((r) => r.served.length === 2);
    });

    it("switches protocols for websockets, from either protocol", async () => {
      await make();
      const { server } = app;
      const echo = (socket: net.Socket | http2.ServerHttp2Stream): void => { socket.on("data", (b: Buffer) => socket.write(`echo ${b.toString()}`)); socket.on("end", () => socket.end()); socket.on("error", () => {}); };
      if (up === "http1") server.on("upgrade", (request: http.IncomingMessage, socket: net.Socket) => {
        const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
        socket.write(`HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
        echo(socket);
      });
      else server.on("connect", (request: http2.Http2ServerRequest) => { assert.equal(request.headers[":protocol"], "websocket"); request.stream.respond({ ":status": 200 }); echo(request.stream); });
      const socket = rig.socket();
      const key = "dGhlIHNhbXBsZSBub25jZQ==";
      socket.write(`GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\nearly`);
      let text = "";
      socket.on("data", (b: Buffer) => { text += b.toString(); });
      await met(() => !(!text.includes("echo early")));
      assert.match(text, /^HTTP\/1.1 101 /);
      assert.match(text, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
      socket.write("more");
      await met(() => !(!text.includes("echo more")));
      socket.end();
      await once(socket, "end");
      await rig.until((r) => r.records.length === 1);
      assert.deepEqual([rig.records[0]?.status, rig.records[0]?.upgraded, rig.records[0]?.bytesReceived, rig.records[0]?.facts.upgrade], [101, true, 9, "websocket"]);

      const session = client2();
      await once(session, "remoteSettings");
      const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":authority": "a", ":path": "/chat", "sec-websocket-version": "13" }, { endStream: false });
      const [headers] = await once(stream, "response") as [http2.IncomingHttpHeaders];
      assert.equal(headers[":status"], 200);
      stream.write("two");
      let answer = "";
      stream.on("data", (b: Buffer) => { answer += b.toString(); });
      await met(() => !(!answer.includes("echo two")));
      stream.end();
      await once(stream, "close");
      await rig.until((r) => r.records.length === 2);
      assert.deepEqual([rig.records[1]?.facts.method, rig.records[1]?.upgraded], ["GET", true]);
    });

    if (up === "http1") it("an application that answers 200 to an upgrade has not switched: over HTTP/2 that is no 2xx", async () => {
      await make();
      const session = client2();
      await once(session, "remoteSettings");
      const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":authority": "a", ":path": "/chat", "sec-websocket-version": "13" }, { endStream: false });
      const [headers] = await once(stream, "response") as [http2.IncomingHttpHeaders];
      assert.equal(headers[":status"], 502);
      stream.close();
      await rig.until((r) => r.records.length === 1);
      assert.deepEqual([rig.records[0]?.flags, rig.records[0]?.upgraded], [["UPE"], false]);
      const plain = await ask(rig.port, { headers: { connection: "upgrade", upgrade: "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13" } });
      assert.equal(plain.status, 200, "an HTTP/1.1 client sees that nothing switched");
    });
  });

describe("serveHttp, many streams to one HTTP/2 upstream", () => {
  it("lets no slow client stop another, and opens a second connection beyond a hundred", async () => {
    const app = await new App("http2").start();
    const rig = await new Rig({ endpoint: () => endpointAt(app.port, { protocol: "http2" }) }).start();
    const session = http2.connect(`http://127.0.0.1:${rig.port}`);
    session.on("error", () => {});
    try {
      app.handler = (request, response) => { if (request.url === "/large") response.end(Buffer.alloc(8 << 20)); else response.end("small"); };
      const slow = Array.from({ length: 20 }, () => { const socket = rig.socket(); socket.pause(); socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"); return socket; });
      await met(() => !(app.seen.length < slow.length));
      assert.equal((await ask2(session, { ":path": "/" })).body.toString(), "small");
      assert.equal(rig.opened, 1);
      const held: (() => void)[] = [];
      app.handler = (_q, response) => { held.push(() => response.end("late")); };
      const many = Array.from({ length: 120 }, () => ask(rig.port));
      await met(() => !(held.length < 120));
      assert.equal(rig.opened, 2);
      for (const finish of held) finish();
      for (const answer of await Promise.all(many)) assert.equal(answer.body.toString(), "late");
    } finally {
      session.destroy();
      await rig.end();
      await app.end();
    }
  }).timeout(10_000);
});
