import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer, connect, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { Socket as DatagramSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Netns } from "@ambit/linux";
import { systemClock, type Clock } from "@ambit/runtime";
import { ManualClock, ip } from "@ambit/proxy/testing";
import type { ForwarderOptions } from "./forward-options.ts";
import { UDP_ATTEMPT_MS, UDP_ATTEMPTS } from "./ask-udp.ts";
import { TCP_TOTAL_MS } from "./ask-tcp.ts";
import type { ForwardBudget } from "./forward-options.ts";
import { createForwarder, nameServers, NODE_FORWARDS_MAX, POD_FORWARDS_MAX } from "./forward.ts";
import { opt, query, replyTo } from "./query.fixture.ts";
import { framed, withId } from "./protocol/relay.ts";

const NETNS = {} as Netns;
const Q = query("Example.Org", 1, 0x0102, opt(1232), 1);

/** What the forwarder sees of a datagram socket. */
class FakeDatagram extends EventEmitter {
  readonly sent: Buffer[] = [];
  peer = "";
  closed = false;
  connect(port: number, address: string): void { this.peer = `${address}:${port}`; queueMicrotask(() => this.emit("connect")); }
  send(bytes: Uint8Array): void { this.sent.push(Buffer.from(bytes)); }
  close(): void { this.closed = true; }
}

