import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostKernel, listenSeqpacket, type Channel, type ChannelServer, type Netns } from "@ambit/linux";
import { createLogger, LogLevels, seededRandom, systemClock, type Clock } from "@ambit/runtime";
import { realZdsConversation } from "@ambit/testkit";
import { PodManager, type RunningPod } from "./manager.ts";

const ADD = (uid: string) => Buffer.concat([Buffer.from([0x0a, 0x0d + uid.length, 0x0a, uid.length]), Buffer.from(uid), Buffer.from("12090a016e1201641a0173", "hex")]);
const KEEP_U = Buffer.from("2a030a0175", "hex");
const SENT = Buffer.from("1a00", "hex");

/** An agent that speaks when told to, and a manager whose pods start when told to. */
class Rig {
  readonly dir = mkdtempSync(join(tmpdir(), "zt-test-"));
  readonly path = join(this.dir, "z.sock");
  readonly log: string[] = [];
  readonly channels: Channel[] = [];
  readonly settled: boolean[] = [];
  fail = new Set<string>();
  gate: Promise<void> = Promise.resolve();
  retry: () => void = () => undefined;
  #server: ChannelServer | undefined;
  #wake: (() => void)[] = [];
  manager: PodManager | undefined;

  agent(): void {
    this.#server = listenSeqpacket(this.path, 1024, (channel) => {
      this.channels.push(channel);
      channel.setHandler({ onPacket: (p) => this.note(Buffer.from(p.data).toString("hex")), onEnd: () => this.note("end") });
    });
  }
  async endAgent(): Promise<void> { await this.#server?.close(); this.#server = undefined; }

  start(): PodManager {
    const clock: Clock = { ...systemClock, every: (_ms, task) => { this.retry = task; return { cancel: () => undefined }; } };
    return (this.manager = new PodManager({
      socketPath: this.path, kernel: hostKernel, clock, random: seededRandom(1), log: createLogger("t", { levels: new LogLevels("error"), write: () => undefined }),
      onSettled: (s) => { this.settled.push(s); this.note(`settled ${s}`); },
      start: async (uid, info, netns: Netns): Promise<RunningPod> => {
        this.note(`start ${uid}`);
        await this.gate;
        if (this.fail.has(uid)) throw new Error("no room");
        return { uid, info, stop: () => { this.note(`stop ${uid}`); netns[Symbol.dispose](); } };
      },
    }));
  }

  /** `netns`: which of two namespaces travels along; that the second is of another kind nobody here looks at. */
  say(bytes: Uint8Array, netns?: 1 | 2): void {
    const fd = openSync(netns === 2 ? "/proc/self/ns/ipc" : "/proc/self/ns/net", "r");
    try { this.channels.at(-1)?.send(bytes, netns === undefined ? [] : [fd]); } finally { closeSync(fd); }
  }
  note(what: string): void { this.log.push(what); for (const w of this.#wake.splice(0)) w(); }
  async until(n: number): Promise<string[]> {
    while (this.log.length < n) await new Promise<void>((resolve) => this.#wake.push(resolve));
    return this.log.splice(0);
  }
  /** Everything up to and including this line. */
  async untilLine(line: string | ((line: string) => boolean)): Promise<string[]> {
    while (!this.log.some((l) => (typeof line === "string" ? l === line : line(l)))) await new Promise<void>((resolve) => this.#wake.push(resolve));
    return this.log.splice(0);
  }
  async stop(): Promise<void> {
    this.manager?.close();
    this.manager?.stopAll();
    await this.endAgent();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

describe("PodManager", () => {
  let rig: Rig;
  beforeEach(() => { rig = new Rig(); });
  afterEach(() => rig.stop());

  it("says hello, acknowledges only once a pod runs, and is settled after the snapshot", async () => {
    rig.agent();
    rig.start();
    assert.deepEqual(await rig.until(1), ["0801"]);
    let open = (): void => undefined;
    rig.gate = new Promise((resolve) => { open = resolve; });
    rig.say(ADD("u"), 1);
    rig.say(SENT);
    assert.deepEqual(await rig.until(1), ["start u"]);
    open();
    assert.deepEqual((await rig.until(3)).sort(), ["0a00", "0a00", "settled true"]);
  });
  it("waits for an agent that is not there yet", async () => {
    rig.start();
    rig.agent();
    assert.deepEqual(await rig.until(1), ["0801"]);
  });
  it("keeps pods running over an agent's restart, and stops those that its list leaves out", async () => {
    rig.agent();
    const manager = rig.start();
    await rig.until(1);
    rig.say(ADD("u"), 1);
    await rig.until(2);
    rig.say(ADD("v"), 1);
    await rig.until(2);
    rig.say(SENT);
    await rig.until(2);
    await rig.endAgent();
    assert.deepEqual(manager.running.map((p) => p.uid), ["u", "v"]);
    rig.agent();
    assert.ok((await rig.untilLine("0801")).includes("settled false"));
    rig.say(KEEP_U);
    await rig.until(1);
    rig.say(SENT);
    assert.ok((await rig.untilLine("settled true")).includes("stop v"));
  });
  it("answers with the error of a pod that cannot start, and retries it by itself", async () => {
    rig.agent();
    rig.start();
    await rig.until(1);
    rig.fail.add("u");
    rig.say(ADD("u"), 1);
    const [started, nack] = await rig.until(2);
    assert.deepEqual([started, Buffer.from(nack ?? "", "hex").subarray(4).toString()], ["start u", "no room"]);
    rig.say(SENT);
    await rig.until(1);
    assert.deepEqual(rig.manager?.pending.map((p) => p.uid), ["u"]);
    rig.fail.clear();
    rig.retry();
    assert.deepEqual(await rig.until(2), ["start u", "settled true"]);
  });
  it("ends a connection that breaks the protocol, keeps its pods, and comes back", async () => {
    rig.agent();
    const manager = rig.start();
    await rig.until(1);
    rig.say(ADD("u"), 1);
    await rig.until(2);
    rig.say(ADD("w"));
    await rig.untilLine("0801");
    assert.deepEqual(manager.running.map((p) => p.uid), ["u"]);
  });

  it("answers an agent as the real ztunnel was recorded to", async () => {
    rig.agent();
    rig.start();
    const [hello, ...turns] = realZdsConversation();
    assert.deepEqual(await rig.until(1), [hello?.answer.toString("hex")]);
    rig.fail.add("22222222-2222-3333-4444-555555555555");
    for (const turn of turns) {
      rig.say(turn.told ?? Buffer.alloc(0), turn.netns);
      const answer = turn.answer.toString("hex");
      // A refusal is a refusal in whatever words.
      const is = (line: string) => (answer === "0a00" ? line === "0a00" : line.startsWith("0a") && line.length > 4);
      await rig.untilLine(is);
    }
    assert.deepEqual(rig.manager?.running, []);
    assert.deepEqual(rig.manager?.pending, []);
  });
});
