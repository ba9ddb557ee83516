import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { mkdtempSync, renameSync, rmSync, symlinkSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, systemClock } from "@ambit/runtime";
import { fakeCa } from "@ambit/testkit";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from "../protocol/messages.ts";
import { ca, eventually, MemorySource, plane, serve, Watcher, type Rig } from "../loopback.fixture.ts";
import { parseAddress } from "./control-plane.ts";

describe("xDS client", () => {
  let dir: string;
  let source: MemorySource;
  let rig: Rig;
  const watchers: Watcher[] = [];
  const watch = (...args: ConstructorParameters<typeof Watcher>) => {
    const w = new Watcher(...args);
    watchers.push(w);
    return w;
  };
  before(() => void (dir = mkdtempSync(join(tmpdir(), "ambit-xds-"))));
  after(() => rmSync(dir, { recursive: true }));
  beforeEach(async () => {
    source = new MemorySource();
    source.put("a", "1");
    rig = await serve([source]);
  });
  afterEach(async () => {
    for (const w of watchers.splice(0)) w.close();
    await rig.close();
  });

  it("reads token and roots from files, and connects anew when the roots are swapped as a volume is", async () => {
    const version = (n: number, pem: string) => {
      mkdirSync(join(dir, `..v${n}`));
      writeFileSync(join(dir, `..v${n}`, "root-cert.pem"), pem);
      symlinkSync(`..v${n}`, join(dir, "..tmp"));
      renameSync(join(dir, "..tmp"), join(dir, "..data"));
    };
    version(1, ca.rootPem);
    symlinkSync("..data/root-cert.pem", join(dir, "root-cert.pem"));
    writeFileSync(join(dir, "token"), "good\n");
    const w = watch(rig.port, { connect: plane(rig.port, { roots: join(dir, "root-cert.pem"), token: join(dir, "token") }) });
    await w.client.whenReady();
    assert.equal(w.connects, 1);
    version(2, fakeCa("another").rootPem + ca.rootPem);
    await w.until(() => w.connects === 2);
    assert.equal(w.deliveries.at(-1)?.upserts.length, 0);
  });

  it("re-reads the token for each stream", async () => {
    const token = join(dir, "token2");
    writeFileSync(token, "old");
    const w = watch(rig.port, { connect: plane(rig.port, { token }) });
    await new Promise<void>((resolve) => setImmediate(resolve));
    assert.equal(w.connects, 0);
    writeFileSync(token, "good");
    await w.client.whenReady();
  });

  it("does not trust a server of another CA, or one with another name, and says so", async () => {
    const why = async (o: Parameters<typeof plane>[1]) => {
      const lines: Record<string, unknown>[] = [];
      const w = watch(rig.port, { connect: plane(rig.port, o), log: createLogger("t", { write: (l) => lines.push(JSON.parse(l) as Record<string, unknown>) }) });
      await eventually(() => lines.length > 0);
      w.close();
      return lines[0];
    };
    assert.match(String((await why({ roots: fakeCa().rootPem }))?.["error"]), /certificate/);
    assert.match(String((await why({ altHostname: "evil.example" }))?.["error"]), /evil\.example|altnames/i);
    assert.match(String((await why({ roots: "/nonexistent/root.pem" }))?.["error"]), /cannot read the root certificates \/nonexistent\/root.pem/);
  });

  it("refuses bytes that are no response by ending the stream, and comes back", async () => {
    await rig.close();
    let streams = 0;
    const { Server, ServerCredentials } = await import("@grpc/grpc-js");
    const { deltaMethod } = await import("../wire/method.ts");
    const bad = new Server();
    bad.addService({ delta: { ...deltaMethod, responseSerialize: (b: Buffer) => b } }, {
      delta: (call: { write(b: Buffer): void; on(e: string, f: () => void): void }) => {
        streams++;
        call.on("data", () => call.write(Buffer.from([0xff, 0xff, 0xff])));
        call.on("error", () => undefined);
      },
    });
    const port = await new Promise<number>((resolve) => bad.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (_, p) => resolve(p)));
    const w = watch(port, { connect: plane(port, { address: `http://127.0.0.1:${port}` }) });
    await eventually(() => streams >= 3);
    assert.equal(w.client.ready, false);
    w.close();
    bad.forceShutdown();
    await new Promise<void>((resolve) => bad.tryShutdown(() => resolve()));
  });

  it("gives a black hole up after the connect timeout", async () => {
    const sockets: Socket[] = [];
    const hole = createServer((s) => { sockets.push(s); s.on("error", () => undefined); });
    const port = await new Promise<number>((resolve) => hole.listen(0, "127.0.0.1", () => resolve((hole.address() as { port: number }).port)));
    const timers: { ms: number; task: () => void }[] = [];
    const clock = { ...systemClock, after: (ms: number, task: () => void) => { timers.push({ ms, task }); return { cancel: () => undefined }; } };
    const lines: Record<string, unknown>[] = [];
    const w = watch(port, { clock, log: createLogger("t", { write: (l) => lines.push(JSON.parse(l) as Record<string, unknown>) }) });
    await eventually(() => sockets.length > 0 && timers.some((t) => t.ms === 5_000));
    timers.find((t) => t.ms === 5_000)?.task();
    await eventually(() => lines.length > 0);
    assert.match(String(lines[0]?.["error"]), /no connection to https:\/\/127.0.0.1:\d+ within 5000 ms/);
    w.close();
    for (const s of sockets) s.destroy();
    await new Promise<void>((resolve) => hole.close(() => resolve()));
  });

  it("answers a lookup that gets no answer with timeout, and those under way at close", async () => {
    await rig.close();
    const timers: { ms: number; task: () => void }[] = [];
    const clock = { ...systemClock, after: (ms: number, task: () => void) => { timers.push({ ms, task }); return { cancel: () => undefined }; } };
    const w = watch(rig.port, { clock, types: [{ typeUrl: ADDRESS_TYPE, onDemand: true }] });
    const one = w.client.subscribe(ADDRESS_TYPE, "x");
    assert.equal(w.client.subscribe(ADDRESS_TYPE, "x"), one);
    const two = w.client.subscribe(ADDRESS_TYPE, "y");
    timers[0]?.task();
    assert.equal(await one, "timeout");
    w.close();
    assert.equal(await two, "timeout");
    assert.equal(await w.client.subscribe(ADDRESS_TYPE, "z"), "timeout");
  });

  it("turns a throwing handler into a NACK and stays", async () => {
    let defect = true;
    const w = watch(rig.port, { refuse: () => {
      if (defect) throw new Error("boom");
      return undefined;
    } });
    await eventually(() => rig.xds.clients()[0]?.types[ADDRESS_TYPE]?.nack === "a: defect: boom");
    defect = false;
    source.put("b", "1");
    await w.client.whenReady();
    assert.deepEqual(w.content, { b: "1" });
  });

  it("keeps two types apart", async () => {
    await rig.close();
    const policies = new MemorySource(AUTHORIZATION_TYPE, false);
    policies.put("ns/p", "deny");
    rig = await serve([policies, source]);
    const w = watch(rig.port, { types: [{ typeUrl: ADDRESS_TYPE, onDemand: false }, { typeUrl: AUTHORIZATION_TYPE, onDemand: false }] });
    await w.client.whenReady();
    // Policies go first, whatever the order of the questions: a workload never arrives before what guards it.
    assert.deepEqual(w.deliveries.map((d) => [d.typeUrl, d.upserts.map((u) => u.name)]), [[AUTHORIZATION_TYPE, ["ns/p"]], [ADDRESS_TYPE, ["a"]]]);
    assert.deepEqual(Object.fromEntries(w.client.held(ADDRESS_TYPE)), { a: "v-1" });
  });
});

describe("parseAddress", () => {
  const cases: [string, string][] = [
    ["https://istiod.istio-system.svc:15012", "istiod.istio-system.svc:15012 tls"],
    ["istiod.istio-system.svc", "istiod.istio-system.svc:15012 tls"],
    ["http://127.0.0.1:15010/", "127.0.0.1:15010 plain"],
    ["https://[fd00::1]:15012", "[fd00::1]:15012 tls"],
    ["[fd00::1]", "[fd00::1]:15012 tls"],
  ];
  for (const [text, expected] of cases)
    it(text, () => {
      const { target, secure } = parseAddress(text);
      assert.equal(`${target} ${secure ? "tls" : "plain"}`, expected);
    });
  for (const bad of ["", "https://", "ftp://x:1", "host:0", "host:70000", "host:15012/path", "a b", "fd00::1"])
    it(`refuses "${bad}"`, () => assert.throws(() => parseAddress(bad), { message: /is not a control plane address such as/ }));
});
