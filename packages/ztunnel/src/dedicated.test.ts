// Two ztunnels, each for one workload in its own namespace, from one file: no node agent, no control plane. Needs root.
import assert from "node:assert/strict";
import { hostKernel } from "@ambit/linux";
import { City, type CityPod } from "./city.fixture.ts";
import type { BoundZtunnel } from "./app.ts";

const LOCAL = `
workloads:
- {uid: client, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.77.0.1], protocol: HBONE}
- {uid: server, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.77.0.2], protocol: HBONE, services: {ns/web: {80: 8080}}}
services:
- {name: web, namespace: ns, hostname: web, vips: [/10.96.0.1], ports: {80: 8080, 81: 8080}}
policies:
- {name: not-9999, namespace: ns, scope: Namespace, action: Deny, rules: [[[{destinationPorts: [9999]}]]]}
`;

describe("ztunnel for one workload", function () {
  this.timeout(20_000);
  const city = new City();
  const running: BoundZtunnel[] = [];
  let client: CityPod;
  let server: CityPod;
  const settings = (name: string): Record<string, string> => ({ PROXY_MODE: "dedicated", PROXY_WORKLOAD_INFO: `ns/${name}/${name}`, LOCAL_XDS: LOCAL, XDS_ADDRESS: "" });
  // In a test the process is not in the workload's namespace, so that is looked up instead of our own.
  const inside = (pod: CityPod) => ({ kernel: { ...hostKernel, openNetns: () => hostKernel.openNetns(pod.path) } });

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    for (const port of [8080, 9999]) await city.listen(server, port, (socket) => { socket.write(`hello ${socket.remoteAddress}\n`); socket.pipe(socket); });
    for (const pod of [client, server]) running.push(await city.buildAnother(settings(pod.name), inside(pod)));
  });
  after(async () => {
    for (const z of running) await z.drain();
    await city.stop();
  });
  beforeEach(() => { city.lines.length = 0; });

  it("is ready without anybody", async () => {
    for (const z of running) assert.equal((await fetch(`http://127.0.0.1:${z.readinessPort}/healthz/ready`)).status, 200);
  });
  it("tunnels, with both identities proven", async () => {
    assert.equal(await city.exchange(client, "10.96.0.1:80", "x"), "hello 10.77.0.1\nx");
    const line = await city.complete("inbound");
    assert.deepEqual([line["src.identity"], line["dst.identity"], line["dst.service"]], ["spiffe://cluster.local/ns/ns/sa/client", "spiffe://cluster.local/ns/ns/sa/server", "web"]);
  });
  it("holds the policies of its file", async () => {
    await assert.rejects(city.exchange(client, "10.77.0.2:9999"), { code: "ECONNRESET" });
    assert.equal((await city.complete("outbound"))["policy"], "ns/not-9999");
  });
  it("does not start from a file that it does not understand", async () => {
    await assert.rejects(city.buildAnother({ ...settings("client"), LOCAL_XDS: "workloads: [{uid: a, colour: red}]" }, inside(client)), /bad local configuration: .*workloads\[0\]\.colour: is not known/);
  });
});
