import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { once } from "node:events";
import { createLogger, systemClock } from "@ambit/runtime";
import * as oracle from "dns-packet";
import { makeForwarder, parseNameservers } from "./forward.ts";
import type { DnsView } from "./plan/view.ts";
import { readAddresses, serveDns, type DnsServer } from "./server.ts";

const VIEW: DnsView = {
  hasNamespace: () => true, serviceByIp: () => undefined, endpointsByIp: () => [],
  service: (namespace, name) => ({
    name, namespace, ports: [], endpoints: [], externalName: name === "out" ? "example.com" : "",
    kind: name === "out" ? "external-name" : "cluster-ip", clusterIps: ["10.96.1.1"],
  }),
};
const log = createLogger("test", { write: () => undefined });
const question = (name: string, id = 5): Buffer => oracle.encode({ type: "query", id, flags: oracle.RECURSION_DESIRED, questions: [{ type: "A", name }] });

async function udp(port: number, packet: Buffer): Promise<oracle.DecodedPacket> {
  const socket = createSocket("udp4");
  socket.send(packet, port, "127.0.0.1");
  const [answer] = (await once(socket, "message")) as [Buffer];
  socket.close();
  return oracle.decode(answer);
}
const summary = (p: oracle.DecodedPacket): string => `${(p as { rcode?: string }).rcode} ${(p.answers ?? []).map((a) => `${a.type} ${String((a as { data?: unknown }).data)}`).join()}`;

describe("the DNS server", () => {
  let upstream: DnsServer | undefined;
  let server: DnsServer;
  const start = async (servers: string[]): Promise<void> => {
    const elsewhere: DnsView = { ...VIEW };
    upstream = await serveDns({ host: "127.0.0.1", port: 0, view: elsewhere, log, zone: () => ({ domain: "com", serial: 1 }), forwarder: makeForwarder([], systemClock) });
    const forwarder = makeForwarder(servers, systemClock, upstream.port);
    server = await serveDns({ host: "127.0.0.1", port: 0, view: VIEW, log, zone: () => ({ domain: "cluster.local", serial: 1 }), forwarder });
  };
  afterEach(async () => {
    await server.close();
    await upstream?.close();
  });

  it("answers over UDP, survives garbage, and says SERVFAIL at once without a resolver", async () => {
    await start([]);
    const junk = createSocket("udp4");
    for (const packet of [Buffer.alloc(0), Buffer.from([1]), Buffer.alloc(40, 0xff)]) junk.send(packet, server.port, "127.0.0.1");
    assert.equal(summary(await udp(server.port, question("web.shop.svc.cluster.local"))), "NOERROR A 10.96.1.1");
    assert.equal(summary(await udp(server.port, question("example.com"))), "SERVFAIL ");
    assert.equal(summary(await udp(server.port, question("out.shop.svc.cluster.local"))), "NOERROR CNAME example.com");
    junk.close();
  });

  it("forwards what is not ours, and keeps the client's id", async () => {
    await start(["127.0.0.1"]);
    const answer = await udp(server.port, question("ns.dns.com", 77));
    assert.equal(answer.id, 77);
    assert.equal(summary(answer), "NOERROR A 10.96.1.1");
  });

  it("answers pipelined questions over TCP, split anywhere", async () => {
    await start([]);
    const socket = connect(server.port, "127.0.0.1");
    const wire = Buffer.concat([1, 2, 3].map((id) => oracle.streamEncode({ type: "query", id, questions: [{ type: "A", name: "web.shop.svc.cluster.local" }] })));
    for (const byte of wire) socket.write(Buffer.of(byte));
    let got = Buffer.alloc(0);
    const ids: number[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      got = Buffer.concat([got, chunk]);
      while (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0)) {
        ids.push(oracle.decode(got.subarray(2)).id ?? -1);
        got = got.subarray(2 + got.readUInt16BE(0));
      }
      if (ids.length === 3) break;
    }
    assert.deepEqual(ids.sort(), [1, 2, 3]);
    socket.destroy();
  });

  it("reads resolv.conf without our own addresses, and hostile answers without harm", async () => {
    await start([]);
    assert.deepEqual(parseNameservers("# x\nnameserver 10.96.0.10\nnameserver 1.1.1.1 \nnameserver bad\noptions ndots:5", ["10.96.0.10"]), ["1.1.1.1"]);
    for (let i = 0; i < 40; i++) assert.deepEqual(readAddresses(Buffer.alloc(i, 0xff)), []);
  });
});
