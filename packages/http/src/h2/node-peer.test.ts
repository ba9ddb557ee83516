// Differential: our connection against node:http2 on loopback, as client and as server.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { H2Connection } from "./connection.ts";
import { ErrorCode } from "./error-code.ts";
import type { ConnectionEvents } from "./events.ts";
import { fieldValue } from "./message.ts";
import type { H2Stream } from "./stream.ts";
import type { Fields } from "../hpack/decoder.ts";

/** What a test keeps per stream: octets to send, octets received, and the end of it all. */
class Side {
  fields: Fields = [];
  status = 0;
  trailers: Fields | undefined;
  received = createHash("sha256");
  octets = 0;
  ended = false;
  resetCode: number | undefined;
  unsent: Uint8Array = new Uint8Array(0);
  done: () => void = () => {};
  readonly over = new Promise<void>((resolve) => (this.done = resolve));
}

/** Joins a connection and a socket, as a shell does: output once a turn. */
function attach(connection: H2Connection<Side>, socket: net.Socket): () => void {
  let scheduled = false;
  const flush = (): void => {
    scheduled = false;
    if (socket.destroyed) return;
    socket.cork();
    let room = true;
    for (const piece of connection.takeOutput()) room = socket.write(piece);
    socket.uncork();
    if (room) connection.resume();
    else connection.hold();
    if (connection.pendingOutput > 0 && room) touch();
  };
  const touch = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };
  socket.on("data", (bytes: Buffer) => { connection.receive(bytes, performance.now()); touch(); });
  socket.on("drain", () => { connection.resume(); touch(); });
  socket.on("close", () => connection.lost());
  socket.on("error", () => {});
  touch();
  return touch;
}

function pump(connection: H2Connection<Side>, stream: H2Stream<Side>): void {
  const side = stream.context as Side;
  const taken = connection.data(stream, side.unsent, true);
  side.unsent = side.unsent.subarray(taken);
}

function events(get: () => H2Connection<Side>, more: Partial<ConnectionEvents<Side>> = {}): ConnectionEvents<Side> {
  return {
    onResponse: (s, status, fields) => { (s.context as Side).status = status; (s.context as Side).fields = fields; },
    onTrailers: (s, fields) => { (s.context as Side).trailers = fields; },
    onData: (s, bytes) => { const side = s.context as Side; side.received.update(bytes); side.octets += bytes.length; get().consumed(s, bytes.length); },
    onEnd: (s) => { const side = s.context as Side; side.ended = true; side.done(); },
    onReset: (s, code) => { const side = s.context as Side | undefined; if (side === undefined) return; side.resetCode = code; side.done(); },
    onWritable: (s) => pump(get(), s),
    onFailed: (e) => { throw e; },
    ...more,
  };
}

const sha = (b: Uint8Array): string => createHash("sha256").update(b).digest("hex");

