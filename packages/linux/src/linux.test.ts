// The kernel's tricks on the real kernel: needs root (or a user namespace with its own network), which the lab needs anyway.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseIp, type Ip } from "@ambit/core";
import { C, SyscallError, sys } from "./ffi.ts";
import { hostKernel } from "./host-kernel.ts";
import type { KeepAlive, Netns } from "./kernel.ts";
import { insideNetns, warmThreadPool } from "./netns.ts";
import type { Packet } from "./message.ts";
import { connectSeqpacket, listenSeqpacket } from "./seqpacket.ts";
import { encodeSockaddrUn } from "./sockaddr.ts";

const ip = (text: string): Ip => {
  const parsed = parseIp(text);
  assert.ok(parsed.ok);
  return parsed.value;
};
const NAME = `ambit-linux-${process.pid}`;

describe("network namespaces", () => {
  let ns: Netns;
  before(async () => {
    await warmThreadPool();
    execFileSync("ip", ["netns", "add", NAME]);
    execFileSync("ip", ["-n", NAME, "link", "set", "lo", "up"]);
    execFileSync("ip", ["-n", NAME, "addr", "add", "10.99.0.1/32", "dev", "lo"]);
    ns = hostKernel.openNetns(`/run/netns/${NAME}`);
  });
  after(() => {
    ns[Symbol.dispose]();
    execFileSync("ip", ["netns", "del", NAME]);
  });
  const listening = async (server: Server) => { if (!server.listening) await once(server, "listening"); };

  it("is entered and left within one turn, also when the work throws", () => {
    const home = readlinkSync("/proc/thread-self/ns/net");
    assert.notEqual(insideNetns(ns, () => readlinkSync("/proc/thread-self/ns/net")), home);
    assert.throws(() => insideNetns(ns, () => { throw new Error("inside"); }), /inside/);
    assert.equal(readlinkSync("/proc/thread-self/ns/net"), home);
  });
  it("listens and dials inside, and tells a redirected connection's original destination", async () => {
    const server = hostKernel.listen(ns, { ip: ip("0.0.0.0"), port: 15001 }, { transparent: true, reusePort: true, mark: 0x539 });
    await listening(server);
    await hostKernel.applyRules(ns, "table ip t {\n chain output { type nat hook output priority -100; ip daddr 10.99.0.1 tcp dport 8080 redirect to :15001\n }\n}\n");
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const client = hostKernel.dial(ns, { ip: ip("10.99.0.1"), port: 8080 }, {});
    await once(client, "connect");
    const [socket] = await accepted;
    assert.deepEqual(hostKernel.originalDestination(socket), { ip: "10.99.0.1", port: 8080 });
    for (const s of [client, socket]) s.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  it("a second listener with SO_REUSEPORT binds the same port; without it the port is taken", async () => {
    const at = { ip: ip("127.0.0.1"), port: 15008 };
    const first = hostKernel.listen(ns, at, { reusePort: true });
    await listening(first);
    const second = hostKernel.listen(ns, at, { reusePort: true });
    await listening(second);
    assert.throws(() => hostKernel.listen(ns, at, {}), (e) => e instanceof SyscallError && e.code === "EADDRINUSE" && e.message.includes("127.0.0.1 port 15008"));
    for (const s of [first, second]) await new Promise((resolve) => s.close(resolve));
  });
  it("keeps a foreign source address", async () => {
    execFileSync("ip", ["-n", NAME, "route", "replace", "local", "0.0.0.0/0", "dev", "lo", "table", "100"]);
    execFileSync("ip", ["-n", NAME, "rule", "add", "fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100"]);
    await hostKernel.applyRules(ns, "table inet m {\n chain pre { type filter hook prerouting priority -150; meta mark & 0xfff == 0x539 ct mark set 0x111\n }\n chain out { type route hook output priority -150; ct mark & 0xfff == 0x111 meta mark set ct mark\n }\n}\n");
    execFileSync("ip", ["-n", NAME, "route", "replace", "default", "dev", "lo"]);
    const server = hostKernel.listen(ns, { ip: ip("10.99.0.1"), port: 7000 }, {});
    await listening(server);
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const client = hostKernel.dial(ns, { ip: ip("10.99.0.1"), port: 7000 }, { source: ip("10.88.0.7"), transparent: true, mark: 0x539 });
    await once(client, "connect");
    const [socket] = await accepted;
    assert.equal(socket.remoteAddress?.replace("::ffff:", ""), "10.88.0.7");
    for (const s of [client, socket]) s.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  it("a refused connection is an error event, and no descriptor is left", async () => {
    const open = readdirSync("/proc/self/fd").length;
    for (let i = 0; i < 20; i++) {
      const socket = hostKernel.dial(ns, { ip: ip("127.0.0.1"), port: 1 }, { mark: 1 });
      const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
      assert.equal(error.code, "ECONNREFUSED");
      await once(socket, "close");
    }
    assert.ok(readdirSync("/proc/self/fd").length <= open + 1);
  });
  it("rules that nft refuses reject with its words; a path that is not there throws naming it", async () => {
    await assert.rejects(hostKernel.applyRules(ns, "table nonsense {"), /nft -f - failed.*syntax error/s);
    assert.throws(() => hostKernel.openNetns("/run/netns/no-such"), /no-such/);
  });
});

describe("keep-alive of what a listener accepts", () => {
  const TCP = 6;
  const optionsOf = (fd: number): number[] => ([[C.SOL_SOCKET, C.SO_KEEPALIVE], [TCP, C.TCP_KEEPIDLE], [TCP, C.TCP_KEEPINTVL], [TCP, C.TCP_KEEPCNT], [TCP, C.TCP_USER_TIMEOUT]] as const).map(([level, name]) => {
    const value = Buffer.alloc(4);
    const size = Buffer.from([4, 0, 0, 0]);
    assert.equal(sys.getsockopt(fd, level, name, value, size), 0);
    return value.readInt32LE(0);
  });
  const CASES: readonly (readonly [string, KeepAlive, readonly number[]])[] = [
    ["as it was told", { probes: { idleS: 60, intervalS: 7, count: 3 }, userTimeoutMs: 81_000 }, [1, 60, 7, 3, 81_000]],
    ["every second, the kernel's patience", { probes: { idleS: 1, intervalS: 1, count: 1 }, userTimeoutMs: 0 }, [1, 1, 1, 1, 0]],
  ];
  for (const [what, how, expected] of CASES) it(what, async () => assert.deepEqual(await accepted(how), expected));
  it("none", async () => assert.deepEqual((await accepted({ probes: undefined, userTimeoutMs: 0 }))[0], 0));

  async function accepted(how: KeepAlive): Promise<number[]> {
    const listener = hostKernel.bindStream(undefined, { ip: ip("127.0.0.1"), port: 0 }, {});
    hostKernel.keepAlive(listener, how);
    assert.equal(sys.listen(listener, 4), 0);
    const client = hostKernel.dial(undefined, hostKernel.streamListener(listener)?.local ?? assert.fail(), {});
    try {
      await once(client, "connect");
      const fd = sys.accept4(listener, null, null, C.SOCK_CLOEXEC);
      assert.ok(fd >= 0);
      try {
        return optionsOf(fd);
      } finally {
        closeSync(fd);
      }
    } finally {
      client.destroy();
      closeSync(listener);
    }
  }
});

describe("datagram sockets", () => {
  it("that ask for any port never share one", async () => {
    // By chance alone, 500 of 28,000 ports would collide in 99 of 100 runs.
    const sockets = Array.from({ length: 500 }, () => hostKernel.bindDatagram(undefined, { ip: ip("127.0.0.1"), port: 0 }, {}));
    try {
      const ports = await Promise.all(sockets.map(async (socket) => {
        if (!isListening(socket)) await once(socket, "listening");
        return socket.address().port;
      }));
      assert.equal(new Set(ports).size, ports.length);
    } finally {
      for (const socket of sockets) socket.close();
    }
  });
  const isListening = (socket: ReturnType<typeof hostKernel.bindDatagram>): boolean => { try { socket.address(); return true; } catch { return false; } };
});

describe("SOCK_SEQPACKET with descriptors", () => {
  let dir: string;
  beforeEach(() => { dir = mkdtempSync(join(tmpdir(), "sp-")); });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("packets arrive whole, in order, with their descriptors; both ends see the end", async () => {
    const path = join(dir, "s");
    const got: Packet[] = [];
    let all: () => void = () => undefined;
    const received = new Promise<void>((resolve) => { all = resolve; });
    let ended: () => void = () => undefined;
    const over = new Promise<void>((resolve) => { ended = resolve; });
    const server = listenSeqpacket(path, 64, (channel) => channel.setHandler({ onPacket: (p) => { got.push(p); channel.send(Buffer.from(`ack ${got.length}`)); if (got.length === 3) all(); }, onEnd: () => ended() }));
    const client = connectSeqpacket(path, 64);
    const acks: string[] = [];
    client.setHandler({ onPacket: (p) => acks.push(p.data.toString()), onEnd: () => undefined });
    const file = openSync("/proc/self/ns/net", "r");
    client.send(Buffer.from("one"));
    client.send(Buffer.from("two"), [file]);
    client.send(Buffer.alloc(100));
    await received;
    assert.deepEqual(got.map((p) => [p.data.length, p.fds.length, p.truncated]), [[3, 0, false], [3, 1, false], [64, 0, true]]);
    assert.equal(fstatSync(got[1]?.fds[0] ?? -1).ino, fstatSync(file).ino);
    for (const fd of [file, ...(got[1]?.fds ?? [])]) closeSync(fd);
    client.close();
    await over;
    assert.throws(() => client.send(Buffer.from("late")), /closed/);
    await server.close();
  });
  it("nobody listening is an error at once", () => assert.throws(() => connectSeqpacket(join(dir, "none"), 64), (e) => e instanceof SyscallError && e.code === "ENOENT"));
  it("a path too long for the kernel is named", () => assert.throws(() => encodeSockaddrUn("/".padEnd(120, "x")), /120 bytes, the kernel takes 1 to 107/));
});
