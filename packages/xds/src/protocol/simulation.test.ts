import assert from "node:assert/strict";
import { seededRandom, type Random } from "@ambit/runtime";
import { SetChecksum } from "./checksum.ts";
import { DeltaClient } from "./delta-client.ts";
import { ServerSubscription, type Truth } from "./delta-server.ts";
import type { DeltaRequest, DeltaResponse, XdsNode } from "./messages.ts";

// One client and one server over a link that keeps order, and is cut at any moment. Whatever happened, once the link is left
// alone the client holds the server's truth. `SIM_RUNS` makes it longer; a failure names its seed.
const RUNS = Number(process.env["SIM_RUNS"] ?? 150);
const STEPS = 250;
const TYPE = "type.googleapis.com/sim";
const NAMES = Array.from({ length: 12 }, (_, i) => `r${i}`);
const node: XdsNode = { id: "sim", metadata: {} };

/** Resources are texts; "!" in one makes the client refuse it. A name's alias is its upper case; "r0" brings r1 and r2 along. */
class World implements Truth {
  readonly texts = new Map<string, string>();
  names = (): Iterable<string> => this.texts.keys();
  versionOf = (name: string): string | undefined => this.texts.get(name);
  onNode = (): string[] => [];
  checksum(): string {
    const sum = new SetChecksum();
    for (const [name, text] of this.texts) sum.toggle(name, text);
    return sum.text;
  }
  sizeOf = (name: string): number => (this.texts.get(name) ?? "").length;
  resolve(asked: string): string[] {
    const name = asked.toLowerCase();
    const all = name === "r0" && this.texts.has(name) ? ["r0", "r1", "r2"] : [name];
    return all.filter((n) => this.texts.has(n));
  }
}

