import assert from "node:assert/strict";
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectSeqpacket, type Channel, type Netns, type Packet } from "@ambit/linux";
import { createLogger, Metrics, systemClock } from "@ambit/runtime";
import { realZdsConversation } from "@ambit/testkit";
import { decodeAck, decodeHello, encodeAdd, encodeDel, encodeKeep, encodeSnapshotSent } from "./encode.ts";
import { ZdsServer, type EnrolledPod } from "./server.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

describe("ZDS bytes (protocol §13.5)", () => {
  it("requests", () => {
    assert.equal(hex(encodeKeep("u")), "2a030a0175");
    assert.equal(hex(encodeDel("u")), "1203120175");
    assert.equal(hex(encodeSnapshotSent()), "1a00");
    assert.equal(hex(encodeAdd({ uid: "u", name: "n", namespace: "d", serviceAccount: "s" })), "0a0e0a017512090a016e1201641a0173");
  });
  it("hello and acks", () => {
    assert.deepEqual(decodeHello(bytes("08 01")), { ok: true, value: 1 });
    assert.deepEqual(decodeAck(bytes("0a 00")), { ok: true, value: "" });
    assert.deepEqual(decodeAck(bytes("0a 03 0a 01 78")), { ok: true, value: "x" });
  });
  for (const bad of ["", "08", "ff ff ff", "12 05"]) it(`"${bad}" is neither`, () => {
    assert.equal(decodeHello(bytes(bad)).ok, false);
    assert.equal(decodeAck(bytes(bad)).ok, false);
  });
});

/** A ztunnel of the test's own: greets, and answers each packet with what `answer` says. */
class FakeZtunnel {
  readonly packets: Packet[] = [];
  readonly ended: Promise<Error | undefined>;
  readonly #channel: Channel;
  #waiting: (() => void)[] = [];

  constructor(path: string, hello: Uint8Array, answer: (packet: Packet) => Uint8Array | undefined = () => bytes("0a 00")) {
    this.#channel = connectSeqpacket(path, 1024);
    this.ended = new Promise((resolve) => this.#channel.setHandler({
      onPacket: (packet) => {
        this.packets.push(packet);
        const reply = answer(packet);
        if (reply !== undefined) this.#channel.send(reply);
        for (const wake of this.#waiting.splice(0)) wake();
      },
      onEnd: resolve,
    }));
    this.#channel.send(hello);
  }
  async received(count: number): Promise<Packet[]> {
    while (this.packets.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.packets;
  }
  close(): void {
    for (const p of this.packets) for (const fd of p.fds) closeSync(fd);
    this.#channel.close();
  }
}

