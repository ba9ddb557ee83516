// One ztunnel after another on real network namespaces: what is open, what waits, what is asked meanwhile. Needs root.
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { workload } from "@ambit/proto";
import { hostKernel } from "@ambit/linux";
import { City, ending, firstLine, readAll, type CityPod } from "./city.fixture.ts";
import { query } from "./dns/query.fixture.ts";
import { ip, member, pod as wirePod, svc } from "@ambit/proxy/testing";

describe("upgrade and end of a ztunnel", function () {
  this.timeout(20_000);
  const city = new City();
  let client: CityPod;
  let bob: CityPod;
  let server: CityPod;
  let outside: CityPod;

  /** As a DaemonSet's surge does it; resolves when the new one is ready. The old one goes on. */
  async function successor(more: Record<string, string> = {}): Promise<void> {
    await city.startZtunnel({ CONNECTION_TERMINATION_DEADLINE: "60s", ...more });
    await city.connectedAgain();
    for (const pod of [client, server, bob]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
    city.lines.length = 0;
  }

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    outside = await city.pod("outside", "10.77.0.3", false);
    bob = await city.pod("bob", "10.77.0.4");
    city.put({ workload: wirePod("client", "10.77.0.1") }, { workload: wirePod("bob", "10.77.0.4") }, { service: svc("web", "10.96.0.1") },
      { workload: wirePod("server", "10.77.0.2", { services: member("web") }) }, { workload: wirePod("outside", "10.77.0.3", { tunnelProtocol: workload.TunnelProtocol.NONE }) });
    // Says who connects, then echoes.
    await city.listen(server, 8080, (socket) => { socket.write(`hello ${socket.remoteAddress}\n`); socket.pipe(socket); });
    await successor();
  });
  after(() => city.stop());
  beforeEach(() => { city.lines.length = 0; });

  it("a successor takes over; what is open is finished by the old one; nothing is refused", async () => {
    const old = city.ztunnel;
    const open = await city.dial(client, "10.96.0.1:80");
    await firstLine(open);
    await successor();
    const drained = old.drain();
    const results = await Promise.all(Array.from({ length: 50 }, async () => {
      const socket = await city.dial(client, "10.96.0.1:80");
      socket.end();
      return readAll(socket);
    }));
    assert.deepEqual([...new Set(results)], ["hello 10.77.0.1\n"]);
    open.end("late");
    assert.equal(await readAll(open), "late");
    await drained;
  });
  /** Port and inode of what listens in a pod. */
  const listening = async (pod: CityPod): Promise<string[]> => {
    const lines = await hostKernel.run(pod.netns, ["cat", "/proc/net/tcp6", "/proc/net/tcp"]);
    return [...lines.matchAll(/^ *\d+: \w+:(\w{4}) \w+:0000 0A (?:\S+ +){5}(\d+) /gm)].map((m) => `${parseInt(m[1] ?? "", 16)} ${m[2]}`).filter((l) => l.startsWith("150")).sort();
  };
  it("successors listen on the very sockets of their predecessors, however many threads either has", async function () {
    this.timeout(60_000); // threads start slowly on a loaded machine
    for (const threads of [1, 1, 2, 1]) {
      const before = await listening(client);
      const old = city.ztunnel;
      await successor({ ZTUNNEL_WORKER_THREADS: String(threads), RUST_LOG: "off,ztunnel=info" });
      await old.drain();
      const after = await listening(client);
      assert.deepEqual(before.filter((l) => !after.includes(l)), [], "none was closed");
      // Three ports, and names at two addresses; a thread that got none of a port made its own.
      assert.equal(after.length, Math.max(before.length, 2 + 3 * threads));
      const socket = await city.dial(client, "10.96.0.1:80");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.1\n");
    }
  });
  it("without a hand-over a successor binds beside its predecessor", async () => {
    const before = await listening(client);
    const old = city.ztunnel;
    await successor({ AMBIT_HANDOVER: "off" });
    assert.ok((await listening(client)).length > before.length);
    await old.drain();
    const after = await listening(client);
    assert.deepEqual(after.filter((l) => before.includes(l)), []);
    const socket = await city.dial(client, "10.96.0.1:80");
    socket.end();
    assert.equal(await readAll(socket), "hello 10.77.0.1\n");
  });
  it("no question about a name is lost when a predecessor ends: those that nobody read yet are answered too", async () => {
    const old = city.ztunnel;
    await successor();
    // The kernel gives each port to one of the two: with so many, both have some.
    const asking = Array.from({ length: 64 }, () => hostKernel.bindDatagram(client.netns, { ip: ip("0.0.0.0"), port: 0 }, {}));
    try {
      const answers = asking.map((socket) => once(socket, "message", { signal: AbortSignal.timeout(8_000) }).then(() => "answered", () => "lost"));
      await Promise.all(asking.map((socket) => new Promise((sent) => socket.send(query("web"), 53, "10.77.0.3", sent))));
      // The questions are in the kernel's queues, and our event loop has not turned since.
      await old.drain();
      assert.equal((await Promise.all(answers)).filter((a) => a === "lost").length, 0);
    } finally {
      for (const socket of asking) socket.close();
    }
  });
  it("connections that stay open end spread over the window, idle ones first, with an end rather than a reset", async () => {
    await city.ztunnel.drain();
    await successor({ CONNECTION_TERMINATION_DEADLINE: "2s" });
    const began = performance.now();
    const open = async (): Promise<{ socket: Socket; end: Promise<{ how: string; atMs: number }> }> => {
      const socket = await city.dial(client, "10.96.0.1:80");
      await firstLine(socket);
      return { socket, end: ending(socket).then((how) => ({ how, atMs: performance.now() - began })) };
    };
    const idle = [await open(), await open(), await open()];
    const busy = await open();
    const talk = setInterval(() => busy.socket.write("x"), 20);
    await city.ztunnel.drain();
    clearInterval(talk);
    const ends = (await Promise.all(idle.map((c) => c.end))).sort((a, b) => a.atMs - b.atMs);
    const last = await busy.end;
    assert.deepEqual(ends.map((e) => e.how), ["closed", "closed", "closed"]);
    const [first, , third] = ends.map((e) => e.atMs);
    assert.ok(first !== undefined && third !== undefined && third - first > 300, `idle ones ended at ${ends.map((e) => Math.round(e.atMs)).join(", ")} ms`);
    assert.ok(last.atMs > third && last.atMs >= 1_500, `the busy one ended at ${Math.round(last.atMs)} ms`);
    city.zt = undefined;
  });
  it("after its end nothing of the pods leaves in the clear", async () => {
    await assert.rejects(city.dial(client, "10.77.0.3:8080"), { code: "ECONNREFUSED" });
    await assert.rejects(city.dial(outside, "10.77.0.2:8080"), { code: "ECONNREFUSED" });
  });
});