class Sim {
  readonly world = new World();
  readonly applied = new Map<string, string>();
  readonly client: DeltaClient;
  readonly random: Random;
  readonly onDemand: boolean;
  readonly versioned: boolean;
  server: ServerSubscription | undefined;
  toServer: DeltaRequest[] = [];
  toClient: DeltaResponse[] = [];
  sent = 0;
  lost = 0;
  repairs = 0;
  #edits = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.onDemand = seed % 2 === 1;
    this.versioned = seed % 3 !== 0;
    this.client = new DeltaClient([{ typeUrl: TYPE, onDemand: this.onDemand }]);
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)] as T;
  }

  step(): void {
    const r = this.random();
    if (r < 0.25) this.edit();
    else if (r < 0.30) this.connect();
    else if (r < 0.40 && this.onDemand) this.want();
    else if (r < 0.41) this.server?.settleDoubts();
    else if (r < 0.42) this.server?.audit();
    else if (r < 0.44 && this.versioned && !this.onDemand) this.lose();
    else if (r < 0.60) this.serve();
    else if (r < 0.80) this.deliverToServer();
    else this.deliverToClient();
  }

  edit(): void {
    const touched = new Set<string>();
    for (let i = 0; i <= this.random() * 3; i++) {
      const name = this.pick(NAMES);
      touched.add(name);
      if (this.random() < 0.35) this.world.texts.delete(name);
      else this.world.texts.set(name, `${++this.#edits}${this.random() < 0.15 ? "!" : ""}`);
    }
    this.server?.change(touched, this.world);
  }

  /** Cuts what there is and opens a new stream. */
  connect(): void {
    this.client.close();
    this.toClient = [];
    this.server = new ServerSubscription({ versioned: this.versioned, noncePrefix: "s" });
    this.toServer = this.client.open(node);
  }

  /** A resource or a removal gets lost between the server's books and the client. */
  lose(): void {
    const response = this.toClient.pop();
    if (response === undefined) return;
    this.lost++;
    const drop = <T>(list: readonly T[]): T[] => list.filter((_, i) => i !== 0);
    this.toClient.push({ ...response, resources: drop(response.resources), removed: response.resources.length > 0 ? response.removed : drop(response.removed) });
  }

  want(): void {
    const name = this.pick(NAMES);
    const asked = this.client.want(TYPE, this.random() < 0.5 ? name : name.toUpperCase());
    if (asked.kind === "asked" && asked.request !== undefined) this.toServer.push(asked.request);
  }

  serve(): boolean {
    const chunk = this.server?.next(this.world, { resources: 3, bytes: 10 }, "v");
    if (chunk === undefined) return false;
    this.sent += chunk.upserts.length;
    this.toClient.push({
      typeUrl: TYPE, nonce: chunk.nonce, removed: chunk.removed, partial: chunk.partial, checksum: chunk.checksum,
      resources: chunk.upserts.map((name) => {
        const text = this.world.texts.get(name) ?? "";
        return { name, version: this.versioned ? text : "", aliases: chunk.aliases ? [name.toUpperCase()] : [], bytes: Buffer.from(text) };
      }),
    });
    return true;
  }

  deliverToServer(): boolean {
    const request = this.toServer.shift();
    if (request === undefined || this.server === undefined) return false;
    const changes = request.subscribe.length + request.unsubscribe.length;
    assert.ok(request.nonce === "" || changes === 0, "an ACK carries no subscription change");
    const outcome = this.server.request(request, this.world);
    assert.ok(outcome.kind !== "refused" && outcome.kind !== "stale", JSON.stringify(outcome));
    return true;
  }

  deliverToClient(): boolean {
    const response = this.toClient.shift();
    if (response === undefined) return false;
    const problems = [];
    for (const r of response.resources) {
      const text = Buffer.from(r.bytes).toString();
      if (text.includes("!")) problems.push({ path: r.name, message: "refused" });
      else this.applied.set(r.name, text);
    }
    for (const name of response.removed) this.applied.delete(name);
    const { reply, lost } = this.client.settle(response, problems);
    this.toServer.push(reply);
    if (lost) {
      this.repairs++;
      this.connect();
    }
    return true;
  }

  settle(): void {
    if (this.server === undefined) this.connect();
    const doubts = (): boolean => { const had = this.server?.doubts === true; this.server?.settleDoubts(); return had; };
    for (let moved = true; moved; ) moved = [this.deliverToServer(), this.serve(), this.deliverToClient(), doubts()].some(Boolean);
  }

  check(): void {
    for (const [name, text] of this.applied) {
      const truth = this.world.texts.get(name);
      assert.ok(truth !== undefined, `${name} is gone, the client still has it`);
      assert.ok(truth === text || truth.includes("!"), `${name} is "${truth}", the client has "${text}"`);
    }
    if (!this.onDemand)
      for (const [name, text] of this.world.texts) if (!text.includes("!")) assert.equal(this.applied.get(name), text, `${name} is missing`);
    assert.equal(this.server?.status().unacked, 0);
  }
}

describe("delta xDS over a link that is cut", () => {
  it("converges to the server's truth", () => {
    let losses = 0;
    let repairs = 0;
    for (let seed = 0; seed < RUNS; seed++) {
      const sim = new Sim(seed);
      try {
        for (let i = 0; i < STEPS; i++) sim.step();
        sim.settle();
        // What got lost is found and repaired by audits, two at most: one that resumes, one that asks for everything.
        const refuses = [...sim.client.held(TYPE).values()].includes("");
        for (let i = 0; i < 2 && sim.lost > 0; i++) {
          sim.server?.audit();
          sim.settle();
        }
        losses += sim.lost;
        repairs += sim.repairs;
        // A client that refuses something cannot be compared with; a new stream still mends it, but for what it refuses.
        if (sim.lost > 0 && refuses) { sim.connect(); sim.settle(); }
        sim.check();
        // Once settled, a new stream brings only what the client refused.
        const before = sim.sent;
        sim.connect();
        sim.settle();
        sim.check();
        const refused = [...sim.client.held(TYPE).values()].filter((v) => v === "").length;
        if (sim.versioned && !sim.onDemand) assert.equal(sim.sent - before, refused, "resume sent what the client holds");
        // Nothing is repaired that is not broken.
        if (sim.lost === 0) assert.equal(sim.repairs, 0);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    assert.ok(losses > RUNS / 4 && repairs > 0, `${losses} lost, ${repairs} repairs`);
  });
});
