// Two traffic threads on real network namespaces: what one thread does is tested elsewhere; here, that several are one ztunnel. Needs root.
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { security } from "@ambit/proto";
import { member, pod as wirePod, svc, type WirePolicy } from "@ambit/proxy/testing";
import { MeshError } from "@ambit/core";
import { hostKernel } from "@ambit/linux";
import { Metrics } from "@ambit/runtime";
import { City, type CityPod } from "../city.fixture.ts";
import { workerThreads } from "../config.ts";
import { answer, Asking } from "./asking.ts";
import type { Answered } from "./messages.ts";

/** That all of them come to one of two threads by chance: one in eight million. */
const CONNECTIONS = 24;

describe("two traffic threads", function () {
  this.timeout(30_000);
  const city = new City();
  let client: CityPod;
  let server: CityPod;

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    city.put({ workload: wirePod("client", "10.77.0.1") }, { service: svc("web", "10.96.0.1") }, { workload: wirePod("server", "10.77.0.2", { services: member("web") }) });
    await city.listen(server, 8080, (socket) => socket.pipe(socket));
    await city.startZtunnel({ ZTUNNEL_WORKER_THREADS: "2", RUST_LOG: "warn,access=off,ztunnel=info" });
    await city.connected();
    for (const pod of [client, server]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(() => city.stop());

  const admin = async (path: string): Promise<string> => (await fetch(`http://127.0.0.1:${city.ztunnel.adminPort}${path}`)).text();
  async function echoed(): Promise<Socket> {
    const socket = await city.dial(client, "10.96.0.1:80");
    socket.write("x");
    await once(socket, "data");
    return socket;
  }
  const sum = (body: string, name: string, label = ""): number => [...body.matchAll(new RegExp(`^${name}\\{[^}]*${label}[^}]*\\} (\\d+)$`, "gm"))].reduce((n, m) => n + Number(m[1]), 0);

  it("share the connections of a pod, are scraped and dumped as one, and judge what is open again when a policy comes", async () => {
    const open: Socket[] = [];
    for (let i = 0; i < CONNECTIONS; i++) open.push(await echoed());
    // Each thread has tunnels of its own: established connections of port 15008.
    const sockets = await hostKernel.run(server.netns, ["cat", "/proc/net/tcp6", "/proc/net/tcp"]);
    assert.ok([...sockets.matchAll(/^ *\d+: \S+:3AA0 \S+ 01 /gm)].length >= 2, sockets);
    const body = await (await fetch(`http://127.0.0.1:${city.ztunnel.statsPort}/metrics`)).text();
    assert.equal(sum(body, "istio_tcp_connections_opened_total"), 2 * CONNECTIONS, "each side counts each connection once");
    assert.deepEqual([0, 1].map((t) => sum(body, "ambit_thread_tunnels", `thread="${t}"`)), [1, 1], "two tunnels, one for each thread, whatever the kernel's hash says");
    assert.match(body, /istio_build\{[^}]*\} 1\n/);
    assert.match(body, /workload_manager_active_proxy_count 2\n/);
    assert.equal(sum(city.ztunnel.metrics.expose(), "istio_tcp_connections_opened_total"), 0, "the main thread carries none");
    const dump = JSON.parse(await admin("/config_dump")) as { workloadState: Record<string, { connections: { inbound: object[]; outbound: object[] } }> };
    assert.deepEqual([dump.workloadState["uid-client"]?.connections.outbound.length, dump.workloadState["uid-server"]?.connections.inbound.length], [CONNECTIONS, CONNECTIONS]);

    const ends = Promise.all(open.map((socket) => new Promise<string>((resolve) => socket.once("error", (e: NodeJS.ErrnoException) => resolve(e.code ?? "")).once("end", () => resolve("end")))));
    const deny: WirePolicy = { name: "deny", namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.DENY, rules: [{ clauses: [{ matches: [{ destinationPorts: [8080] }] }] }] };
    city.put({ policy: deny });
    assert.deepEqual(new Set(await ends), new Set(["ECONNRESET"]));
    city.dropPolicy("ns/deny");
    for (let served = false; !served; ) served = await echoed().then((s) => { s.destroy(); return true; }, () => false);
  });

  it("a pod that leaves is served by none of them", async () => {
    const open = await echoed();
    const end = new Promise((resolve) => open.on("error", () => undefined).on("close", resolve));
    assert.equal(await city.del(client), "");
    await end;
    for (let open = -1; open !== 0; ) open = sum(await (await fetch(`http://127.0.0.1:${city.ztunnel.statsPort}/metrics`)).text(), "ambit_thread_tunnels");
    for (let refused = false; !refused; ) refused = await echoed().then((s) => { s.destroy(); return false; }, () => true);
    assert.equal(await city.add(client), "");
    (await echoed()).destroy();
  });
});

describe("questions between threads", () => {
  it("find their answers, and errors keep their code", async () => {
    const asking = new Asking<{ double: { ask: number; answer: number } }>((m) => answer(m.id, () => {
      if (m.ask === 0) throw new MeshError("identity-unavailable", "none");
      if (m.ask === -1) throw new Error("odd");
      return 2 * Number(m.ask);
    }, (a: Answered) => asking.answered(structuredClone(a))));
    assert.deepEqual(await Promise.all([asking.ask("double", 2), asking.ask("double", 5)]), [4, 10]);
    await assert.rejects(asking.ask("double", 0), { code: "identity-unavailable", message: "none" });
    await assert.rejects(asking.ask("double", -1), /odd/);
  });
});

describe("metrics of several threads", () => {
  it("are added by labels, histograms too, and what only others have is there", () => {
    const [a, b] = [new Metrics(), new Metrics()];
    for (const m of [a, b]) {
      m.counter("c", "C.").with({ x: "1" }).inc(2);
      m.histogram("h", "H.", [1, 5]).with({}).observe(3);
    }
    b.counter("c", "C.").with({ x: "2" }).inc(7);
    b.gauge("g", "G.").with({}).set(4);
    const text = a.expose([structuredClone(b.snapshot())]);
    for (const line of ['c{x="1"} 4', 'c{x="2"} 7', "g 4", 'h_bucket{le="1"} 0', 'h_bucket{le="5"} 2', 'h_bucket{le="+Inf"} 2', "h_sum 6", "h_count 2"]) assert.ok(text.includes(`${line}\n`), `${line} in\n${text}`);
    assert.ok(a.expose().includes('c{x="1"} 2\n'), "and leave our own as they are");
  });
});

describe("the number of threads", () => {
  const cases: [string, number][] = [["1", 1], ["2", 2], ["0", 8], ["50%", 4], ["1%", 1], ["100%", 8], ["12.6%", 2]];
  for (const [text, threads] of cases) it(`${text} of 8 processors: ${threads}`, () => assert.equal(workerThreads(text, true, 8), threads));
  for (const text of ["", "-1", "two", "0%", "101%", "1.5", "65"]) it(`"${text}" is refused`, () => assert.throws(() => workerThreads(text, true, 8), /ZTUNNEL_WORKER_THREADS/));
  it("several need shared ports", () => assert.throws(() => workerThreads("2", false, 8), /INPOD_PORT_REUSE/));
});
