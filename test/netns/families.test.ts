// Our rules and our ztunnels together, on IPv4, IPv6 and both, to a pod of the same node and of another: each node has a ztunnel of its
// own, all pods are real network namespaces on one bridge. Needs root: it fails, rather than skips, without.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { basename } from "node:path";
import { security, workload } from "@ambit/proto";
import { member, octets, pod as wirePod, svc, type WirePolicy } from "@ambit/proxy/testing";
import { podRedirection } from "../../packages/cni/src/apply.ts";
import type { BoundZtunnel } from "../../packages/ztunnel/src/app.ts";
import { City, type CityPod } from "../../packages/ztunnel/src/city.fixture.ts";

const PROBE = { 4: "169.254.7.127", 6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff" } as const;
type Version = keyof typeof PROBE;
const ADDRESS: Readonly<Record<Version, (host: number) => string>> = { 4: (h) => `10.77.0.${h}`, 6: (h) => `fd77::${h}` };
const VIP: Readonly<Record<Version, (n: number) => string>> = { 4: (n) => `10.96.0.${n}`, 6: (n) => `fd96::${n}` };
const host = (ip: string): string => (ip.includes(":") ? `[${ip}]` : ip);
const STRICT: WirePolicy = {
  name: "strict", namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.DENY,
  rules: [{ clauses: [{ matches: [{ notPrincipals: [{ matchType: { case: "presence", value: {} } }] }] }] }],
} as WirePolicy;

/** The least that IPv6 allows a link to carry. */
const MTU_MIN = 1_280;
const BULK_OCTETS = 4 * 1024 * 1024;

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

for (const backend of ["nft", "iptables"] as const) for (const versions of [[4], [6], [4, 6]] as const) describe(`${backend}: pods with IPv${versions.join(" and IPv")}`, function () {
  this.timeout(10_000);
  const rules = podRedirection(backend === "nft");
  const city = new City((netns) => rules.apply(netns, { ipv6: true, dnsCapture: false, bypassInbound: false, virtualInterfaces: [], probeIpv4: PROBE[4], probeIpv6: PROBE[6] }));
  const of = (h: number): string => versions.map((v) => ADDRESS[v](h)).join(",");
  const described = (name: string, h: number, more: object = {}) => ({ workload: wirePod(name, "", { addresses: versions.map((v) => octets(ADDRESS[v](h))), ...more }) });
  let client: CityPod;
  let outside: CityPod;
  let kubelet: CityPod;
  let far: BoundZtunnel | undefined;

  before(async function () {
    // Two ztunnels and seven namespaces: a full machine takes its time.
    this.timeout(60_000);
    await city.start();
    client = await city.pod("client", of(1));
    const near = await city.pod("near", of(2));
    const remote = await city.pod("remote", of(3));
    outside = await city.pod("outside", of(4), false);
    kubelet = await city.pod("kubelet", versions.map((v) => PROBE[v]).join(","), false);
    city.put(described("client", 1), described("near", 2, { services: member("near") }), described("remote", 3, { node: "n2", services: member("remote") }),
      described("narrow", 5, { node: "n2" }), described("outside", 4, { tunnelProtocol: workload.TunnelProtocol.NONE }),
      ...["near", "remote"].map((name, i) => ({ service: svc(name, "", { addresses: versions.map((v) => ({ network: "", address: octets(VIP[v](i + 1)) })) }) })));
    const narrow = await city.pod("narrow", of(5));
    execFileSync("ip", ["-n", basename(narrow.path), "link", "set", "eth0", "mtu", String(MTU_MIN)]);
    await city.listen(narrow, 8081, (socket) => { socket.pipe(socket); });
    for (const pod of [near, remote, outside]) await city.listen(pod, 8080, (socket) => { socket.end(`${pod.name} hears ${(socket.remoteAddress ?? "").replace("::ffff:", "")}`); socket.resume(); });
    await city.startZtunnel();
    await city.connected();
    for (const pod of [client, near]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    far = await city.buildAnother({ NODE_NAME: "n2" });
    await city.connectedAgain();
    for (const pod of [remote, narrow]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    while (city.lines.filter((l) => l["msg"] === "ready").length < 2) await city.line(() => city.lines.filter((l) => l["msg"] === "ready").length === 2);
  });
  after(async () => {
    // Also after a `before` that failed: what it made must not stay.
    await far?.drain();
    await city.stop();
  });
  beforeEach(() => { city.lines.length = 0; });

  const hello = async (from: CityPod, to: string): Promise<string> => {
    const socket = await city.dial(from, to);
    socket.end();
    return readAll(socket);
  };
  const refused = async (from: CityPod, to: string): Promise<string> => {
    try {
      const socket = await city.dial(from, to);
      const error = once(socket, "error");
      socket.resume();
      return ((await error)[0] as NodeJS.ErrnoException).code ?? "";
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? "";
    }
  };
  const outbound = () => city.line((l) => l["msg"] === "connection complete" && l["direction"] === "outbound");

  for (const v of versions) describe(`over IPv${v}`, () => {
    for (const [where, name, h, vip] of [["same node", "near", 2, 1], ["another node", "remote", 3, 2]] as const) {
      it(`${where}: by the pod's address, in a tunnel, and the application sees the client's address`, async () => {
        assert.equal(await hello(client, `${host(ADDRESS[v](h))}:8080`), `${name} hears ${ADDRESS[v](1)}`);
        const line = await outbound();
        assert.deepEqual([line["dst.hbone_addr"], line["dst.addr"], line["src.identity"], line["dst.identity"]],
          [`${host(ADDRESS[v](h))}:8080`, `${host(ADDRESS[v](h))}:15008`, "spiffe://cluster.local/ns/ns/sa/client", `spiffe://cluster.local/ns/ns/sa/${name}`]);
      });
      it(`${where}: by the service's address`, async () => {
        assert.match(await hello(client, `${host(VIP[v](vip))}:80`), new RegExp(`^${name} hears `));
        assert.match(String((await outbound())["dst.hbone_addr"]), /:8080$/);
      });
    }
    it(`bulk over a link of ${MTU_MIN} octets arrives whole, both ways`, async () => {
      const socket = await city.dial(client, `${host(ADDRESS[v](5))}:8081`);
      const sent = Buffer.alloc(BULK_OCTETS, "0123456789abcdef");
      socket.end(sent);
      const chunks: Buffer[] = [];
      for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
      assert.ok(Buffer.concat(chunks).equals(sent));
    });
    it("from the mesh to a pod outside, in plaintext", async () => {
      assert.equal(await hello(client, `${host(ADDRESS[v](4))}:8080`), `outside hears ${ADDRESS[v](1)}`);
      assert.equal((await outbound())["dst.hbone_addr"], undefined);
    });
    it("from outside: served without STRICT, refused with it; the node's probes are neither captured nor judged", async () => {
      assert.equal(await hello(outside, `${host(ADDRESS[v](3))}:8080`), `remote hears ${ADDRESS[v](4)}`);
      city.put({ policy: STRICT });
      try {
        const deadline = Date.now() + 5_000;
        while (await refused(outside, `${host(ADDRESS[v](3))}:8080`).then((code) => code !== "ECONNRESET")) assert.ok(Date.now() < deadline, "STRICT arrived");
        city.lines.length = 0;
        assert.equal(await hello(kubelet, `${host(ADDRESS[v](3))}:8080`), `remote hears ${PROBE[v]}`);
        assert.equal(await hello(client, `${host(ADDRESS[v](3))}:8080`), `remote hears ${ADDRESS[v](1)}`);
        assert.deepEqual(city.lines.filter((l) => String(l["src.addr"]).includes(PROBE[v])), []);
      } finally {
        city.dropPolicy("ns/strict");
        const deadline = Date.now() + 5_000;
        while ((await hello(outside, `${host(ADDRESS[v](3))}:8080`).catch(() => "")) === "") assert.ok(Date.now() < deadline, "STRICT left");
      }
    });
  });
});
