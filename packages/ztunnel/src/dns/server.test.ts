import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { Socket as DatagramSocket } from "node:dgram";
import { createLogger, LogLevels, Metrics, seededRandom, systemClock } from "@ambit/runtime";
import { member, pod, stateOf, svc } from "@ambit/proxy/testing";
import { TrafficMetrics } from "../telemetry/traffic-metrics.ts";
import { opt, query, replyTo } from "./query.fixture.ts";
import { framed, takeFrame } from "./protocol/relay.ts";
import { DnsServer, type DnsServerOptions } from "./server.ts";

const WORLD = {
  workloads: [pod("client", "10.0.0.1"), ...[1, 2, 3, 4].map((n) => pod(`h${n}`, `10.0.1.${n}`, { services: member("headless.ns.svc.cluster.local") }))],
  services: [svc("web.ns.svc.cluster.local", "10.96.0.1"), svc("headless.ns.svc.cluster.local", "")],
};

function rig(more: Partial<DnsServerOptions> = {}) {
  const metrics = new Metrics();
  const lines: Record<string, unknown>[] = [];
  const forwarded: [Uint8Array, string][] = [];
  const state = stateOf(WORLD);
  const server = new DnsServer({
    pod: "ns/client", namespace: "ns", view: () => state.view(), client: () => state.view().workload("Kubernetes//Pod/ns/client"), whenInformed: () => Promise.resolve(),
    listen: [], network: "", domain: "cluster.local", preferredNamespace: undefined, metrics: new TrafficMetrics(metrics), clock: systemClock, random: seededRandom(3),
    forwarder: { ask: (q, protocol) => { forwarded.push([q, protocol]); return Promise.resolve(replyTo(q, 3)); } },
    log: createLogger("dns", { levels: new LogLevels("debug"), write: (l) => lines.push(JSON.parse(l) as Record<string, unknown>) }), ...more,
  });
  return { server, metrics, lines, forwarded };
}
const rcode = (m: Uint8Array | undefined): number => (m?.[3] ?? 0xff) & 15;
const addresses = (m: Uint8Array | undefined): string => Array.from({ length: m?.[7] ?? 0 }, (_, i, at = (m?.length ?? 0) - 16 * ((m?.[7] ?? 0) - i)) => m?.subarray(at + 12, at + 16).join(".")).join(" ");

describe("the DNS service of a pod", () => {
  it("answers mesh names with authority, and says why at debug", async () => {
    const { server, lines, metrics, forwarded } = rig();
    const reply = await server.answer(query("web"), "udp");
    assert.deepEqual([addresses(reply), (reply?.[2] ?? 0) & 4, forwarded.length], ["10.96.0.1", 4, 0]);
    const line = lines.find((l) => l["msg"] === "dns");
    assert.deepEqual([line?.["level"], line?.["pod"], line?.["name"], line?.["type"], line?.["protocol"], line?.["outcome"], line?.["because"]],
      ["debug", "ns/client", "web", "A", "udp", "answer", "addresses of service ns/web.ns.svc.cluster.local"]);
    assert.match(metrics.expose(), /istio_dns_requests_total\{request_query_type="A",request_protocol="udp",source_canonical_service="client",source_canonical_revision="v1"\} 1/);
  });
  it("hands over what it does not understand as it came, and relays the code", async () => {
    const { server, forwarded, metrics } = rig();
    const chaos = query("version.bind", 16); chaos[chaos.length - 1] = 3;
    const update = query("x"); update[2] = 0x28;
    const asked = [query("example.org", 1, 5, opt(4096, 0, 0x8000), 1), query("web", 33), query("web", 1, 1, opt(512, 1), 1), chaos, update];
    for (const q of asked) assert.equal(rcode(await server.answer(q, "udp")), 3);
    assert.deepEqual(forwarded.map(([q]) => q), asked);
    assert.match(metrics.expose(), /istio_dns_upstream_requests_total\{request_query_type="other"[^}]*\} 3/);
    assert.match(metrics.expose(), /istio_dns_upstream_request_duration_seconds_bucket\{request_query_type="SRV"[^}]*le="5"\} 1/);
  });
  it("a name server that fails is SERVFAIL, counted", async () => {
    const { server, metrics } = rig({ forwarder: { ask: () => Promise.reject(new Error("nobody there")) } });
    assert.equal(rcode(await server.answer(query("example.org"), "tcp")), 2);
    assert.match(metrics.expose(), /istio_dns_upstream_failures_total\{request_query_type="A",request_protocol="tcp"[^}]*\} 1/);
  });
  it("transfers of zones are refused", async () => assert.equal(rcode(await rig().server.answer(query("cluster.local", 252), "tcp")), 5));
  it("malformed is FORMERR, a response or less than a header is nothing", async () => {
    const { server } = rig();
    assert.equal(rcode(await server.answer(query("abc").subarray(0, 14), "udp")), 1);
    assert.deepEqual([await server.answer(replyTo(query("a")), "udp"), await server.answer(Buffer.alloc(3), "udp")], [undefined, undefined]);
  });
  it("headless addresses come in changing order", async () => {
    const { server } = rig();
    const orders = new Set<string>();
    for (let i = 0; i < 20; i++) orders.add(addresses(await server.answer(query("headless"), "udp")));
    assert.ok(orders.size > 5, `${orders.size} orders`);
    for (const order of orders) assert.deepEqual(order.split(" ").sort(), ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"]);
  });
  it("without a word of the control plane about the pod names resolve all the same", async () => {
    let waits = 0;
    const { server, metrics } = rig({ client: () => undefined, whenInformed: () => { waits++; return Promise.resolve(); } });
    assert.deepEqual([addresses(await server.answer(query("web"), "udp")), rcode(await server.answer(query("example.org"), "udp")), waits], ["10.96.0.1", 3, 2]);
    assert.match(metrics.expose(), /source_canonical_service="unknown"/);
  });
});