describe("the agent's ZDS server", () => {
  let dir: string;
  let path: string;
  let pods: EnrolledPod[];
  let server: ZdsServer;
  let counts: number[];
  let taken: string[];
  let changed: () => void;
  const own: Netns = { fd: openSync("/proc/self/ns/net", "r"), inode: 0n, [Symbol.dispose]: () => undefined };
  const pod = (uid: string): EnrolledPod => ({ uid, name: uid, namespace: "shop", serviceAccount: "default", netns: own });
  const connected = async (n: number) => { while (counts.at(-1) !== n) await new Promise<void>((resolve) => { changed = resolve; }); };

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "zds-"));
    path = join(dir, "z.sock");
    pods = [];
    counts = [];
    taken = [];
    changed = () => undefined;
    server = new ZdsServer({ path, snapshot: () => pods, onTaken: (p, error) => taken.push(error === undefined ? p.uid : `${p.uid}: ${error}`), onConnected: (n) => { counts.push(n); changed(); }, clock: systemClock, log: createLogger("test", { write: () => undefined }), metrics: new Metrics() });
  });
  afterEach(async () => {
    await server.close();
    rmSync(dir, { recursive: true });
  });
  after(() => closeSync(own.fd));

  it("says to the real ztunnel, octet for octet, what it was recorded with, and understands each answer", async () => {
    // An agent of ours has every namespace it speaks of: it never says "keep".
    const turns = realZdsConversation().filter((t) => !t.title.startsWith("one to keep"));
    const web = (uid: string): EnrolledPod => ({ uid: `${uid.repeat(8)}-2222-3333-4444-555555555555`, name: "web", namespace: "shop", serviceAccount: "web", netns: own });
    pods = [web("1")];
    const [hello, ...rest] = turns;
    assert.ok(hello !== undefined && rest.length === 8);
    const left = [...rest];
    const heard: string[] = [];
    const zt = new FakeZtunnel(path, hello.answer, (packet) => {
      const turn = left.shift();
      heard.push(`${hex(packet.data)} ${packet.fds.length}`);
      return turn?.answer;
    });
    await connected(1);
    await server.add(web("1"));
    await server.add(web("1"));
    await assert.rejects(server.add(web("2")), /failure to start proxy : Bind\(\[::\]:15008/);
    for (const uid of ["2", "1", "3"]) await server.remove(web(uid).uid);
    assert.deepEqual(heard, rest.map((t) => `${hex(t.told ?? Buffer.alloc(0))} ${t.netns === undefined ? 0 : 1}`));
    zt.close();
  });
  it("sends the whole snapshot with descriptors, then the word that it was all", async () => {
    pods = [pod("a"), pod("b")];
    const ztunnel = new FakeZtunnel(path, bytes("08 01"));
    const packets = await ztunnel.received(3);
    assert.deepEqual(packets.map((p) => hex(p.data)), [hex(encodeAdd(pod("a"))), hex(encodeAdd(pod("b"))), "1a00"]);
    assert.deepEqual(packets.map((p) => p.fds.length), [1, 1, 0]);
    assert.equal(fstatSync(packets[0]?.fds[0] ?? -1).ino, fstatSync(own.fd).ino);
    ztunnel.close();
  });
  it("add goes to the latest ztunnel, del to all", async () => {
    const old = new FakeZtunnel(path, bytes("08 01"));
    await connected(1);
    const fresh = new FakeZtunnel(path, bytes("08 01"));
    await connected(2);
    await server.add(pod("x"));
    await server.remove("y");
    assert.deepEqual(old.packets.map((p) => hex(p.data)), ["1a00", hex(encodeDel("y"))]);
    assert.deepEqual(fresh.packets.map((p) => hex(p.data)), ["1a00", hex(encodeAdd(pod("x"))), hex(encodeDel("y"))]);
    old.close();
    fresh.close();
  });
  it("a pod that comes while a second ztunnel is greeted is told to both, one that left is told to neither", async () => {
    const old = new FakeZtunnel(path, bytes("08 01"));
    await connected(1);
    const left = pod("left");
    let gone = false;
    pods = [pod("a"), { ...left, netns: { ...own, get fd(): number { if (gone) throw new Error("let go of"); return own.fd; } } }];
    const fresh = new FakeZtunnel(path, bytes("08 01"), (p) => {
      if (hex(p.data) === hex(encodeAdd(pod("a")))) { gone = true; pods = [...pods.slice(0, 1), pod("late")]; }
      return bytes("0a 00");
    });
    await connected(2);
    assert.deepEqual(fresh.packets.map((p) => hex(p.data)), [hex(encodeAdd(pod("a"))), hex(encodeAdd(pod("late"))), "1a00"]);
    old.close();
    fresh.close();
  });
  it("says of each pod of the snapshot whether it was taken", async () => {
    pods = [pod("a"), pod("b")];
    const ztunnel = new FakeZtunnel(path, bytes("08 01"), (p) => (hex(p.data) === hex(encodeAdd(pod("b"))) ? bytes("0a 03 0a 01 78") : bytes("0a 00")));
    await connected(1);
    assert.deepEqual(taken, ["a", "b: ztunnel says: x"]);
    ztunnel.close();
  });
  it("a refusal rejects with ztunnel's words and keeps the connection", async () => {
    const ztunnel = new FakeZtunnel(path, bytes("08 01"), (p) => (p.fds.length > 0 ? bytes("0a 03 0a 01 78") : bytes("0a 00")));
    await connected(1);
    await assert.rejects(server.add(pod("x")), /ztunnel says: x/);
    await server.remove("x");
    assert.equal(server.connected, 1);
    ztunnel.close();
  });
  it("without a ztunnel an add is refused at once", async () => assert.rejects(server.add(pod("x")), /no ztunnel is connected/));
  it("bytes that are no hello end the connection, not the server", async () => {
    const bad = new FakeZtunnel(path, bytes("ff ff ff"));
    await bad.ended;
    const good = new FakeZtunnel(path, bytes("08 01"));
    await good.received(1);
    good.close();
  });
  it("a ztunnel that goes away is forgotten", async () => {
    const ztunnel = new FakeZtunnel(path, bytes("08 01"));
    await connected(1);
    ztunnel.close();
    await connected(0);
    await assert.rejects(server.add(pod("x")), /no ztunnel/);
  });
  it("words that nothing asked for end the connection", async () => {
    const ztunnel = new FakeZtunnel(path, bytes("08 01"));
    await connected(1);
    const rude = connectSeqpacket(path, 1024);
    const ended = new Promise<void>((resolve) => rude.setHandler({ onPacket: () => { rude.send(bytes("0a 00")); rude.send(bytes("0a 00")); }, onEnd: () => resolve() }));
    rude.send(bytes("08 01"));
    await ended;
    assert.equal(server.connected, 1);
    ztunnel.close();
  });
});
