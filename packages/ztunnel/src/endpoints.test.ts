// Which of several endpoints a connection gets, on real namespaces: after refusals, and for services that keep their clients. Needs root.
import assert from "node:assert/strict";
import { CLIENT_AFFINITY, workload } from "@ambit/proto";
import { anyPack, durationFromMs, DurationSchema } from "@bufbuild/protobuf/wkt";
import { member, pod as wirePod, svc } from "@ambit/proxy/testing";
import { City, type CityPod } from "./city.fixture.ts";

describe("a service with several endpoints", function () {
  this.timeout(20_000);
  const city = new City();
  let client: CityPod;
  let server: CityPod;

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    const affinity = { extensions: [{ name: CLIENT_AFFINITY, config: anyPack(DurationSchema, durationFromMs(60_000)) }] };
    const both = (port: number) => ({ ...member("web", { 80: port }), ...member("kept", { 80: port }), ...member("dead", { 80: port === 8080 ? 9999 : port }) });
    // Of three endpoints one lives; the others have a port where nobody listens, and the identity of another pod.
    city.put({ workload: wirePod("client", "10.77.0.1") }, { workload: wirePod("server", "10.77.0.2", { services: both(8080) }) },
      { workload: wirePod("stale", "10.77.0.2", { uid: "stale", serviceAccount: "server", services: both(9991) }) },
      { workload: wirePod("recycled", "10.77.0.2", { uid: "recycled", serviceAccount: "somebody-else", services: both(8080) }) },
      { service: svc("web", "10.96.0.1") }, { service: svc("kept", "10.96.0.2", affinity) }, { service: svc("dead", "10.96.0.3") });
    await city.listen(server, 8080, (socket) => { socket.write("hello\n"); socket.pipe(socket); });
    await city.startZtunnel();
    await city.connected();
    for (const pod of [client, server]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(() => city.stop());
  beforeEach(() => { city.lines.length = 0; });
  const done = () => city.lines.filter((l) => l["msg"] === "connection complete" && l["direction"] === "outbound");

  it("what fails before the first byte is tried elsewhere, and the application never notices", async () => {
    for (let i = 0; i < 20; i++) assert.equal(await city.exchange(client, "10.96.0.1:80", "x"), "hello\nx");
    assert.equal(done().length, 20, "one line a connection");
    assert.ok(done().every((l) => l["dst.workload"] === "server" && l["error"] === undefined));
    assert.deepEqual([...new Set(done().map((l) => l["tries"]))].sort(), [2, 3, undefined]);
  });
  it("when none works the last reason stands, after a bounded number of tries", async () => {
    await assert.rejects(city.exchange(client, "10.96.0.3:80"), { code: "ECONNRESET" });
    const [line] = done();
    assert.equal(done().length, 1);
    assert.match(String(line?.["error"]), /http status: 503|expected spiffe/);
  });
  it("a service that keeps its clients finds what works and stays there", async () => {
    for (let i = 0; i < 6; i++) assert.equal(await city.exchange(client, "10.96.0.2:80"), "hello\n");
    assert.deepEqual(done().slice(1).map((l) => l["tries"]), [undefined, undefined, undefined, undefined, undefined]);
  });

  it("an application tunnel gets a PROXY header with the client, what it asked for and who it is, then the bytes", async () => {
    let heard = Buffer.alloc(0);
    await city.listen(server, 15088, (socket) => { socket.on("data", (b: Buffer) => { heard = Buffer.concat([heard, b]); }).on("end", () => socket.end("done")).resume(); });
    await city.pushed(() => city.put({ workload: wirePod("server", "10.77.0.2", { applicationTunnel: { protocol: workload.ApplicationTunnel_Protocol.PROXY, port: 15088 } }) }));
    assert.equal(await city.exchange(client, "10.77.0.2:7777", "payload"), "done");
    const peer = Buffer.from("spiffe://cluster.local/ns/ns/sa/client");
    assert.equal(heard.subarray(0, 12).toString("hex"), "0d0a0d0a000d0a515549540a");
    assert.deepEqual([heard[12], heard[13], [...heard.subarray(16, 24)].join("."), heard.readUInt16BE(26)], [0x21, 0x11, "10.77.0.1.10.77.0.2", 7777]);
    assert.deepEqual([heard[28], heard.readUInt16BE(29), heard.subarray(31, 31 + peer.length).toString()], [0xd0, peer.length, peer.toString()]);
    assert.equal(heard.subarray(31 + peer.length).toString(), "payload");
  });
});
