// Two networks on real namespaces: the client's tunnel ends at an east-west gateway, the one inside it at the pod beyond. Needs root.
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { waypointAt } from "@ambit/proxy/testing";
import { identityOfLeaf } from "@ambit/proxy/identity";
import { copyBidirectional, serveTunnels, type TunnelSession } from "@ambit/hbone";
import { hostKernel } from "@ambit/linux";
import { MeshError } from "@ambit/core";
import { acceptTls, createTlsCredentials, fromSocket } from "@ambit/transport";
import { at, ip, member, pod as wirePod, svc } from "@ambit/proxy/testing";
import { City, type CityPod } from "./city.fixture.ts";

describe("a service on another network", function () {
  this.timeout(20_000);
  const city = new City();
  let client: CityPod;
  let gateway: CityPod;
  let far: CityPod;
  const seen: { authority: string; headers: ReadonlyMap<string, string> }[] = [];
  const sessions = new Set<TunnelSession>();
  let beyond = at("10.77.0.2:15008");

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    far = await city.pod("far", "10.77.0.2");
    gateway = await city.pod("gw", "10.77.0.9", false);
    const web = (more = {}) => svc("web", "10.96.0.1", { subjectAltNames: ["spiffe://cluster.local/ns/ns/sa/far"], ...more });
    city.put(
      { workload: wirePod("client", "10.77.0.1") }, { service: web() },
      { workload: wirePod("far", "10.77.0.2", { network: "n2", networkGateway: waypointAt("east-west"), services: member("web") }) },
      { service: svc("wrong", "10.96.0.2", { subjectAltNames: ["spiffe://cluster.local/ns/ns/sa/somebody-else"] }) },
      { workload: wirePod("far2", "", { network: "n2", networkGateway: waypointAt("east-west"), services: member("wrong") }) },
      { service: svc("east-west", "", { ports: [{ servicePort: 15008, targetPort: 15008 }] }) },
      { workload: wirePod("gw", "10.77.0.9", { services: member("east-west", { 15008: 15008 }) }) },
    );
    await city.listen(far, 8080, (socket) => { socket.write(`hello ${socket.remoteAddress}\n`); socket.pipe(socket); });
    await city.listen(gateway, 15008, (socket) => void serveGateway(socket));
    await city.startZtunnel();
    await city.connected();
    for (const pod of [client, far]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(async () => {
    for (const s of sessions) s.destroy(new MeshError("drained", "test over"));
    await city.stop();
  });
  beforeEach(() => { city.lines.length = 0; seen.length = 0; beyond = at("10.77.0.2:15008"); });

  /** As an east-west gateway does: ends the outer tunnel, routes by its authority, passes the octets on. */
  async function serveGateway(socket: Socket): Promise<void> {
    const leaf = city.ca.leaf("ns", "gw");
    const { stream, peer } = await acceptTls(socket, { credentials: createTlsCredentials({ chain: leaf.chainPem, key: leaf.keyPem, roots: city.ca.rootPem }), verify: identityOfLeaf });
    const session = serveTunnels(stream, { identity: peer, certificateFingerprint: "", remote: at("10.77.0.1:1"), local: at("10.77.0.9:15008") }, {}, (request) => {
      seen.push({ authority: request.authority, headers: request.headers });
      const onward = hostKernel.dial(gateway.netns, beyond, {});
      onward.once("connect", () => void copyBidirectional(request.accept(), fromSocket(onward)));
      onward.once("error", () => request.refuse(503));
    });
    sessions.add(session);
    void session.closed.then(() => sessions.delete(session));
  }
  const complete = (direction: string) => city.line((l) => l["msg"] === "connection complete" && l["direction"] === direction);
  async function exchange(to: string, say: string): Promise<string> {
    const socket = await city.dial(client, to);
    socket.end(say);
    const chunks: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }

  it("is reached through its gateway, with both ends proven to each other", async () => {
    assert.equal(await exchange("10.96.0.1:80", "ping"), "hello 10.77.0.9\nping");
    assert.deepEqual(seen.map((s) => [s.authority, s.headers.has("x-forwarded-network"), (s.headers.get("forwarded") ?? "").endsWith("host=web")]), [["web:80", false, true]]);
    const [out, inn] = [await complete("outbound"), await complete("inbound")];
    assert.deepEqual([out["dst.addr"], out["dst.hbone_addr"], out["dst.identity"], out["dst.workload"], out["dst.namespace"], out["dst.service"], out["bytes_sent"]],
      ["10.77.0.9:15008", "web:80", "spiffe://cluster.local/ns/ns/sa/far", "far", "ns", "web", 4]);
    assert.deepEqual([inn["src.identity"], inn["dst.hbone_addr"], inn["dst.workload"], inn["id"]], ["spiffe://cluster.local/ns/ns/sa/client", "web:80", "far", out["id"]]);
  });
  it("32 MiB each way, many at once through one outer tunnel, none crossing", async () => {
    const socket = await city.dial(client, "10.96.0.1:80");
    let received = 0;
    socket.on("data", (b: Buffer) => { received += b.length; });
    const piece = Buffer.alloc(1 << 20, 7);
    for (let sent = 0; sent < 32; sent++) if (!socket.write(piece)) await once(socket, "drain");
    socket.end();
    await once(socket, "end");
    assert.equal(received, (32 << 20) + "hello 10.77.0.9\n".length);
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => exchange("10.96.0.1:80", String(i))));
    assert.deepEqual(all, Array.from({ length: 50 }, (_, i) => `hello 10.77.0.9\n${i}`));
    assert.equal(sessions.size, 1);
  });
  it("a gateway that leads to somebody the service does not vouch for is found out", async () => {
    await assert.rejects(exchange("10.96.0.2:80", "secret"), { code: "ECONNRESET" });
    const line = await complete("outbound");
    assert.deepEqual([line["code"], line["error"]], ["identity-mismatch", "the peer is spiffe://cluster.local/ns/ns/sa/far, expected spiffe://cluster.local/ns/ns/sa/somebody-else"]);
    assert.equal(city.lines.some((l) => l["msg"] === "connection complete" && l["direction"] === "inbound"), false);
  });
  it("a gateway that cannot go on is a refusal, and the next connection is unharmed", async () => {
    beyond = { ip: ip("10.77.0.2"), port: 1 };
    await assert.rejects(exchange("10.96.0.1:80", ""), { code: "ECONNRESET" });
    assert.equal((await complete("outbound"))["code"] !== undefined, true);
    beyond = at("10.77.0.2:15008");
    assert.equal(await exchange("10.96.0.1:80", "again"), "hello 10.77.0.9\nagain");
  });
});