describe("H2Connection as client of node:http2", () => {
  let server: http2.Http2Server;
  const open = new Set<http2.Http2Session>();
  const listen = async (handler: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void, settings: http2.Settings = {}): Promise<number> => {
    server = http2.createServer({ settings });
    server.on("session", (s) => { open.add(s); s.on("error", () => {}); });
    server.on("stream", (s, h) => { s.on("error", () => {}); handler(s, h); });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as net.AddressInfo).port;
  };
  const dial = async (port: number) => {
    const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    await once(socket, "connect");
    const connection: H2Connection<Side> = new H2Connection<Side>({ role: "client" }, events(() => connection));
    const touch = attach(connection, socket);
    return { connection, socket, touch };
  };
  afterEach(async () => {
    for (const s of open) s.destroy();
    open.clear();
    await new Promise((resolve) => server.close(resolve));
  });

  it("echoes 8 MB through CONNECT with half-close and small peer windows", async () => {
    const port = await listen((s) => { s.respond({ ":status": 200 }); s.pipe(s); }, { initialWindowSize: 70_000 });
    const { connection, socket, touch } = await dial(port);
    const body = randomBytes(8 << 20);
    const side = new Side();
    side.unsent = body;
    const stream = connection.request([":method", "CONNECT", ":authority", "10.0.0.1:80", "baggage", "a=b"], false, side);
    assert.ok(stream !== undefined);
    pump(connection, stream);
    touch();
    await side.over;
    assert.equal(side.status, 200);
    assert.equal(side.received.digest("hex"), sha(body));
    assert.ok(stream.closed);
    assert.equal(connection.openStreams, 0);
    socket.destroy();
  });

  it("carries requests with bodies, informational responses and trailers", async () => {
    const port = await listen((s, h) => {
      s.additionalHeaders({ ":status": 103, link: "</x>" });
      s.respond({ ":status": 201, "x-path": h[":path"] ?? "", "content-length": "5" }, { waitForTrailers: true });
      s.on("wantTrailers", () => s.sendTrailers({ "grpc-status": "0" }));
      s.resume();
      s.end("hello");
    });
    const { connection, socket, touch } = await dial(port);
    const side = new Side();
    side.unsent = Buffer.from("abc");
    const stream = connection.request([":method", "POST", ":scheme", "http", ":path", "/a?b=c", ":authority", "x", "content-length", "3"], false, side);
    assert.ok(stream !== undefined);
    pump(connection, stream);
    touch();
    await side.over;
    assert.equal(side.status, 201);
    assert.equal(fieldValue(side.fields, "x-path"), "/a?b=c");
    assert.equal(side.octets, 5);
    assert.deepEqual(side.trailers, ["grpc-status", "0"]);
    socket.destroy();
  });

  it("hears resets, keeps 300 streams apart and reads header blocks of many frames", async () => {
    const port = await listen((s, h) => {
      const path = h[":path"] ?? "";
      if (path === "/reset") return s.close(http2.constants.NGHTTP2_CANCEL);
      s.respond({ ":status": 200, "x-big": "v".repeat(7000), "x-more": path });
      s.end(path);
    });
    const { connection, socket, touch } = await dial(port);
    const reset = new Side();
    connection.request([":method", "GET", ":scheme", "http", ":path", "/reset", ":authority", "x"], true, reset);
    touch();
    await reset.over;
    assert.equal(reset.resetCode, ErrorCode.CANCEL);
    for (let round = 0; round < 3; round++) {
      const sides = Array.from({ length: 100 }, () => new Side());
      sides.forEach((side, i) => assert.ok(connection.request([":method", "GET", ":scheme", "http", ":path", `/${round}/${i}`, ":authority", "x"], true, side)));
      touch();
      await Promise.all(sides.map((s) => s.over));
      sides.forEach((side, i) => {
        assert.equal(fieldValue(side.fields, "x-more"), `/${round}/${i}`);
        assert.equal(side.received.digest("hex"), sha(Buffer.from(`/${round}/${i}`)));
      });
    }
    socket.destroy();
  });
});