describe("datagrams", () => {
  const port = () => Object.assign(new EventEmitter(), { sent: [] as Uint8Array[], send(bytes: Uint8Array, _port: number, _address: string, gone: () => void) { this.sent.push(bytes); gone(); } });
  it("are answered; noise and floods are harmless, and after the end nothing is sent", async () => {
    const waiting: (() => void)[] = [];
    const { server } = rig({ forwarder: { ask: (q) => new Promise((resolve) => { waiting.push(() => resolve(replyTo(q))); }) } });
    const socket = port();
    server.datagrams(socket as unknown as DatagramSocket);
    const from = { address: "127.0.0.1", port: 5 };
    for (let i = 0; i < 3_000; i++) socket.emit("message", query("example.org", 1, i), from);
    socket.emit("message", Buffer.alloc(7), from);
    await new Promise((r) => setImmediate(r));
    assert.equal(waiting.length, 1_024);
    const settled = server.settle();
    for (const go of waiting.slice(1)) go();
    await new Promise((r) => setImmediate(r));
    assert.equal(socket.sent.length, 1_023);
    socket.emit("close");
    waiting[0]?.();
    await settled;
    assert.equal(socket.sent.length, 1_023);
  });
});

describe("streams", () => {
  let listener: Server;
  let dns: DnsServer;
  const clients: Socket[] = [];
  beforeEach(async () => {
    dns = rig().server;
    listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (s) => dns.stream(s)).listen(0, "127.0.0.1");
    await once(listener, "listening");
  });
  afterEach(() => { for (const c of clients.splice(0)) c.destroy(); dns.close(); listener.close(); });
  const dial = async (): Promise<Socket> => {
    const socket = connect({ port: (listener.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
    clients.push(socket.on("error", () => undefined));
    await once(socket, "connect");
    return socket;
  };
  /** The ids of what is answered until the end. */
  const ids = async (socket: Socket): Promise<number[]> => {
    let held: Buffer = Buffer.alloc(0);
    const out: number[] = [];
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      held = Buffer.concat([held, chunk]);
      for (let f = takeFrame(held); f !== undefined; f = takeFrame(held)) { out.push(f.message.readUInt16BE(0)); held = f.rest; }
    }
    return out;
  };
  it("answer questions in order, however they were cut, to a client that ended its half", async () => {
    const socket = await dial();
    const all = Buffer.concat(Array.from({ length: 300 }, (_, i) => framed(query(i % 2 === 0 ? "web" : "example.org", 1, i))));
    for (let i = 0; i < all.length; i += 101) socket.write(all.subarray(i, i + 101));
    socket.end();
    assert.deepEqual(await ids(socket), Array.from({ length: 300 }, (_, i) => i));
  });
  it("that carry nonsense are closed", async () => {
    for (const bytes of [framed(Buffer.alloc(3)), framed(replyTo(query("a"))), Buffer.concat([framed(Buffer.alloc(0)), framed(query("web"))])]) {
      const socket = await dial();
      socket.write(bytes);
      assert.deepEqual(await ids(socket).catch(() => []), []);
    }
  });
  it("are bounded in number", async () => {
    const first = await dial();
    for (let i = 1; i < 256; i++) await dial();
    const beyond = await dial();
    assert.deepEqual(await ids(beyond).catch(() => []), []);
    first.write(framed(query("web", 1, 9)));
    const [reply] = (await once(first, "data")) as [Buffer];
    assert.equal(takeFrame(reply)?.message.readUInt16BE(0), 9);
  });
  it("end when the service settles", async () => {
    const socket = await dial();
    socket.write(framed(query("web", 1, 9)));
    await once(socket, "data");
    const end = once(socket, "end");
    await dns.settle();
    await end;
  });
});