function rig(servers: readonly string[], more: { clock?: Clock; dial?: ForwarderOptions["dial"]; budget?: ForwardBudget } = {}) {
  const clock = new ManualClock();
  const sockets: FakeDatagram[] = [];
  const bound: unknown[] = [];
  const over = new AbortController();
  const budget = more.budget ?? { taken: 0 };
  const forwarder = createForwarder({
    kernel: { bindDatagram: (_ns, at, options) => { bound.push([`${at.ip} ${at.port}`, options]); const s = new FakeDatagram(); sockets.push(s); return s as unknown as DatagramSocket; } },
    netns: NETNS, over: over.signal, mark: 0x539, dial: more.dial ?? (() => Promise.reject(new Error("not here"))), servers: servers.map(ip), budget, clock: more.clock ?? clock,
  });
  return { clock, sockets, bound, over, budget, forwarder };
}
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("asking name servers over UDP", () => {
  it("relays the query and the reply octet for octet, but for an id of our own", async () => {
    const r = rig(["10.96.0.10"]);
    const asked = r.forwarder.ask(Q, "udp");
    await tick();
    const [socket] = r.sockets;
    assert.ok(socket?.sent[0]);
    assert.deepEqual([r.bound, socket.peer], [[["0.0.0.0 0", { mark: 0x539 }]], "10.96.0.10:53"]);
    assert.deepEqual(socket.sent[0].subarray(2), Q.subarray(2));
    const reply = replyTo(socket.sent[0], 3, Buffer.from("additional"));
    socket.emit("message", reply);
    assert.deepEqual(Buffer.from(await asked), withId(reply, 0x0102));
    assert.deepEqual([socket.closed, r.clock.pending, r.budget.taken], [true, 0, 0]);
  });
  it("ids are not the clients'", async () => {
    const r = rig(["10.96.0.10"]);
    const all = Array.from({ length: 32 }, () => r.forwarder.ask(Q, "udp").catch(() => undefined));
    await tick();
    assert.ok(new Set(r.sockets.map((s) => s.sent[0]?.readUInt16BE(0))).size > 25);
    r.over.abort();
    await Promise.all(all);
  });
  it("ignores what does not answer the question", async () => {
    const r = rig(["10.96.0.10"]);
    const asked = r.forwarder.ask(Q, "udp");
    await tick();
    const [socket] = r.sockets;
    const sent = socket?.sent[0] ?? Buffer.alloc(0);
    for (const forged of [replyTo(withId(sent, sent.readUInt16BE(0) ^ 1)), replyTo(query("example.net", 1, sent.readUInt16BE(0))), sent, Buffer.alloc(0), Buffer.alloc(4)]) socket?.emit("message", forged);
    socket?.emit("message", replyTo(sent, 0, Buffer.from("true")));
    assert.ok(Buffer.from(await asked).toString("latin1").endsWith("true"));
  });
  it("asks again, at the servers in turn, and gives up in bounded time", async () => {
    const r = rig(["10.0.0.1", "10.0.0.2"]);
    const failed = assert.rejects(r.forwarder.ask(Q, "udp"), { code: "dns-failed", message: /10\.0\.0\.1:53 did not answer within 1500 ms/ });
    await r.clock.advance(UDP_ATTEMPTS * UDP_ATTEMPT_MS);
    await failed;
    assert.deepEqual(r.sockets.map((s) => [s.peer, s.sent.length, s.closed]), [["10.0.0.1:53", 2, true], ["10.0.0.2:53", 1, true]]);
    assert.ok(UDP_ATTEMPTS * UDP_ATTEMPT_MS < 5_000);
  });
  it("hears a late answer of a server that was asked before", async () => {
    const r = rig(["10.0.0.1", "10.0.0.2"]);
    const asked = r.forwarder.ask(Q, "udp");
    await r.clock.advance(UDP_ATTEMPT_MS);
    await tick();
    const [first] = r.sockets;
    first?.emit("message", replyTo(first.sent[0] ?? Q));
    await asked;
    assert.deepEqual(r.sockets.map((s) => s.closed), [true, true]);
  });
  it("goes to the next server at once where nobody listens, but waits for the last", async () => {
    const r = rig(["10.0.0.1", "10.0.0.2"]);
    const asked = r.forwarder.ask(Q, "udp");
    await tick();
    r.sockets[0]?.emit("error", new Error("ECONNREFUSED"));
    await tick();
    r.sockets[1]?.emit("error", new Error("ECONNREFUSED"));
    await tick();
    assert.deepEqual(r.sockets.map((s) => s.sent.length), [1, 1]);
    await r.clock.advance(UDP_ATTEMPT_MS);
    assert.equal(r.sockets[0]?.sent.length, 2);
    r.sockets[0]?.emit("message", replyTo(r.sockets[0].sent[0] ?? Q));
    await asked;
  });
  it("a server's failure sends us to the next; when all fail the client gets it as it is", async () => {
    const r = rig(["10.0.0.1", "10.0.0.2"]);
    const asked = r.forwarder.ask(Q, "udp");
    await tick();
    r.sockets[0]?.emit("message", replyTo(r.sockets[0].sent[0] ?? Q, 2));
    await tick();
    r.sockets[1]?.emit("message", replyTo(r.sockets[1].sent[0] ?? Q, 5));
    assert.equal((await asked)[3], 0x85);
  });
  it("NXDOMAIN is an answer", async () => {
    const r = rig(["10.0.0.1", "10.0.0.2"]);
    const asked = r.forwarder.ask(Q, "udp");
    await tick();
    r.sockets[0]?.emit("message", replyTo(r.sockets[0].sent[0] ?? Q, 3));
    assert.deepEqual([(await asked)[3], r.sockets.length], [0x83, 1]);
  });
  it("ends with the pod, and never enters its namespace again", async () => {
    const r = rig(["10.0.0.1"]);
    const failed = assert.rejects(r.forwarder.ask(Q, "udp"), { code: "drained" });
    await tick();
    r.over.abort();
    await failed;
    await assert.rejects(r.forwarder.ask(Q, "udp"), { code: "drained" });
    assert.deepEqual([r.sockets.length, r.sockets[0]?.closed, r.clock.pending], [1, true, 0]);
  });
  it("has bounds, of the pod and of the node", async () => {
    const r = rig(["10.0.0.1"]);
    const all = Array.from({ length: POD_FORWARDS_MAX }, () => r.forwarder.ask(Q, "udp").catch(() => undefined));
    await assert.rejects(r.forwarder.ask(Q, "udp"), { code: "overloaded" });
    r.over.abort();
    await Promise.all(all);
    assert.equal(r.budget.taken, 0);
    await assert.rejects(rig(["10.0.0.1"], { budget: { taken: NODE_FORWARDS_MAX } }).forwarder.ask(Q, "udp"), { code: "overloaded" });
  });
  it("needs a name server", () => assert.rejects(rig([]).forwarder.ask(Q, "udp"), { code: "dns-failed", message: "there is no name server" }));
});

