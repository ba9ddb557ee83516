import assert from "node:assert/strict";
import type { Identity } from "@ambit/core";
import { AUTHORIZATION_TYPE, ADDRESS_TYPE } from "../protocol/messages.ts";
import { createLogger, seededRandom } from "@ambit/runtime";
import { encodeRequest } from "../wire/encode.ts";
import { blackHole, eventually, MemorySource, node, plane, rawStream, serve, Watcher, type Rig, type RigOptions } from "../loopback.fixture.ts";

describe("xDS over TLS gRPC", () => {
  const rigs: Rig[] = [];
  const watchers: Watcher[] = [];
  const start = async (sources: MemorySource[], o?: RigOptions) => {
    const rig = await serve(sources, o);
    rigs.push(rig);
    return rig;
  };
  const watch = (...args: ConstructorParameters<typeof Watcher>) => {
    const w = new Watcher(...args);
    watchers.push(w);
    return w;
  };
  afterEach(async () => {
    for (const w of watchers.splice(0)) w.close();
    await Promise.all(rigs.splice(0).map((r) => r.close()));
  });

  it("delivers what is there, then each change and removal", async () => {
    const source = new MemorySource();
    source.putAll([["a", "1"], ["b", "1"]]);
    const rig = await start([source]);
    const w = watch(rig.port);
    await w.client.whenReady();
    assert.deepEqual(w.content, { a: "1", b: "1" });
    source.put("a", "2");
    await w.until(() => w.state.get("a") === "2");
    source.drop("b");
    await w.until(() => !w.state.has("b"));
    assert.deepEqual(w.deliveries.slice(1).map((d) => [d.upserts.map((u) => u.name), d.removed]), [[["a"], []], [[], ["b"]]]);
  });

  it("answers an empty set, so that a client gets ready", async () => {
    const rig = await start([new MemorySource(), new MemorySource(AUTHORIZATION_TYPE, false)]);
    const w = watch(rig.port, { types: [{ typeUrl: ADDRESS_TYPE, onDemand: false }, { typeUrl: AUTHORIZATION_TYPE, onDemand: false }] });
    await w.client.whenReady();
    assert.deepEqual(w.content, {});
  });

  it("sends only what changed when a client comes back, also to a new server", async () => {
    const source = new MemorySource();
    source.putAll([["a", "1"], ["b", "1"], ["c", "1"]]);
    const rig = await start([source]);
    const w = watch(rig.port);
    await w.client.whenReady();
    await rig.close();
    await w.until(() => w.ended.length === 1);
    source.put("b", "2");
    source.drop("c");
    source.put("d", "1");
    await start([source], { port: rig.port });
    await w.until(() => w.state.has("d") && !w.state.has("c"));
    assert.deepEqual(w.content, { a: "1", b: "2", d: "1" });
    const resumed = w.deliveries.slice(1);
    assert.deepEqual(resumed.flatMap((d) => d.upserts.map((u) => u.name)).sort(), ["b", "d"]);
    assert.deepEqual(resumed.flatMap((d) => d.removed), ["c"]);
  });

  it("takes nothing away from a client that comes back while it may lag itself, then what is really gone", async () => {
    const [one, two] = [new MemorySource(), new MemorySource()];
    one.putAll([["a", "1"], ["new", "1"], ["gone", "1"]]);
    const rig = await start([one]);
    const w = watch(rig.port);
    await w.client.whenReady();
    await rig.close();
    await w.until(() => w.ended.length === 1);
    // Another replica has lost its API server before "new" was made; it does not know that "gone" is gone, either.
    two.put("a", "1");
    let fresh = false;
    await start([two], { port: rig.port, fresh: () => fresh });
    await w.until(() => w.connects === 2);
    two.put("a", "2");
    await w.until(() => w.state.get("a") === "2");
    assert.deepEqual(w.content, { a: "2", gone: "1", new: "1" });
    two.put("new", "1");
    fresh = true;
    await w.until(() => !w.state.has("gone"));
    assert.deepEqual(w.content, { a: "2", new: "1" });
    assert.deepEqual(w.deliveries.flatMap((d) => d.removed), ["gone"]);
  });

  it("lets go of a client whose network has vanished, by pings", async () => {
    const source = new MemorySource();
    source.put("a", "1");
    const rig = await start([source], { grpc: { "grpc.keepalive_time_ms": 100, "grpc.keepalive_timeout_ms": 100 } });
    const network = await blackHole(rig.port);
    try {
      const raw = rawStream(network.port);
      raw.write(encodeRequest({ node, typeUrl: ADDRESS_TYPE, subscribe: [], unsubscribe: [], initialVersions: new Map(), nonce: "", error: undefined }));
      await eventually(() => rig.xds.clients().length === 1);
      network.vanish();
      await eventually(() => rig.xds.clients().length === 0);
      raw.close();
    } finally {
      await network.close();
    }
  });

  it("sends types without versions in full again, without a version", async () => {
    const source = new MemorySource(AUTHORIZATION_TYPE, false);
    source.put("ns/p", "1");
    const rig = await start([source]);
    const w = watch(rig.port, { types: [{ typeUrl: AUTHORIZATION_TYPE, onDemand: false }] });
    await w.client.whenReady();
    await rig.close();
    await w.until(() => w.ended.length === 1);
    await start([source], { port: rig.port });
    await w.until(() => w.deliveries.length === 2);
    assert.deepEqual(w.deliveries[1]?.upserts.map((u) => [u.name, u.version]), [["ns/p", ""]]);
  });

  it("keeps the good resources of a refused push and shows the NACK", async () => {
    const source = new MemorySource();
    source.putAll([["bad", "x"], ["good", "1"]]);
    const rig = await start([source]);
    const w = watch(rig.port, { refuse: (name, text) => (name === "bad" && text === "x" ? "not a workload" : undefined) });
    await eventually(() => rig.xds.clients()[0]?.types[ADDRESS_TYPE]?.nack !== undefined && rig.xds.clients()[0]?.types[ADDRESS_TYPE]?.nack !== "");
    assert.equal(rig.xds.clients()[0]?.types[ADDRESS_TYPE]?.nack, "bad: not a workload");
    assert.deepEqual(w.content, { good: "1" });
    assert.equal(w.client.ready, false);
    assert.match(rig.metrics.expose(), /pilot_total_xds_rejects\{type="[^"]+Address"\} 1/);
    source.put("bad", "fine");
    await w.client.whenReady();
    assert.deepEqual(w.content, { bad: "fine", good: "1" });
    await eventually(() => rig.xds.clients()[0]?.types[ADDRESS_TYPE]?.nack === "");
  });

  it("sends 5,000 resources in chunks, and is ready only after the last", async () => {
    const source = new MemorySource();
    source.putAll(Array.from({ length: 5_000 }, (_, i) => [`w-${i}`, `${i} ${"x".repeat(300)}`] as const));
    const rig = await start([source]);
    const w = watch(rig.port);
    await w.client.whenReady();
    assert.equal(w.state.size, 5_000);
    assert.equal(w.deliveries.length, 10);
    await eventually(() => rig.xds.clients()[0]?.types[ADDRESS_TYPE]?.unacked === 0);
    const s = rig.xds.clients()[0]?.types[ADDRESS_TYPE];
    assert.deepEqual([s?.mode, s?.pending, s?.sentNonce, s?.ackedNonce], ["wildcard", 0, "0-10", "0-10"]);
  });

  it("coalesces changes while a client does not read, and holds two responses at most", async () => {
    const source = new MemorySource();
    const rig = await start([source]);
    const slow = rawStream(rig.port);
    slow.stream.pause();
    slow.write(encodeRequest({ node, typeUrl: ADDRESS_TYPE, subscribe: [], unsubscribe: [], initialVersions: new Map(), nonce: "", error: undefined }));
    const fast = watch(rig.port);
    await fast.client.whenReady();
    // Nobody reads `slow`: its window (64 KiB) is full after the first round.
    for (let round = 1; round <= 30; round++) {
      source.putAll(Array.from({ length: 20 }, (_, i) => [`w-${i}`, `${round} ${"y".repeat(20_000)}`] as const));
      await fast.until(() => fast.state.get("w-19")?.startsWith(`${round} `) === true);
    }
    const unacked = rig.xds.clients().map((c) => c.types[ADDRESS_TYPE]?.unacked ?? 0);
    assert.ok(Math.max(...unacked) <= 4, `unacked: ${unacked.join(",")}`);
    const pending = rig.xds.clients().map((c) => c.types[ADDRESS_TYPE]?.pending ?? 0);
    assert.equal(Math.max(...pending), 20);
    slow.stream.resume();
    await eventually(() => rig.xds.clients().every((c) => c.types[ADDRESS_TYPE]?.pending === 0));
    slow.close();
    await eventually(() => rig.xds.clients().length === 1);
  });

  it("refuses a wrong token, a foreign namespace, a stream without node, and too many streams", async () => {
    const rig = await start([new MemorySource()], { bounds: { streamsMax: 1 } });
    const ended = async (o: ConstructorParameters<typeof Watcher>[1] & { token?: string }) => {
      const { token, ...rest } = o;
      const lines: Record<string, unknown>[] = [];
      const w = watch(rig.port, { ...rest, connect: plane(rig.port, { token: token ?? "good" }),
        log: createLogger("t", { write: (l) => lines.push(JSON.parse(l) as Record<string, unknown>) }) });
      await eventually(() => lines.some((l) => l["msg"] === "control plane stream ended"));
      w.close();
      const line = lines.find((l) => l["msg"] === "control plane stream ended");
      await eventually(() => rig.xds.clients().length === 0);
      return [line?.["code"], line?.["error"]];
    };
    assert.deepEqual(await ended({ token: "wrong" }), [16, "authentication failure"]);
    assert.deepEqual(await ended({ node: { id: "ztunnel~10.0.0.1~z.other~other.svc.cluster.local", metadata: {} } }),
      [7, 'node says namespace "other", the token says "istio-system"']);
    assert.deepEqual(await ended({ node: { id: "", metadata: {} } }), [3, "the first request carries no node"]);
    const first = watch(rig.port);
    await first.client.whenReady();
    const lines: Record<string, unknown>[] = [];
    const second = watch(rig.port, { log: createLogger("t", { write: (l) => lines.push(JSON.parse(l) as Record<string, unknown>) }) });
    await eventually(() => lines.some((l) => l["msg"] === "control plane stream ended"));
    assert.deepEqual(lines.filter((l) => l["msg"] === "control plane stream ended").slice(0, 1).map((l) => [l["code"], l["error"]]), [[8, "more than 1 streams"]]);
    assert.deepEqual([first.client.ready, second.client.ready, rig.xds.clients().length], [true, false, 1]);
  });

  it("serves an on-demand client only what it asks for, with aliases, and tells it of misses and changes", async () => {
    const source = new MemorySource();
    source.put("uid-1", "pod", ["/10.0.0.1"]);
    source.put("uid-2", "other", ["/10.0.0.2"]);
    const rig = await start([source]);
    const w = watch(rig.port, { types: [{ typeUrl: ADDRESS_TYPE, onDemand: true }] });
    await w.until(() => w.connects === 1);
    assert.equal(w.client.ready, true);
    assert.equal(await w.client.subscribe(ADDRESS_TYPE, "/10.0.0.1"), "found");
    assert.deepEqual(w.content, { "uid-1": "pod" });
    assert.equal(await w.client.subscribe(ADDRESS_TYPE, "/10.9.9.9"), "missing");
    source.put("uid-1", "pod2", ["/10.0.0.1"]);
    source.put("uid-2", "unseen", ["/10.0.0.2"]);
    await w.until(() => w.state.get("uid-1") === "pod2");
    source.drop("uid-1");
    await w.until(() => w.state.size === 0);
    assert.equal(w.deliveries.some((d) => d.upserts.some((u) => u.name === "uid-2")), false);
  });

  it("survives hostile frames: each ends its own stream and no other", async () => {
    const source = new MemorySource();
    source.put("a", "1");
    const rig = await start([source]);
    const w = watch(rig.port);
    await w.client.whenReady();
    const random = seededRandom(7);
    const good = encodeRequest({ node, typeUrl: ADDRESS_TYPE, subscribe: ["x", "*"], unsubscribe: ["y"],
      initialVersions: new Map([["a", "v"], ["__proto__", "v"]]), nonce: "", error: "e" });
    for (let i = 0; i < 150; i++) {
      const raw = rawStream(rig.port);
      raw.stream.resume();
      const bytes = mutate(good, random);
      if (i % 3 === 0) raw.stream.write(bytes);
      else raw.write(bytes);
      if (i % 2 === 0) raw.stream.end();
      else raw.close();
      await raw.closed;
      raw.close();
    }
    await eventually(() => rig.xds.clients().length === 1);
    source.put("a", "2");
    await w.until(() => w.state.get("a") === "2");
    assert.equal(w.ended.length, 0);
    assert.match(rig.metrics.expose(), /^pilot_xds 1$/m);
  });

  describe("resources with an owner", () => {
    class Owned extends MemorySource {
      owner = "default";
      permits(name: string, identity: Identity): boolean { return name.startsWith(`${identity.serviceAccount === this.owner ? identity.namespace : "?"}/`); }
    }
    const identity: Identity = { trustDomain: "cluster.local", namespace: "app", serviceAccount: "default" };
    const authenticate = () => Promise.resolve({ identity });
    const own = { ...node, metadata: { ...node.metadata, NAMESPACE: "app" } };
    const ask = (rig: Rig, subscribe: string[], unsubscribe: string[] = []) => {
      const raw = rawStream(rig.port);
      raw.stream.resume();
      raw.write(encodeRequest({ node: own, typeUrl: ADDRESS_TYPE, subscribe, unsubscribe, initialVersions: new Map(), nonce: "", error: undefined }));
      return raw;
    };

    for (const [what, subscribe] of [["another's by name", ["other/w"]], ["everything", ["*"]], ["everything by naming nothing", []]] as const)
      it(`are refused to who asks for ${what}`, async () => {
        const source = new Owned();
        source.putAll([["app/w", "1"], ["other/w", "1"]]);
        const raw = ask(await start([source], { authenticate }), [...subscribe]);
        assert.equal((await raw.trailers)["grpc-status"], "7");
        raw.close();
      });
    it("go to their owner, and are taken away with the ownership", async () => {
      const source = new Owned();
      source.putAll([["app/w", "1"]]);
      const rig = await start([source], { authenticate });
      const w = watch(rig.port, { types: [{ typeUrl: ADDRESS_TYPE, onDemand: true }], node: own });
      assert.equal(await w.client.subscribe(ADDRESS_TYPE, "app/w"), "found");
      source.owner = "somebody-else";
      source.put("app/w", "2");
      await w.until(() => !w.state.has("app/w"));
    });
  });

  it("ends a stream that says nothing", async () => {
    const rig = await start([new MemorySource()], { bounds: { firstRequestMs: 20 } });
    const silent = rawStream(rig.port);
    assert.equal((await silent.trailers)["grpc-status"], "4");
    silent.close();
  });

  it("ends a stream that asks for too much", async () => {
    const rig = await start([new MemorySource()]);
    const long = rawStream(rig.port);
    long.write(encodeRequest({ node, typeUrl: ADDRESS_TYPE, subscribe: ["n".repeat(3000)], unsubscribe: [], initialVersions: new Map(), nonce: "", error: undefined }));
    assert.equal((await long.trailers)["grpc-status"], "3");
    long.close();
  });

  it("answers requests for a type it does not serve with an empty response", async () => {
    const rig = await start([new MemorySource()]);
    const w = watch(rig.port, { types: [{ typeUrl: "type.googleapis.com/nobody.knows", onDemand: false }] });
    await w.client.whenReady();
    assert.deepEqual(w.deliveries.map((d) => [d.typeUrl, d.upserts, d.removed]), [["type.googleapis.com/nobody.knows", [], []]]);
  });

  it("resumes without a resource when the server ends connections by age", async () => {
    const source = new MemorySource();
    source.putAll([["a", "1"], ["b", "1"]]);
    const rig = await start([source], { grpc: { "grpc.max_connection_age_ms": 150, "grpc.max_connection_age_grace_ms": 50 } });
    const w = watch(rig.port);
    // On a machine that has no time a connection may end before anything was said on it.
    await w.until(() => w.deliveries.length >= 4);
    assert.ok(w.connects >= 4);
    assert.deepEqual(w.content, { a: "1", b: "1" });
    assert.deepEqual(w.deliveries.map((d) => d.upserts.length + d.removed.length).slice(0, 4), [2, 0, 0, 0]);
    await eventually(() => rig.xds.clients().length === 1);
  });

  it("refuses streams until its caches are synced", async () => {
    let ready = false;
    const rig = await start([new MemorySource()], { ready: () => ready });
    const w = watch(rig.port);
    const raw = rawStream(rig.port);
    raw.stream.resume();
    assert.equal((await raw.trailers)["grpc-status"], "14");
    raw.close();
    ready = true;
    await w.client.whenReady();
  });
});

function mutate(bytes: Buffer, random: () => number): Buffer {
  const out = Buffer.from(bytes);
  const edits = 1 + Math.floor(random() * 4);
  for (let i = 0; i < edits; i++) out[Math.floor(random() * out.length)] = Math.floor(random() * 256);
  return random() < 0.3 ? out.subarray(0, Math.floor(random() * out.length)) : out;
}
