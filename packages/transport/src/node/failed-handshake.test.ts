// What a handshake that failed leaves behind: an ended socket that is then reset in the same turn can never be closed by libuv, and its descriptor is lost.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { LOOPBACK_V4, ok } from "@ambit/core";
import { hostKernel } from "@ambit/linux";
import { nextTurn } from "@ambit/runtime";
import { fakeCa } from "@ambit/testkit";
import { listenTcp } from "./tcp.ts";
import { listenDescriptor } from "./tcp-connection.ts";
import { acceptTls, createTlsCredentials } from "./tls-handshake.ts";

const ca = fakeCa();
const of = (sa: string) => { const leaf = ca.leaf("default", sa); return { chain: leaf.chainPem, key: leaf.keyPem, roots: ca.rootPem }; };
const server = createTlsCredentials(of("server"));
const client = of("client");

/** Socket descriptors of this process. */
const open = (): number => readdirSync("/proc/self/fd").filter((fd) => { try { return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:"); } catch { return false; } }).length;

/** What an earlier test still had open when `before` was counted may have closed since. */
async function noneLeft(before: number): Promise<void> {
  for (let turns = 0; open() > before && turns < 2_000; turns++) await nextTurn();
  assert.ok(open() <= before, `${open()} sockets are open, ${before} were before`);
}

/** A ClientHello as Node makes it. */
async function hello(): Promise<Buffer> {
  const listener = net.createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const dialled = tls.connect({ host: "127.0.0.1", port: (listener.address() as net.AddressInfo).port, ALPNProtocols: ["h2"], minVersion: "TLSv1.3" }).on("error", () => undefined);
  const [socket] = (await once(listener, "connection")) as [net.Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  dialled.destroy();
  listener.close();
  return bytes;
}

/** How a peer can spoil a handshake. */
const PEERS: readonly (readonly [string, (socket: net.Socket, hello: Buffer) => void])[] = [
  ["says nothing and ends", (s) => s.end()],
  ["says nothing and resets", (s) => void s.resetAndDestroy()],
  ["talks something else", (s) => void s.write("GET / HTTP/1.1\r\n\r\n")],
  ["talks something else and ends", (s) => void s.end("GET / HTTP/1.1\r\n\r\n")],
  ["talks something else and resets", (s) => { s.write("GET / HTTP/1.1\r\n\r\n"); s.resetAndDestroy(); }],
  ["ends within its hello", (s, h) => void s.end(h.subarray(0, h.length / 2))],
  ["ends after its hello", (s, h) => void s.end(h)],
  ["resets after its hello", (s, h) => { s.write(h, () => s.resetAndDestroy()); }],
  ["goes mad after its hello", (s, h) => { s.write(h); s.once("data", () => s.end(Buffer.alloc(500, 0x16))); }],
  ["leaves when it was answered", (s, h) => { s.write(h); s.once("data", () => s.destroy()); }],
  ["never reads and ends", (s, h) => { s.pause(); s.end(h); }],
];

type Accept = (socket: net.Socket) => void;
const ENGINES: readonly (readonly [string, (accept: Accept) => Promise<{ readonly port: number; close(): void }>])[] = [
  ["a handle", (accept) => {
    const listener = listenDescriptor(hostKernel.bindStream(undefined, { ip: LOOPBACK_V4, port: 0 }, {}), 64, (c) => accept(c.toSocket()), assert.fail);
    return Promise.resolve({ port: listener.local?.port ?? 0, close: () => listener.close() });
  }],
  ["a socket", (accept) => listenTcp({ ip: LOOPBACK_V4, port: 0 }, accept)],
];

/** When the acceptor gives up on its own: before the peer said anything, or in the middle. */
const ABORTS: readonly (readonly [string, (abort: AbortController) => void])[] = [["waits", () => undefined], ["gives up at once", (a) => a.abort(new Error("enough"))], ["gives up soon", (a) => setImmediate(() => a.abort(new Error("enough")))]];

for (const [engine, listen] of ENGINES) describe(`a failed handshake on ${engine}`, function () {
  this.timeout(20_000);
  for (const [what, act] of PEERS) for (const [how, give] of ABORTS) it(`leaves no descriptor when the peer ${what} and the acceptor ${how}`, async () => {
    const bytes = await hello();
    const before = open();
    const settled: Promise<void>[] = [];
    const listener = await listen((socket) => {
      socket.on("error", () => undefined);
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      const abort = new AbortController();
      const accepting = acceptTls(socket, { credentials: server, verify: () => ok(undefined), signal: abort.signal });
      give(abort);
      settled.push(accepting.then(() => assert.fail("it succeeded"), () => { if (!socket.destroyed) socket.resetAndDestroy(); return closed; }));
    });
    for (let i = 0; i < 8; i++) {
      const dialled = net.connect({ host: "127.0.0.1", port: listener.port, allowHalfOpen: true }).on("error", () => undefined).resume();
      await once(dialled, "connect");
      while (settled.length <= i) await nextTurn();
      act(dialled, bytes);
      await settled[i];
      dialled.destroy();
    }
    listener.close();
    await noneLeft(before);
  });
  it("leaves none when the peer does not trust us", async () => {
    const before = open();
    const settled: Promise<void>[] = [];
    const listener = await listen((socket) => {
      socket.on("error", () => undefined);
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      const over = acceptTls(socket, { credentials: server, verify: () => ok(undefined) }).then(({ stream }) => stream.destroy(new Error("done")), () => { if (!socket.destroyed) socket.resetAndDestroy(); });
      settled.push(over.then(() => closed));
    });
    const dialled = tls.connect({ host: "127.0.0.1", port: listener.port, ALPNProtocols: ["h2"], cert: client.chain, key: client.key, ca: fakeCa("another").rootPem }).on("error", () => undefined);
    await new Promise((resolve) => dialled.once("close", resolve));
    await settled[0];
    listener.close();
    await noneLeft(before);
  });
});