describe("asking name servers over TCP", () => {
  let server: Server | undefined;
  afterEach(() => { server?.close(); });
  async function serve(answer: (socket: Socket, query: Buffer) => void): Promise<ForwarderOptions["dial"]> {
    const s = (server = createServer((socket) => socket.on("error", () => undefined).on("data", (b: Buffer) => answer(socket, b.subarray(2)))));
    s.listen(0, "127.0.0.1");
    await once(s, "listening");
    return async () => {
      const socket = connect((s.address() as AddressInfo).port, "127.0.0.1");
      await once(socket, "connect");
      return { toSocket: () => socket };
    };
  }
  it("relays a reply that comes in pieces", async () => {
    const big = Buffer.alloc(40_000, 7);
    const dial = await serve((socket, q) => { const f = framed(replyTo(q, 0, big)); for (let i = 0; i < f.length; i += 9_000) socket.write(f.subarray(i, i + 9_000)); });
    const reply = await rig(["127.0.0.1"], { dial, clock: systemClock }).forwarder.ask(Q, "tcp");
    assert.deepEqual([reply.length, Buffer.from(reply).readUInt16BE(0)], [Q.length + big.length, 0x0102]);
  });
  const failures: [string, (socket: Socket, q: Buffer) => void, RegExp][] = [
    ["closes", (socket) => socket.end(), /closed without an answer/],
    ["resets", (socket) => socket.resetAndDestroy(), /no name server answered/],
    ["answers another question", (socket, q) => socket.write(framed(replyTo(query("other", 1, q.readUInt16BE(0))))), /answered another question/],
  ];
  for (const [name, answer, message] of failures) it(`a server that ${name} has not answered`, async () => {
    const r = rig(["127.0.0.1"], { dial: await serve(answer), clock: systemClock });
    await assert.rejects(r.forwarder.ask(Q, "tcp"), { code: "dns-failed", message });
    assert.equal(r.budget.taken, 0);
  });
  it("a server that is silent costs bounded time", async () => {
    const clock = new ManualClock();
    let heard: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => { heard = resolve; });
    const r = rig(["127.0.0.1"], { dial: await serve(() => heard()), clock });
    const failed = assert.rejects(r.forwarder.ask(Q, "tcp"), { code: "dns-failed", message: /did not answer within 4500 ms/ });
    await asked;
    await clock.advance(TCP_TOTAL_MS);
    await failed;
    assert.equal(clock.pending, 0);
  });
  it("a failing server is followed by the next", async () => {
    let n = 0;
    const dial = await serve((socket, q) => socket.write(framed(replyTo(q, n++ === 0 ? 2 : 0))));
    assert.equal((await rig(["127.0.0.1", "127.0.0.2"], { dial, clock: systemClock }).forwarder.ask(Q, "tcp"))[3], 0x80);
  });
});

it("name servers come from resolv.conf, at most three, nonsense left out", () => {
  const dir = mkdtempSync(join(tmpdir(), "zt-dns-"));
  try {
    const path = join(dir, "resolv.conf");
    writeFileSync(path, "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.96.0.10\n nameserver ::1\nnameserver nobody\nnameserver 10.0.0.2 \nnameserver 10.0.0.3\n");
    assert.deepEqual(nameServers(path), ["10.96.0.10", "::1", "10.0.0.2"]);
    assert.deepEqual(nameServers(join(dir, "missing")), []);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