describe("H2Connection as server of node:http2", () => {
  let server: net.Server;
  const sockets = new Set<net.Socket>();
  const serve = async (onRequest: (c: H2Connection<Side>, s: H2Stream<Side>, fields: Fields) => void, more: Partial<ConnectionEvents<Side>> = {}): Promise<number> => {
    server = net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      const connection: H2Connection<Side> = new H2Connection<Side>({ role: "server" }, events(() => connection, {
        onRequest: (s, fields) => { s.context = new Side(); onRequest(connection, s, fields); }, ...more }));
      attach(connection, socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as net.AddressInfo).port;
  };
  afterEach(async () => {
    for (const s of sockets) s.destroy();
    sockets.clear();
    await new Promise((resolve) => server.close(resolve));
  });

  it("echoes 8 MB through CONNECT with half-close", async () => {
    let connection: H2Connection<Side> | undefined;
    const queue: Uint8Array[] = [];
    let ended = false;
    const push = (s: H2Stream<Side>): void => {
      for (let head = queue[0]; head !== undefined; head = queue[0]) {
        const n = connection?.data(s, head, false) ?? 0;
        connection?.consumed(s, n);
        if (n < head.length) { queue[0] = head.subarray(n); return; }
        queue.shift();
      }
      if (ended) connection?.data(s, new Uint8Array(0), true);
    };
    const port = await serve((c, s, fields) => {
      connection = c;
      assert.equal(fieldValue(fields, ":authority"), "10.0.0.1:80");
      c.respond(s, [":status", "200"], false);
    }, {
      onData: (s, bytes) => { queue.push(bytes); push(s); },
      onEnd: (s) => { ended = true; push(s); },
      onWritable: (s) => push(s),
    });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const stream = session.request({ ":method": "CONNECT", ":authority": "10.0.0.1:80" });
    const body = randomBytes(8 << 20);
    const hash = createHash("sha256");
    stream.on("data", (d: Buffer) => hash.update(d));
    stream.end(body);
    await once(stream, "end");
    assert.equal(hash.digest("hex"), sha(body));
    session.destroy();
  });

  it("answers requests, trailers included, and sees cancelled ones", async () => {
    let onCancel: (code: number) => void = () => {};
    let onWaiting: () => void = () => {};
    const waits = new Promise<void>((resolve) => (onWaiting = resolve));
    const cancelled = new Promise<number>((resolve) => (onCancel = resolve));
    const port = await serve((c, s, fields) => {
      if (fieldValue(fields, ":path") === "/wait") return void onWaiting();
      c.respond(s, [":status", "200", "x-seen", fieldValue(fields, "x-long") === "y".repeat(30_000) ? "long" : "short"], false);
      c.data(s, Buffer.from("body"), false);
      c.trailers(s, ["grpc-status", "0"]);
    }, { onReset: (_s, code) => onCancel(code) });
    const session = http2.connect(`http://127.0.0.1:${port}`, { maxSendHeaderBlockLength: 1 << 20 });
    const stream = session.request({ ":path": "/", "x-long": "y".repeat(30_000) });
    const trailers = once(stream, "trailers");
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    assert.equal(headers["x-seen"], "long");
    stream.setEncoding("utf8");
    let text = "";
    stream.on("data", (d: string) => (text += d));
    assert.equal(((await trailers) as [http2.IncomingHttpHeaders])[0]["grpc-status"], "0");
    assert.equal(text, "body");
    const waiting = session.request({ ":path": "/wait" });
    waiting.on("error", () => {});
    await waits;
    waiting.close(http2.constants.NGHTTP2_CANCEL);
    assert.equal(await cancelled, ErrorCode.CANCEL);
    session.destroy();
  });

  it("drains gracefully: the open stream finishes, then the client sees GOAWAY NO_ERROR", async () => {
    let connection: H2Connection<Side> | undefined;
    let stream: H2Stream<Side> | undefined;
    let ended: () => void = () => {};
    const end = new Promise<void>((resolve) => (ended = resolve));
    const port = await serve((c, s) => { connection = c; stream = s; c.respond(s, [":status", "200"], false); }, { onEnd: () => ended() });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const request = session.request({ ":method": "CONNECT", ":authority": "a:1" });
    await once(request, "response");
    const goaway = once(session, "goaway");
    connection?.drain();
    sockets.forEach((s) => s.emit("drain"));
    assert.equal((await goaway)[0], ErrorCode.NO_ERROR);
    request.end("bye");
    request.resume();
    assert.ok(connection !== undefined && stream !== undefined);
    connection.data(stream, Buffer.from("bye"), true);
    sockets.forEach((s) => s.emit("drain"));
    await Promise.all([once(request, "close"), end]);
    assert.equal(connection.openStreams, 0);
    session.destroy();
  });
});
