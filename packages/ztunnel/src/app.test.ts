// ztunnel as a whole, on real network namespaces with real redirection. Needs root: it fails, rather than skips, without.
import assert from "node:assert/strict";
import { once } from "node:events";
import { security, workload } from "@ambit/proto";
import { hostKernel } from "@ambit/linux";
import { seededRandom } from "@ambit/runtime";
import { City, ending, firstLine, readAll, type CityPod } from "./city.fixture.ts";
import { framed, takeFrame } from "./dns/protocol/relay.ts";
import { opt, query, replyTo } from "./dns/query.fixture.ts";
import { ip, member, pod as wirePod, svc, type WirePolicy } from "@ambit/proxy/testing";

const { Action, Scope } = security;

const principal = (sa: string): string => `cluster.local/ns/ns/sa/${sa}`;
const policy = (name: string, action: security.Action, matches: object, more: WirePolicy = {}): WirePolicy =>
  ({ name, namespace: "ns", scope: Scope.NAMESPACE, action, rules: [{ clauses: [{ matches: [matches] }] }], ...more } as WirePolicy);
const denyPrincipal = (name: string, sa: string): WirePolicy => policy(name, Action.DENY, { principals: [{ matchType: { case: "exact", value: principal(sa) } }] });
const STRICT = policy("strict", Action.DENY, { notPrincipals: [{ matchType: { case: "presence", value: {} } }] });

