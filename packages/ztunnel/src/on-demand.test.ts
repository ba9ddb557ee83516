// ztunnel asking the control plane address by address, with a real xDS server and real namespaces. Needs root.
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { member, pod as wirePod, svc } from "@ambit/proxy/testing";
import { City, type CityPod } from "./city.fixture.ts";

describe("ztunnel on demand", function () {
  this.timeout(20_000);
  const city = new City();
  let client: CityPod;
  let server: CityPod;
  let outside: CityPod;

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    outside = await city.pod("outside", "10.77.0.3", false);
    city.put({ workload: wirePod("client", "10.77.0.1") }, { workload: wirePod("server", "10.77.0.2", { services: member("web") }) }, { service: svc("web", "10.96.0.1") },
      { workload: wirePod("bystander", "10.77.0.99") });
    for (const pod of [server, outside]) await city.listen(pod, 8080, (socket) => { socket.write(`${pod.name} hears ${socket.remoteAddress}\n`); socket.pipe(socket); });
    await city.startZtunnel({ XDS_ON_DEMAND: "true", ISTIO_META_DNS_CAPTURE: "false" });
    await city.connected();
    for (const pod of [client, server]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(() => city.stop());
  beforeEach(() => { city.lines.length = 0; });
  const known = async (): Promise<string[]> => {
    const dump = (await (await fetch(`http://127.0.0.1:${city.ztunnel.adminPort}/config_dump`)).json()) as { workloads: { name: string }[]; services: { hostname: string }[] };
    return [...dump.workloads.map((w) => w.name), ...dump.services.map((s) => s.hostname)].sort();
  };
  async function exchange(to: string): Promise<string> {
    const socket: Socket = await city.dial(client, to);
    socket.end();
    const chunks: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }
  const outbound = () => city.line((l) => l["msg"] === "connection complete" && l["direction"] === "outbound");

  it("knows nothing before it is asked", async () => assert.deepEqual(await known(), []));
  it("fetches its own pods, a service and who is behind it, and nothing else", async () => {
    assert.equal(await exchange("10.96.0.1:80"), "server hears 10.77.0.1\n");
    assert.equal((await outbound())["dst.identity"], "spiffe://cluster.local/ns/ns/sa/server");
    assert.deepEqual(await known(), ["client", "server", "web"]);
  });
  it("an address outside the mesh is asked for once, then goes plainly", async () => {
    for (let i = 0; i < 3; i++) assert.equal(await exchange("10.77.0.3:8080"), "outside hears 10.77.0.1\n");
    assert.equal((await outbound())["dst.identity"], undefined);
  });
  it("an address that joins the mesh after it was asked for is pushed", async () => {
    city.put({ workload: wirePod("outside", "10.77.0.3", { tunnelProtocol: 0 }) });
    while (!(await known()).includes("outside")) await new Promise((r) => setImmediate(r));
    await exchange("10.77.0.3:8080");
    assert.equal((await outbound())["dst.workload"], "outside");
  });
  it("what is known goes on changing", async () => {
    city.put({ workload: wirePod("server", "10.77.0.2", { services: member("web", { 80: 8081 }) }) });
    await city.listen(server, 8081, (socket) => { socket.end("moved\n"); socket.resume(); });
    while (await exchange("10.96.0.1:80") !== "moved\n") await new Promise((r) => setImmediate(r));
  });
});
