import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LOOPBACK_V4 } from "@ambit/core";
import { hostKernel } from "@ambit/linux";
import { byteStreamCompliance, fakeCa, type StreamPair } from "@ambit/testkit";
import { acceptTls, connectTls, createTlsCredentials } from "./tls-handshake.ts";
import { fromSocket } from "./socket-stream.ts";
import { toDuplex } from "./stream-duplex.ts";
import { connectDescriptor, listenDescriptor, type TcpConnection } from "./tcp-connection.ts";

async function sockets(): Promise<{ left: net.Socket; right: net.Socket; close: () => Promise<void> }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const left = net.connect({ host: "127.0.0.1", port: (server.address() as net.AddressInfo).port, allowHalfOpen: true });
  const [[right]] = await Promise.all([once(server, "connection") as Promise<[net.Socket]>, once(left, "connect")]);
  return { left, right, close: () => {
    left.destroy();
    right.destroy();
    return new Promise((resolve) => server.close(() => resolve()));
  } };
}

async function plain(): Promise<StreamPair> {
  const { left, right, close } = await sockets();
  return { left: fromSocket(left), right: fromSocket(right), close };
}

/** The engine for plain TCP: bound and connected by descriptors, as in another namespace. */
async function handles(): Promise<StreamPair> {
  let taken: (connection: TcpConnection) => void = () => undefined;
  const accepted = new Promise<TcpConnection>((resolve) => (taken = resolve));
  const fd = hostKernel.bindStream(undefined, { ip: LOOPBACK_V4, port: 0 }, {});
  hostKernel.keepAlive(fd, { probes: { idleS: 60, intervalS: 60, count: 3 }, userTimeoutMs: 0 });
  const listener = listenDescriptor(fd, 16, taken, assert.fail);
  const to = listener.local ?? assert.fail();
  const left = await connectDescriptor(hostKernel.openStream(undefined, to, {}), to, { giveUp: undefined });
  const right = await accepted;
  assert.deepEqual([left.local, left.peer], [right.peer, right.local]);
  return { left, right, close: () => {
    left.destroy();
    right.destroy();
    listener.close();
  } };
}

const ca = fakeCa();
const credentials = (sa: string) => {
  const leaf = ca.leaf("default", sa);
  return createTlsCredentials({ chain: leaf.chainPem, key: leaf.keyPem, roots: ca.rootPem });
};
const client = credentials("client");
const server = credentials("server");

async function secured(): Promise<StreamPair> {
  const { left, right, close } = await sockets();
  const verify = () => ({ ok: true as const, value: undefined });
  const [a, b] = await Promise.all([connectTls(left, { credentials: client, verify }), acceptTls(right, { credentials: server, verify })]);
  return { left: a.stream, right: b.stream, close };
}

/** TLS inside a byte stream: what the inner tunnel of a double one runs on. */
async function securedInside(): Promise<StreamPair> {
  const outer = await secured();
  const verify = () => ({ ok: true as const, value: undefined });
  const [a, b] = await Promise.all([connectTls(toDuplex(outer.left), { credentials: client, verify }), acceptTls(toDuplex(outer.right), { credentials: server, verify })]);
  return { left: a.stream, right: b.stream, close: outer.close };
}

async function unixSockets(): Promise<StreamPair> {
  const path = join(tmpdir(), `ambit-${randomUUID()}.sock`);
  const listener = net.createServer({ allowHalfOpen: true });
  listener.listen(path);
  await once(listener, "listening");
  const left = net.connect({ path, allowHalfOpen: true });
  const [[right]] = await Promise.all([once(listener, "connection") as Promise<[net.Socket]>, once(left, "connect")]);
  return { left: fromSocket(left), right: fromSocket(right), close: () => {
    left.destroy();
    right.destroy();
    return new Promise((resolve) => listener.close(() => resolve()));
  } };
}

/** The kernel's socket buffers on loopback grow to several megabytes. */
const KERNEL_BUFFERS = 16 << 20;
byteStreamCompliance("a TCP socket", plain, { resets: true, stalledMax: KERNEL_BUFFERS });
byteStreamCompliance("a TCP handle", handles, { resets: true, stalledMax: KERNEL_BUFFERS });
byteStreamCompliance("a Unix socket", unixSockets, { resets: false, stalledMax: KERNEL_BUFFERS });
byteStreamCompliance("a TLS connection", secured, { resets: false, stalledMax: KERNEL_BUFFERS });
byteStreamCompliance("TLS inside another stream", securedInside, { resets: false, stalledMax: KERNEL_BUFFERS });

describe("accepted by a handle", () => {
  it("has keep-alive probes as its listener has", async () => {
    const pair = await handles();
    try {
      const port = (pair.right as TcpConnection).peer?.port ?? assert.fail();
      // The second of the two numbers is the remote end; timer 2 of proc(5)'s /proc/net/tcp is the keep-alive.
      const hex = port.toString(16).toUpperCase().padStart(4, "0");
      const entry = readFileSync("/proc/self/net/tcp", "utf8").split("\n").map((l) => l.trim().split(/\s+/)).find((f) => f[2]?.endsWith(`:${hex}`) === true && f[3] === "01");
      assert.equal(entry?.[5]?.split(":")[0], "02", entry?.join(" "));
    } finally {
      await pair.close();
    }
  });
});