/** How a connection that must not be served ends; the reset may come before the client even notices that it was connected. */
async function refused(city: City, from: CityPod, to: string): Promise<string> {
  try {
    return await ending(await city.dial(from, to));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

describe("ztunnel on network namespaces", function () {
  this.timeout(20_000);
  const city = new City();
  let client: CityPod;
  let bob: CityPod;
  let server: CityPod;
  let outside: CityPod;

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    outside = await city.pod("outside", "10.77.0.3", false);
    bob = await city.pod("bob", "10.77.0.4");
    const { TunnelProtocol } = workload;
    city.put({ workload: wirePod("client", "10.77.0.1") }, { workload: wirePod("bob", "10.77.0.4") }, { service: svc("web", "10.96.0.1") },
      { workload: wirePod("server", "10.77.0.2", { services: member("web") }) }, { workload: wirePod("outside", "10.77.0.3", { tunnelProtocol: TunnelProtocol.NONE }) });
    // Says who connects, then echoes.
    await city.listen(server, 8080, (socket) => { socket.write(`hello ${socket.remoteAddress}\n`); socket.pipe(socket); });
    // Ends its half first, then reads to the end and says nothing more.
    await city.listen(server, 8081, (socket) => { socket.end("bye"); socket.resume(); });
    // Resets on the first octet.
    await city.listen(server, 8082, (socket) => { socket.once("data", () => socket.resetAndDestroy()).resume(); });
    await city.listen(outside, 8080, (socket) => { socket.end(`plain ${socket.remoteAddress}\n`); socket.resume(); });
    // Long: what is open when a successor takes over must not be cut while a loaded machine is busy with the rest.
    await city.startZtunnel({ CONNECTION_TERMINATION_DEADLINE: "60s" });
    await city.connected();
    for (const pod of [client, server, bob]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(() => city.stop());
  beforeEach(() => { city.lines.length = 0; });
  const complete = (direction: string) => city.line((l) => l["msg"] === "connection complete" && l["direction"] === direction);
  async function put(...items: Parameters<City["put"]>): Promise<void> {
    const before = pushes();
    city.put(...items);
    while (pushes() < before + items.length) await new Promise((r) => setImmediate(r));
  }
  const pushes = (): number => [...city.ztunnel.metrics.expose().matchAll(/^istio_xds_message_total\{[^}]*\} (\d+)$/gm)].reduce((n, m) => n + Number(m[1]), 0);
  async function dropPolicy(key: string): Promise<void> {
    const before = pushes();
    city.dropPolicy(key);
    while (pushes() === before) await new Promise((r) => setImmediate(r));
  }

  describe("where connections go", () => {
    it("a service, in a tunnel; the application sees the client's address", async () => {
      const socket = await city.dial(client, "10.96.0.1:80");
      socket.end("ping");
      assert.equal(await readAll(socket), "hello 10.77.0.1\nping");
      const [out, inn] = [await complete("outbound"), await complete("inbound")];
      for (const l of [out, inn]) {
        assert.deepEqual([l["level"], l["src.identity"], l["dst.identity"], l["dst.addr"], l["dst.hbone_addr"], l["dst.service"]],
          ["info", `spiffe://${principal("client")}`, `spiffe://${principal("server")}`, "10.77.0.2:15008", "10.77.0.2:8080", "web"]);
      }
      assert.deepEqual([out["bytes_sent"], out["bytes_recv"], inn["bytes_sent"], inn["bytes_recv"]], [4, 20, 20, 4]);
      assert.equal(out["id"], inn["id"]);
    });
    it("a pod's own address, in a tunnel", async () => {
      const socket = await city.dial(client, "10.77.0.2:8080");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.1\n");
      assert.equal((await complete("outbound"))["dst.hbone_addr"], "10.77.0.2:8080");
    });
    it("a pod outside the mesh, in plaintext", async () => {
      const socket = await city.dial(client, "10.77.0.3:8080");
      socket.end();
      assert.equal(await readAll(socket), "plain 10.77.0.1\n");
      assert.equal((await complete("outbound"))["dst.identity"], undefined);
    });
    it("from outside, in plaintext, with the client's address", async () => {
      const socket = await city.dial(outside, "10.77.0.2:8080");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.3\n");
      const line = await complete("inbound");
      assert.deepEqual([line["src.workload"], line["src.identity"], line["dst.addr"]], ["outside", undefined, "10.77.0.2:8080"]);
    });
    it("with a captured client that is asked, when it is silent, whether it is there", async () => {
      const socket = await city.dial(client, "10.77.0.2:8080");
      try {
        await firstLine(socket);
        const [line = ""] = (await hostKernel.run(client.netns, ["ss", "-Htno", "state", "established", "sport", "=", ":15001"])).trim().split("\n");
        assert.match(line, /timer:\(keepalive,[23]min/);
      } finally {
        socket.destroy();
      }
    });
    it("a pod to itself by its own address is left alone", async () => {
      const socket = await city.dial(server, "10.77.0.2:8080");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.2\n");
    });
    it("a pod to its own service goes through its own tunnel", async () => {
      const socket = await city.dial(server, "10.96.0.1:80");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.2\n");
    });
    it("a service without the port is refused with a reset", async () => {
      assert.equal(await refused(city, client, "10.96.0.1:81"), "ECONNRESET");
      assert.match(String((await complete("outbound"))["error"]), /no healthy upstream: ns\/web has no port 81, only 80/);
    });
    it("a port where nobody listens is refused with a reset", async () => {
      assert.equal(await refused(city, client, "10.77.0.2:9999"), "ECONNRESET");
      assert.deepEqual([(await complete("outbound"))["error"], (await complete("inbound"))["code"]], ["http status: 503 Service Unavailable (refused by the destination's proxy, connect-refused)", "connect-refused"]);
    });
    it("our own listeners, dialled directly, are refused", async () => {
      for (const port of [15001, 15006]) assert.equal(await refused(city, client, `127.0.0.1:${port}`), "ECONNRESET");
      assert.equal(await refused(city, client, "10.77.0.1:15001"), "ECONNRESET");
      for (const l of city.lines.filter((x) => x["code"] !== undefined)) assert.equal(l["code"], "self-call");
      assert.equal(await refused(city, outside, "10.77.0.2:15001"), "ECONNRESET");
    });
  });

  describe("what streams do", () => {
    it("the server ends first, the client goes on", async () => {
      const socket = await city.dial(client, "10.77.0.2:8081");
      assert.equal(await readAll(socket), "bye");
      assert.equal(socket.writable, true);
      socket.end("still talking");
      await once(socket, "close");
      assert.equal((await complete("inbound"))["bytes_recv"], 13);
    });
    it("the server's reset reaches the client", async () => {
      const socket = await city.dial(client, "10.77.0.2:8082");
      const end = ending(socket);
      socket.write("x");
      assert.equal(await end, "ECONNRESET");
      assert.equal((await complete("outbound"))["error"], undefined);
    });
    it("the client's reset reaches the server", async () => {
      const socket = await city.dial(client, "10.77.0.2:8080");
      await firstLine(socket);
      socket.resetAndDestroy();
      await complete("inbound");
    });
    it("32 MiB each way arrive whole", async () => {
      const socket = await city.dial(client, "10.77.0.2:8080");
      const total = 32 << 20;
      let received = 0;
      socket.on("data", (b: Buffer) => { received += b.length; });
      const piece = Buffer.alloc(1 << 20, 7);
      for (let sent = 0; sent < total; sent += piece.length) if (!socket.write(piece)) await once(socket, "drain");
      socket.end();
      await once(socket, "end");
      assert.equal(received, total + "hello 10.77.0.1\n".length);
    });
    it("200 connections at once share tunnels and all arrive", async () => {
      const all = await Promise.all(Array.from({ length: 200 }, async (_, i) => {
        const socket = await city.dial(client, "10.96.0.1:80");
        socket.end(String(i));
        return readAll(socket);
      }));
      assert.deepEqual(all, Array.from({ length: 200 }, (_, i) => `hello 10.77.0.1\n${i}`));
    });
  });

  describe("policy", () => {
    it("denies one identity and not another, and names the policy", async () => {
      await put({ policy: denyPrincipal("no-bob", "bob") });
      assert.equal(await refused(city, bob, "10.96.0.1:80"), "ECONNRESET");
      const [out, inn] = [await complete("outbound"), await complete("inbound")];
      assert.equal(out["error"], "http status: 401 Unauthorized (refused by the destination's proxy, policy-denied: policy ns/no-bob)");
      assert.deepEqual([out["code"], out["policy"], out["policy.reason"], out["dst.code"]], ["peer-denied", "ns/no-bob", "explicit", "policy-denied"]);
      assert.equal(inn["error"], "connection closed due to policy rejection: explicitly denied by: ns/no-bob");
      assert.deepEqual([inn["policy"], inn["policy.rule"], inn["policy.fields"], inn["code"]], ["ns/no-bob", 0, ["principals"], "policy-denied"]);
      const socket = await city.dial(client, "10.96.0.1:80");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.1\n");
      await dropPolicy("ns/no-bob");
    });
    it("a policy on trial lets through and says what it would have done", async () => {
      await put({ policy: { ...denyPrincipal("trial", "client"), dryRun: true } });
      const socket = await city.dial(client, "10.96.0.1:80");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.1\n");
      assert.deepEqual((await complete("inbound"))["policy.dry_run"], ["deny by ns/trial rule 0"]);
      const said = city.lines.find((l) => l["msg"] === "policy on trial matched");
      assert.deepEqual([said?.["policy"], said?.["action"], said?.["enforced"], said?.["src.identity"]], ["ns/trial", "deny", false, `spiffe://${principal("client")}`]);
      assert.match(city.ztunnel.metrics.expose(), /ambit_authz_dry_run_total\{policy="ns\/trial",action="deny"\} 1/);
      await dropPolicy("ns/trial");
    });
    it("strict mutual TLS keeps plaintext out and lets tunnels in", async () => {
      await put({ policy: STRICT });
      assert.equal(await refused(city, outside, "10.77.0.2:8080"), "ECONNRESET");
      assert.equal((await complete("inbound"))["policy"], "ns/strict");
      const socket = await city.dial(client, "10.77.0.2:8080");
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.1\n");
      await dropPolicy("ns/strict");
    });
    it("a changed policy ends the open connections that it forbids, and only those", async () => {
      const doomed = [await city.dial(client, "10.96.0.1:80"), await city.dial(client, "10.77.0.2:8080")];
      const plain = await city.dial(outside, "10.77.0.2:8080");
      const other = await city.dial(bob, "10.96.0.1:80");
      for (const s of [...doomed, plain, other]) await firstLine(s);
      const ends = Promise.all([...doomed, plain].map(ending));
      const began = performance.now();
      city.put({ policy: denyPrincipal("no-client", "client") }, { policy: STRICT });
      assert.deepEqual(await ends, ["ECONNRESET", "ECONNRESET", "ECONNRESET"]);
      assert.ok(performance.now() - began < 1000, `took ${performance.now() - began} ms`);
      const cut = city.lines.filter((l) => l["direction"] === "inbound" && l["error"] === "connection closed due to policy change");
      assert.deepEqual(cut.map((l) => l["policy"]).sort(), ["ns/no-client", "ns/no-client", "ns/strict"]);
      const told = city.lines.filter((l) => l["direction"] === "outbound" && l["code"] === "policy-revoked");
      assert.deepEqual(told.map((l) => l["error"]), Array.from({ length: 2 }, () => "connection closed due to policy change at the destination"));
      other.write("alive");
      assert.equal(await firstLine(other), "alive");
      other.destroy();
      await dropPolicy("ns/no-client");
      await dropPolicy("ns/strict");
    });
    it("a policy that the workload names and nobody sent denies, and ends open connections", async () => {
      const open = await city.dial(client, "10.77.0.2:8080");
      await firstLine(open);
      const end = ending(open);
      await put({ workload: wirePod("server", "10.77.0.2", { services: member("web"), authorizationPolicies: ["ns/not-sent"] }) });
      assert.equal(await end, "ECONNRESET");
      city.lines.length = 0;
      assert.equal(await refused(city, client, "10.77.0.2:8080"), "ECONNRESET");
      assert.equal((await complete("inbound"))["error"], "connection closed due to policy rejection: policy ns/not-sent applies to this workload but is not known");
      await put({ workload: wirePod("server", "10.77.0.2", { services: member("web") }) });
    });
  });

  describe("names", () => {
    const text = (reply: Uint8Array): string => `${(reply[3] ?? 0) & 15} ${reply[7]} ${[...reply.subarray(-4)].join(".")}`;
    const sources: string[] = [];
    const heard: Buffer[] = [];
    const RECORD = Buffer.from("c00c000100010000003c000409090909", "hex");
    /** The question with one answer, and whatever came behind it behind that. */
    const answered = (q: Buffer): Buffer => replyTo(Buffer.concat([q.subarray(0, 29), RECORD, q.subarray(29)]), 0, Buffer.alloc(0), 1);
    const overTcp = async (from: CityPod, ...queries: Buffer[]): Promise<Buffer[]> => {
      const socket = await city.dial(from, "10.77.0.3:53");
      socket.end(Buffer.concat(queries.map(framed)));
      const replies: Buffer[] = [];
      let held: Buffer = Buffer.alloc(0);
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        held = Buffer.concat([held, chunk]);
        for (let f = takeFrame(held); f !== undefined; f = takeFrame(held)) { replies.push(f.message); held = f.rest; }
      }
      return replies;
    };
    before(async () => {
      city.nameServer(outside, (q, from) => { sources.push(from); heard.push(q); return answered(q); });
      await city.listen(outside, 53, (socket) => { socket.on("data", (b: Buffer) => { sources.push(socket.remoteAddress ?? ""); socket.write(framed(answered(b.subarray(2)))); }).on("end", () => socket.end()).resume(); });
    });
    beforeEach(() => { sources.length = 0; heard.length = 0; });

    it("of the mesh are answered in the pod, others by the name server, with the pod's address", async () => {
      assert.equal(text(await city.ask(client, query("web"))), "0 1 10.96.0.1");
      assert.equal(text(await city.ask(client, query("example.org"))), "0 1 9.9.9.9");
      assert.deepEqual(sources, ["10.77.0.1"]);
      assert.equal(text(await city.ask(outside, query("example.org"))), "0 1 9.9.9.9");
    });
    it("are relayed octet for octet, with everything that came along", async () => {
      const q = query("example.org", 1, 0x4242, Buffer.concat([opt(4096, 0, 0x8000).subarray(0, 9), Buffer.from([0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])]), 1);
      const reply = await city.ask(client, q);
      assert.deepEqual(heard[0]?.subarray(2), q.subarray(2));
      assert.deepEqual(reply, answered(q));
      assert.equal((await city.ask(client, query("example.org", 65, 0x4243))).readUInt16BE(0), 0x4243);
    });
    it("over TCP too, on one connection, from a client that ended its half", async () => {
      const replies = await overTcp(client, query("web", 1, 1), query("example.org", 1, 2), query("web", 28, 3));
      assert.deepEqual(replies.map((r) => `${r.readUInt16BE(0)} ${r[3]} ${r[7]}`), ["1 128 1", "2 128 1", "3 128 0"]);
      assert.deepEqual(sources, ["10.77.0.1"]);
    });
    it("noise is answered with an error or not at all, and harms nobody", async () => {
      assert.equal((await city.ask(client, Buffer.concat([query("x").subarray(0, 12), Buffer.from([0xff, 0xff])])))[3], 0x81);
      const socket = await city.dial(client, "10.77.0.3:53");
      socket.write(Buffer.alloc(100, 0xff));
      socket.resetAndDestroy();
      const port = hostKernel.bindDatagram(client.netns, { ip: ip("0.0.0.0"), port: 0 }, {});
      const random = seededRandom(11);
      for (let i = 0; i < 200; i++) port.send(Buffer.from(Array.from({ length: Math.floor(random() * 60) }, () => Math.floor(random() * 256))), 53, "10.77.0.3");
      assert.equal(text(await city.ask(client, query("web"))), "0 1 10.96.0.1");
      port.close();
    });
    it("of a pod that the control plane has not told about: the wait is bounded, then they are the name server's", async () => {
      const early = await city.pod("early", "10.77.0.11");
      assert.equal(await city.add(early), "");
      const began = performance.now();
      assert.equal(text(await city.ask(early, query("example.org"))), "0 1 9.9.9.9");
      assert.ok(performance.now() - began < 4_500);
      assert.equal(text(await city.ask(early, query("web"))), "0 1 10.96.0.1");
      assert.equal(await city.del(early), "");
    });
    it("are counted under the names of Istio", () => {
      const seen = city.ztunnel.metrics.expose();
      assert.match(seen, /istio_dns_requests_total\{request_query_type="A",request_protocol="tcp",source_canonical_service="client",source_canonical_revision="v1"\} 2/);
      assert.match(seen, /istio_dns_upstream_requests_total\{request_query_type="HTTPS",request_protocol="udp",[^}]*\} 1/);
      assert.match(seen, /istio_dns_upstream_request_duration_seconds_bucket\{[^}]*le="5"\} \d/);
    });
    it("a namespace where the DNS port is taken is refused with the reason", async () => {
      const taken = await city.pod("dnstaken", "10.77.0.12");
      await city.listen(taken, 15053, (s) => s.destroy());
      assert.match(await city.add(taken), /bind .*15053.*EADDRINUSE/);
      assert.equal(await city.del(taken), "");
    });
  });

  describe("operation", () => {
    const admin = async (path: string, method = "GET", port = city.ztunnel.adminPort) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
      return { status: response.status, body: await response.text() };
    };
    it("dumps its configuration and live connections", async () => {
      const socket = await city.dial(client, "10.96.0.1:80");
      await firstLine(socket);
      const dump = JSON.parse((await admin("/config_dump")).body) as { workloads: { name: string }[]; services: { endpoints: object }[]; workloadState: Record<string, { state: string; connections: { inbound: object[]; outbound: { originalDst: string; protocol: string }[] } }> };
      assert.deepEqual(dump.workloads.map((w) => w.name).sort(), ["bob", "client", "outside", "server"]);
      assert.deepEqual(Object.keys(dump.services[0]?.endpoints ?? {}), ["Kubernetes//Pod/ns/server"]);
      assert.deepEqual(dump.workloadState["uid-client"]?.connections.outbound.map((c) => `${c.protocol} ${c.originalDst}`), ["HBONE 10.96.0.1:80"]);
      assert.equal(dump.workloadState["uid-server"]?.connections.inbound.length, 1);
      socket.destroy();
    });
    it("lists what is open within the moment, with bytes, age, and round trips of its tunnels", async () => {
      const socket = await city.dial(client, "10.96.0.1:80");
      await firstLine(socket);
      type Live = Record<string, { connections: { direction: string; bytes: { received: number; sent: number }; ageMs: number }[]; tunnels: { direction: string; peer: string; rttUs: number; retransmits: number }[] }>;
      const live = JSON.parse((await admin("/debug/connections")).body) as Live;
      assert.deepEqual(live["uid-client"]?.connections.map((c) => [c.direction, c.bytes]), [["outbound", { received: 0, sent: 16 }]]);
      const [tunnel] = live["uid-client"]?.tunnels ?? [];
      assert.ok(tunnel !== undefined && tunnel.direction === "outbound" && tunnel.peer === "10.77.0.2:15008" && tunnel.rttUs > 0 && tunnel.rttUs < 1e6 && tunnel.retransmits >= 0, JSON.stringify(tunnel));
      assert.match((await admin("/metrics", "GET", city.ztunnel.statsPort)).body, /ambit_tunnel_rtt_seconds_count\{direction="inbound"\} \d/);
      socket.destroy();
    });
    it("profiles itself, one at a time, within bounds", async () => {
      const [cpu, second] = await Promise.all([admin("/debug/pprof/profile?seconds=1"), admin("/debug/pprof/heap?seconds=1")]);
      assert.ok(Array.isArray((JSON.parse(cpu.body) as { nodes: unknown }).nodes));
      assert.equal(second.status, 409);
      assert.ok("head" in (JSON.parse((await admin("/debug/pprof/heap?seconds=1")).body) as object));
      for (const path of ["profile?seconds=301", "profile?seconds=x", "profile?frequency=0", "heap?seconds=0"]) assert.equal((await admin(`/debug/pprof/${path}`)).status, 400, path);
    });
    it("dumps no token", async () => assert.doesNotMatch((await admin("/config_dump")).body, /"token": "token"/));
    it("explains a connection", async () => {
      const { body } = await admin("/debug/explain?source=ns/client&destination=web:80");
      assert.deepEqual([JSON.parse(body).outcome, JSON.parse(body).summary], ["allowed", "reaches Kubernetes//Pod/ns/server at 10.77.0.2:8080, in mutual TLS as spiffe://cluster.local/ns/ns/sa/client to spiffe://cluster.local/ns/ns/sa/server on port 15008"]);
      assert.equal((await admin("/debug/explain?source=ns/nobody&destination=web:80")).status, 400);
    });
    it("changes log levels by POST only", async () => {
      assert.deepEqual([(await admin("/logging")).status, (await admin("/logging?level=warn", "POST")).body, (await admin("/logging?level=loud", "POST")).status], [405, "warn\n", 400]);
    });
    it("exposes Istio's metrics", async () => {
      const { body } = await admin("/metrics", "GET", city.ztunnel.statsPort);
      for (const reporter of ["source", "destination"])
        assert.match(body, new RegExp(`istio_tcp_connections_opened_total\\{reporter="${reporter}",source_workload="client",[^}]*destination_service="web",[^}]*response_flags="-",connection_security_policy="mutual_tls"\\} \\d+`));
      assert.match(body, /istio_tcp_connections_failed_total\{[^}]*response_flags="DENY"/);
      assert.match(body, /workload_manager_active_proxy_count 3/);
    });
    it("a pod that is enrolled before its workload is known waits for it", async () => {
      const late = await city.pod("late", "10.77.0.9");
      assert.equal(await city.add(late), "");
      const socket = await city.dial(late, "10.96.0.1:80");
      city.put({ workload: wirePod("late", "10.77.0.9") });
      socket.end();
      assert.equal(await readAll(socket), "hello 10.77.0.9\n");
      const open = await city.dial(late, "10.96.0.1:80");
      await firstLine(open);
      const end = ending(open);
      assert.equal(await city.del(late), "");
      assert.equal(await end, "ECONNRESET");
      await assert.rejects(city.dial(late, "10.96.0.1:80"), { code: "ECONNREFUSED" });
    });
    it("a namespace where our ports are taken is refused with the reason", async () => {
      const taken = await city.pod("taken", "10.77.0.10");
      await city.listen(taken, 15006, (s) => s.destroy());
      assert.match(await city.add(taken), /bind .*15006.*EADDRINUSE/);
      assert.equal((await admin("/healthz/ready", "GET", city.ztunnel.readinessPort)).status, 500);
      assert.equal(await city.del(taken), "");
      assert.deepEqual(await admin("/healthz/ready", "GET", city.ztunnel.readinessPort), { status: 200, body: "ready\n" });
    });
    it("refuses to start where its admin port is taken", async () => {
      await assert.rejects(city.buildAnother({ AMBIT_ADMIN_PORT: String(city.ztunnel.adminPort) }), { code: "EADDRINUSE" });
    });
  });
});
