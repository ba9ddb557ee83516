import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request as httpRequest, type Server } from "node:http";
import { createServer as createTcp, type AddressInfo, type Server as TcpServer, type Socket } from "node:net";
import { createLogger } from "@ambit/runtime";
import { WebSocket } from "ws";
import { fakeRuntime, type FakeRuntime } from "./fake-runtime.ts";
import { serveStreaming } from "./server.ts";
import { encode, FrameReader, type Frame } from "./spdy/frames.ts";
import { HeaderCodec } from "./spdy/header-codec.ts";

const log = createLogger("test", { write: () => undefined });

/** A SPDY client as small as can be: opens streams, collects what comes back. */
class Client {
  readonly socket: Socket;
  readonly received = new Map<number, Buffer[]>();
  readonly ended = new Set<number>();
  readonly resets = new Map<number, number>();
  readonly pings: number[] = [];
  readonly #codec = new HeaderCodec();
  readonly #reader = new FrameReader();
  #next = 1;
  #wake: (() => void)[] = [];
  closed = false;

  constructor(socket: Socket, head: Buffer) {
    this.socket = socket;
    const take = (chunk: Buffer): void => { for (const frame of this.#reader.read(chunk)) this.#take(frame); for (const w of this.#wake.splice(0)) w(); };
    if (head.length > 0) take(head);
    socket.on("data", take);
    socket.on("error", () => undefined);
    socket.on("close", () => { this.closed = true; this.#codec.close(); for (const w of this.#wake.splice(0)) w(); });
  }

  async open(headers: Record<string, string>): Promise<number> {
    const stream = this.#next;
    this.#next += 2;
    this.socket.write(encode({ kind: "syn-stream", stream, fin: false, block: await this.#codec.encode(new Map(Object.entries(headers))) }));
    return stream;
  }
  send(stream: number, data: string | Uint8Array, fin = false): boolean { return this.socket.write(encode({ kind: "data", stream, fin, data: Buffer.from(data) })); }
  text(stream: number): string { return Buffer.concat(this.received.get(stream) ?? []).toString("utf8"); }
  async until(ok: () => boolean): Promise<void> {
    while (!ok()) {
      assert.ok(!this.closed, "the server closed the connection");
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }
  #take(frame: Frame): void {
    if (frame.kind === "data") {
      this.received.set(frame.stream, [...(this.received.get(frame.stream) ?? []), Buffer.from(frame.data)]);
      if (frame.fin) this.ended.add(frame.stream);
    }
    if (frame.kind === "rst-stream") this.resets.set(frame.stream, frame.status);
    if (frame.kind === "ping") this.pings.push(frame.id);
  }
}

describe("the streaming server", () => {
  let server: Server;
  let streaming: { close(): void };
  let runtime: FakeRuntime;
  let echo: TcpServer;
  const port = (): number => (server.address() as AddressInfo).port;
  const echoPort = (): number => (echo.address() as AddressInfo).port;

  beforeEach(async () => {
    runtime = fakeRuntime();
    server = createServer();
    streaming = serveStreaming(server, { runtime, log, authorize: (r) => r.headers["x-refuse"] === undefined });
    server.listen(0, "127.0.0.1");
    echo = createTcp({ allowHalfOpen: true }, (socket) => { socket.on("error", () => socket.destroy()); socket.pipe(socket); });
    echo.listen(0, "127.0.0.1");
    await Promise.all([once(server, "listening"), once(echo, "listening")]);
  });
  afterEach(async () => {
    streaming.close();
    await Promise.all([server, echo].map((s) => new Promise<void>((resolve) => s.close(() => resolve()))));
    assert.equal(runtime.running(), 0, "no command outlives its client");
  });

  async function upgrade(path: string, headers: Record<string, string>): Promise<Client> {
    const req = httpRequest({ port: port(), host: "127.0.0.1", method: "POST", path, headers: { connection: "Upgrade", upgrade: "SPDY/3.1", ...headers } });
    req.end();
    const [response, socket, head] = (await once(req, "upgrade")) as [{ headers: Record<string, string> }, Socket, Buffer];
    assert.equal(response.headers["x-stream-protocol-version"], headers["x-stream-protocol-version"]?.split(",")[0]);
    return new Client(socket, head);
  }
  async function refusal(path: string, headers: Record<string, string>): Promise<string> {
    const req = httpRequest({ port: port(), host: "127.0.0.1", path, headers: { connection: "Upgrade", ...headers } });
    req.end();
    const [response] = (await once(req, "response")) as [AsyncIterable<Buffer> & { statusCode: number }];
    let text = "";
    for await (const chunk of response) text += chunk.toString();
    return `${response.statusCode} ${text.trim()}`;
  }
  const V4 = { "x-stream-protocol-version": "v4.channel.k8s.io,v3.channel.k8s.io" };

  it("runs a command over SPDY: stdin, stdout, stderr apart, exit code as a Status", async () => {
    const client = await upgrade("/exec/ns/p/main?command=sh&command=-c&command=cat%3B%20echo%20oops%20%3E%262%3B%20exit%207&input=1&output=1&error=1", V4);
    const [error, stdin, stdout, stderr] = [await client.open({ streamtype: "error" }), await client.open({ streamtype: "stdin" }), await client.open({ streamtype: "stdout" }), await client.open({ streamtype: "stderr" })];
    client.send(stdin, "hello ");
    client.send(stdin, "there", true);
    await client.until(() => client.ended.has(error));
    assert.deepEqual([client.text(stdout), client.text(stderr)], ["hello there", "oops\n"]);
    assert.match(client.text(error), /"reason":"ExitCode","message":"7"/);
    client.socket.destroy();
  });

  it("moves 20 MB each way through one command, whole", async () => {
    const client = await upgrade("/exec/ns/p/main?command=cat&input=1&output=1", V4);
    const [error, stdin, stdout] = [await client.open({ streamtype: "error" }), await client.open({ streamtype: "stdin" }), await client.open({ streamtype: "stdout" })];
    const block = Buffer.alloc(32 * 1024, 7);
    for (let sent = 0; sent < 640; sent++) if (!client.send(stdin, block)) await once(client.socket, "drain");
    client.send(stdin, "", true);
    await client.until(() => client.ended.has(error));
    assert.equal(client.received.get(stdout)?.reduce((n, b) => n + b.length, 0), 640 * block.length);
    client.socket.destroy();
  });

  it("passes terminal sizes on, answers pings, and holds a counting peer to its window", async () => {
    const client = await upgrade("/exec/ns/p/main?command=sh&command=-c&command=cat%20%3E%2Fdev%2Fnull%3B%20head%20-c%20200000%20%2Fdev%2Fzero&input=1&output=1&tty=1", V4);
    client.socket.write(encode({ kind: "ping", id: 5 }));
    client.socket.write(encode({ kind: "settings", values: new Map([[7, 100_000]]) }));
    const [error, stdin, stdout, resize] = [await client.open({ streamtype: "error" }), await client.open({ streamtype: "stdin" }), await client.open({ streamtype: "stdout" }), await client.open({ streamtype: "resize" })];
    client.send(resize, '{"Width":120,"Height":40}\n');
    client.send(stdin, "", true);
    const got = (): number => client.received.get(stdout)?.reduce((n, b) => n + b.length, 0) ?? 0;
    await client.until(() => got() >= 100_000);
    assert.equal(got(), 100_000, "no more than the window");
    client.socket.write(encode({ kind: "window-update", stream: stdout, delta: 150_000 }));
    await client.until(() => client.ended.has(error));
    assert.deepEqual([got(), runtime.resized, client.pings], [200_000, [[120, 40]], [5]]);
    client.socket.destroy();
  });

  it("ends the command when the client goes away", async () => {
    const client = await upgrade("/exec/ns/p/main?command=sleep&command=1000&output=1", V4);
    await client.open({ streamtype: "error" });
    const stdout = await client.open({ streamtype: "stdout" });
    client.socket.write(encode({ kind: "ping", id: 1 }));
    await client.until(() => client.pings.length > 0 && runtime.running() === 1);
    assert.equal(client.text(stdout), "");
    client.socket.destroy();
    while (runtime.running() > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  it("refuses what it does not understand, and says what", async () => {
    const spdy = { upgrade: "SPDY/3.1" };
    assert.match(await refusal("/exec/ns/p/main?command=x&output=1", { ...spdy, "x-refuse": "1" }), /^401/);
    assert.match(await refusal("/exec/ns/p/main?command=x&output=1", { ...spdy, "x-stream-protocol-version": "v99" }), /^403 .*v99.*v4.channel.k8s.io/);
    assert.match(await refusal("/exec/ns/p/main?command=x&output=1", { upgrade: "h2c" }), /^400 .*h2c/);
    assert.match(await refusal("/nothing", spdy), /^404/);
  });

  it("drops a client that speaks garbage or opens streams nobody asked for", async () => {
    const garbage = await upgrade("/exec/ns/p/main?command=cat&output=1", V4);
    garbage.socket.write(Buffer.alloc(64, 0xff));
    await once(garbage.socket, "close");
    const client = await upgrade("/exec/ns/p/main?command=true&output=1", V4);
    const odd = await client.open({ streamtype: "stdin" });
    await client.until(() => client.resets.has(odd));
    client.socket.destroy();
  });

  it("forwards many connections at once, with half-close, and reports a refused port", async () => {
    const client = await upgrade("/portForward/ns/p", { "x-stream-protocol-version": "portforward.k8s.io" });
    const streams: { data: number; error: number }[] = [];
    for (let i = 0; i < 40; i++) {
      const common = { port: String(echoPort()), requestid: String(i) };
      const error = await client.open({ ...common, streamtype: "error" });
      const data = await client.open({ ...common, streamtype: "data" });
      client.send(data, `hello ${i}`, true);
      streams.push({ data, error });
    }
    await client.until(() => streams.every(({ data, error }) => client.ended.has(data) && client.ended.has(error)));
    streams.forEach(({ data, error }, i) => assert.deepEqual([client.text(data), client.text(error)], [`hello ${i}`, ""]));
    const bad = { port: "1", requestid: "bad" };
    const error = await client.open({ ...bad, streamtype: "error" });
    await client.open({ ...bad, streamtype: "data" });
    await client.until(() => client.ended.has(error));
    assert.match(client.text(error), /error forwarding port 1 to pod ns\/p: .*ECONNREFUSED/);
    client.socket.destroy();
  });

  const socketTo = async (path: string, protocol: string): Promise<WebSocket> => {
    const ws = new WebSocket(`ws://127.0.0.1:${port()}${path}`, protocol);
    await once(ws, "open");
    assert.equal(ws.protocol, protocol);
    return ws;
  };

  it("runs a command over WebSocket: channels, v5's end of stdin, Status, normal closure", async () => {
    const ws = await socketTo("/exec/ns/p/main?command=sh&command=-c&command=cat%3B%20exit%204&input=1&output=1&error=1", "v5.channel.k8s.io");
    const channels = new Map<number, string>();
    ws.on("message", (raw: Buffer) => channels.set(raw[0] ?? -1, (channels.get(raw[0] ?? -1) ?? "") + raw.subarray(1).toString()));
    ws.send(Buffer.concat([Buffer.of(0), Buffer.from("typed")]));
    ws.send(Buffer.of(255, 0));
    const [code] = (await once(ws, "close")) as [number];
    assert.equal(code, 1000);
    assert.equal(channels.get(1), "typed");
    assert.match(channels.get(3) ?? "", /"message":"4"/);
  });

  it("forwards a port over WebSocket channels, each beginning with the port", async () => {
    const ws = new WebSocket(`ws://127.0.0.1:${port()}/portForward/ns/p?port=${echoPort()}`, "v4.channel.k8s.io");
    const got: Buffer[] = [];
    const echoed = new Promise<void>((resolve) => ws.on("message", (raw: Buffer) => { got.push(raw); if (Buffer.concat(got).includes("ping!")) resolve(); }));
    await once(ws, "open");
    ws.send(Buffer.concat([Buffer.of(0), Buffer.from("ping!")]));
    await echoed;
    const le = Buffer.alloc(2);
    le.writeUInt16LE(echoPort());
    assert.deepEqual(got.slice(0, 2), [Buffer.concat([Buffer.of(0), le]), Buffer.concat([Buffer.of(1), le])]);
    ws.terminate();
  });

  it("tunnels SPDY through WebSocket, under a name that most libraries refuse", async () => {
    const req = httpRequest({
      port: port(), host: "127.0.0.1", path: "/portForward/ns/p", headers: {
        connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol": "SPDY/3.1+portforward.k8s.io",
      },
    });
    req.end();
    const [response, socket, head] = (await once(req, "upgrade")) as [{ headers: Record<string, string> }, Socket, Buffer];
    assert.equal(response.headers["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");
    const codec = new HeaderCodec();
    const reader = new FrameReader();
    const say = (bytes: Uint8Array): void => { socket.write(Buffer.concat([Buffer.of(0x82, 0x80 | bytes.length, 0, 0, 0, 0), bytes])); };
    for (const [stream, streamtype] of [[1, "error"], [3, "data"]] as const) {
      const block = await codec.encode(new Map([["streamtype", streamtype], ["port", String(echoPort())], ["requestid", "0"]]));
      say(encode({ kind: "syn-stream", stream, fin: false, block }));
    }
    say(encode({ kind: "data", stream: 3, fin: false, data: Buffer.from("through") }));
    // Server messages are short here: two bytes of WebSocket header, no mask.
    let got = head;
    const inside: Buffer[] = [];
    let echoed = "";
    while (echoed === "") {
      while (got.length >= 2 && got.length >= 2 + (got[1] ?? 0)) {
        inside.push(got.subarray(2, 2 + (got[1] ?? 0)));
        got = got.subarray(2 + (got[1] ?? 0));
      }
      for (const frame of inside.splice(0).flatMap((b) => reader.read(b))) if (frame.kind === "data") echoed += Buffer.from(frame.data).toString();
      if (echoed === "") got = Buffer.concat([got, ((await once(socket, "data")) as [Buffer])[0]]);
    }
    assert.equal(echoed, "through");
    codec.close();
    socket.destroy();
  });
});
