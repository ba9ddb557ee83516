// Listening sockets change hands between processes on real namespaces: needs root. Whoever dies when, what waited is served.
import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostKernel, listenUnix, type Channel, type Netns } from "@ambit/linux";
import { at } from "@ambit/proxy/testing";
import { createLogger, LogLevels, systemClock, type Clock } from "@ambit/runtime";
import { listenDescriptor } from "@ambit/transport";
import { HANDOVER_ANSWER_MS, Predecessor } from "./handover-client.ts";
import { offerListeners, type ListeningSocket } from "./handover-server.ts";
import { encodeAnswer } from "./protocol/handover.ts";

const LISTENS = at("[::]:15008");
const WAITING = 20;

describe("hand-over of listening sockets", function () {
  this.timeout(15_000);
  const dir = mkdtempSync(join(tmpdir(), "zt-test-"));
  const path = join(dir, "h.sock");
  const name = `zt-test-hand-${process.pid}`;
  const lines: string[] = [];
  const log = createLogger("t", { levels: new LogLevels("info"), write: (line) => void lines.push(line) });
  const cleanup: (() => unknown)[] = [];
  let netns: Netns;
  let elsewhere: Netns;
  before(() => {
    for (const ns of [name, `${name}-b`]) {
      execFileSync("ip", ["netns", "add", ns]);
      execFileSync("ip", ["-n", ns, "link", "set", "lo", "up"]);
    }
    netns = hostKernel.openNetns(`/run/netns/${name}`);
    elsewhere = hostKernel.openNetns(`/run/netns/${name}-b`);
  });
  after(() => {
    netns[Symbol.dispose]();
    elsewhere[Symbol.dispose]();
    for (const ns of [name, `${name}-b`]) execFileSync("ip", ["netns", "del", ns]);
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => { lines.length = 0; });
  afterEach(async () => { for (const end of cleanup.splice(0).toReversed()) await end(); });

  const client = (clock: Clock = systemClock): Predecessor => {
    const made = new Predecessor({ path, kernel: hostKernel, clock, log });
    cleanup.push(() => made.close());
    return made;
  };
  const listener = (ns: Netns): number => {
    const made = listenDescriptor(hostKernel.bindStream(ns, LISTENS, { mark: 0x539 }), 128, (c) => c.destroy(), () => undefined);
    cleanup.push(() => made.close());
    return made.fd;
  };
  const dial = async (): Promise<Socket> => {
    const socket = hostKernel.dial(netns, at("127.0.0.1:15008"), {});
    socket.on("error", () => undefined);
    cleanup.push(() => socket.destroy());
    await once(socket, "connect");
    return socket;
  };
  const predecessor = async (): Promise<ChildProcess & { stdin: NodeJS.WritableStream; stdout: NodeJS.ReadableStream }> => {
    const child = spawn(process.execPath, [join(import.meta.dirname, "predecessor.fixture.ts"), `/run/netns/${name}`, path, "[::]:15008"], { stdio: ["pipe", "pipe", "inherit"] });
    cleanup.push(async () => { if (child.kill("SIGKILL")) await once(child, "close"); });
    await once(child.stdout, "data");
    return child;
  };
  const openFds = (): number => readdirSync("/proc/self/fd").length;

  it("connections that nobody accepted, and a handshake that is half done, outlive the death of the one that listened", async () => {
    // Nothing but the hand-over may save them.
    await hostKernel.run(netns, ["sh", "-c", "echo 0 > /proc/sys/net/ipv4/tcp_migrate_req"]);
    const old = await predecessor();
    const [taken, ...more] = await client().take("u", netns.inode);
    assert.ok(taken !== undefined && more.length === 0);
    let listens = false;
    cleanup.push(() => { if (!listens) closeSync(taken.fd); });
    old.stdin.write("freeze\n");
    await once(old.stdout, "data");
    const waiting: Socket[] = [];
    for (let i = 0; i < WAITING; i++) waiting.push(await dial());
    // The last octet of its handshake does not get through yet.
    await hostKernel.applyRules(netns, "table inet t { chain out { type filter hook output priority 0; tcp dport 15008 tcp flags == ack drop\n}\n}");
    waiting.push(await dial());
    old.kill("SIGKILL");
    await once(old, "close");
    await hostKernel.applyRules(netns, "delete table inet t");
    let served = 0;
    const listening = listenDescriptor(taken.fd, 128, (connection) => { served++; connection.attach({ onData: () => undefined, onEnd: () => undefined, onDrain: () => undefined, onClose: () => undefined }); connection.write(Buffer.from("!")); connection.end(); }, () => undefined);
    listens = true;
    cleanup.push(() => listening.close());
    assert.deepEqual(await Promise.all(waiting.map(async (socket) => ((await once(socket, "data")) as [Buffer])[0].toString())), waiting.map(() => "!"));
    assert.equal(served, WAITING + 1);
  });

  it("a successor that dies leaves its predecessor as it was", async () => {
    const fd = listener(netns);
    const server = await offerListeners({ path, kernel: hostKernel, clock: systemClock, log, socketsOf: () => [{ at: LISTENS, fd }] });
    cleanup.push(() => server.close());
    for (let i = 0; i < 3; i++) {
      const successor = client();
      const taken = await successor.take("u", netns.inode);
      assert.equal(taken.length, 1);
      for (const socket of taken) closeSync(socket.fd);
      successor.close();
    }
    await dial();
  });

  it("more sockets than one message carries come in several", async () => {
    const fd = listener(netns);
    const server = await offerListeners({ path, kernel: hostKernel, clock: systemClock, log, socketsOf: () => Array.from({ length: 19 }, () => ({ at: LISTENS, fd })) });
    cleanup.push(() => server.close());
    const taken = await client().take("u", netns.inode);
    for (const socket of taken) closeSync(socket.fd);
    assert.equal(taken.length, 19);
  });

  it("what is no listener in the pod's namespace is neither sent nor kept, and stays open nowhere", async () => {
    const [right, wrong, file] = [listener(netns), listener(elsewhere), openSync("/dev/null", "r")];
    cleanup.push(() => closeSync(file));
    const sockets = [wrong, file, right].map((fd) => ({ at: LISTENS, fd }));
    const honest = await offerListeners({ path, kernel: hostKernel, clock: systemClock, log, socketsOf: () => sockets });
    const first = client();
    const sent = await first.take("u", netns.inode);
    assert.equal(sent.length, 1);
    for (const socket of sent) closeSync(socket.fd);
    first.close();
    await honest.close();
    const liar = await listenUnix(path, (channel) => channel.setHandler({ onEnd: () => undefined, onPacket: () => channel.send(Buffer.from(encodeAnswer({ sockets: sockets.map((s) => s.at), more: false })), sockets.map((s) => s.fd)) }));
    cleanup.push(() => liar.close());
    const second = client();
    // The conversation itself takes descriptors: count while one is going on.
    for (const socket of await second.take("u", netns.inode)) closeSync(socket.fd);
    const before = openFds();
    const kept = await second.take("u", netns.inode);
    assert.equal(kept.length, 1);
    for (const socket of kept) closeSync(socket.fd);
    // What another test left open may close meanwhile.
    assert.ok(openFds() <= before);
    assert.equal(lines.filter((l) => l.includes("is not what it was said to be")).length, 4);
  });

  it("nobody there, or another pod: none", async () => {
    assert.deepEqual(await client().take("u", netns.inode), []);
    const server = await offerListeners({ path, kernel: hostKernel, clock: systemClock, log, socketsOf: () => [] });
    cleanup.push(() => server.close());
    assert.deepEqual(await client().take("u", netns.inode), []);
    assert.deepEqual(lines, []);
  });

  it("an answer that came while we had no processor counts", async () => {
    const fd = listener(netns);
    const answered = Promise.withResolvers<void>();
    const socketsOf = (): ListeningSocket[] => { setImmediate(answered.resolve); return [{ at: LISTENS, fd }]; };
    const server = await offerListeners({ path, kernel: hostKernel, clock: systemClock, log, socketsOf });
    cleanup.push(() => server.close());
    // We ask, and come round again when it is too late; meanwhile the other side is quick.
    let now = 0;
    const slow: Clock = { ...systemClock, monotonic: () => now, sleep: () => { now += 2 * HANDOVER_ANSWER_MS; return answered.promise; } };
    const taken = await client(slow).take("u", netns.inode);
    for (const socket of taken) closeSync(socket.fd);
    assert.deepEqual([taken.length, lines], [1, []]);
  });

  const strange: [string, (channel: Channel) => void][] = [
    ["speaks another version", (channel) => channel.send(Buffer.from('{"version":2,"sockets":[],"more":false}\n'))],
    ["speaks nonsense", (channel) => channel.send(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"))],
    ["hangs up", (channel) => channel.close()],
    ["says nothing", () => undefined],
  ];
  for (const [how, behave] of strange) it(`one that ${how} is not asked again, and not waited for`, async () => {
    let asked = 0;
    const server = await listenUnix(path, (channel) => channel.setHandler({ onEnd: () => undefined, onPacket: () => { asked++; behave(channel); } }));
    cleanup.push(() => server.close());
    const successor = client();
    assert.deepEqual(await successor.take("u", netns.inode), []);
    assert.deepEqual(await successor.take("v", netns.inode), []);
    assert.deepEqual([asked, lines.length], [1, 1]);
  });

  it("whoever asks in another version is hung up on; the end of the old one leaves the new one's socket file", async () => {
    const offer = () => offerListeners({ path, kernel: hostKernel, clock: systemClock, log, socketsOf: () => [] });
    const old = await offer();
    const now = await offer();
    cleanup.push(() => now.close());
    await old.close();
    assert.deepEqual(await client().take("u", netns.inode), []);
    assert.deepEqual(lines, []);
    await now.close();
    assert.deepEqual(readdirSync(dir), []);
  });
});
