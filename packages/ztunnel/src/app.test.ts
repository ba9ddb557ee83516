// ztunnel as a whole, on real network namespaces with real redirection. Needs root: it fails, rather than skips, without.
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { security } from "@ambit/proto";
import { City, type CityPod } from "./city.fixture.ts";
import { HBONE, pod as wirePod, svc, member } from "./state/wire.fixture.ts";

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** Resolves with the error code of the socket, or "closed". */
function ending(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let code = "closed";
    socket.on("error", (error: NodeJS.ErrnoException) => { code = error.code ?? error.message; });
    socket.on("close", () => resolve(code));
    socket.resume();
  });
}

describe("ztunnel between two pods", function () {
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
    city.put({ workload: wirePod("client", "10.77.0.1") }, { workload: wirePod("server", "10.77.0.2", { services: member("web") }) }, { service: svc("web", "10.96.0.1") });
    // Says who connects, then echoes.
    await city.listen(server, 8080, (socket) => { socket.write(`hello ${socket.remoteAddress}\n`); socket.pipe(socket); });
    await city.startZtunnel();
    await city.connected();
    assert.equal(await city.add(client), "");
    assert.equal(await city.add(server), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(() => city.stop());
  afterEach(() => { city.lines.length = 0; });

  it("carries a connection to a service in a tunnel; the application sees the client's address", async () => {
    const socket = await city.dial(client, "10.96.0.1:80");
    socket.end("ping");
    assert.equal(await readAll(socket), "hello 10.77.0.1\nping");
    const out = await city.line((l) => l["msg"] === "connection complete" && l["direction"] === "outbound");
    const inn = await city.line((l) => l["msg"] === "connection complete" && l["direction"] === "inbound");
    for (const l of [out, inn]) {
      assert.equal(l["level"], "info");
      assert.equal(l["src.identity"], "spiffe://cluster.local/ns/ns/sa/client");
      assert.equal(l["dst.identity"], "spiffe://cluster.local/ns/ns/sa/server");
      assert.equal(l["dst.hbone_addr"], "10.77.0.2:8080");
      assert.equal(l["dst.service"], "web");
      assert.equal(l["dst.addr"], "10.77.0.2:15008");
    }
    assert.deepEqual([out["bytes_sent"], out["bytes_recv"], inn["bytes_sent"], inn["bytes_recv"]], [4, 20, 20, 4]);
    assert.equal(out["id"], inn["id"]);
    void HBONE;
    void outside;
    void security;
    void once;
    void ending;
  });
});
