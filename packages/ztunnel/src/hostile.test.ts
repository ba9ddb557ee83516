// Peers and applications that mean harm, on real namespaces: identities, authorities, baggage, recycled addresses, our own ports. Needs root.
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { security, workload } from "@ambit/proto";
import { TunnelClient, TunnelRefused } from "@ambit/hbone";
import { systemClock } from "@ambit/runtime";
import { connectTls, createTlsCredentials } from "@ambit/transport";
import { fakeCa, type FakeCert } from "@ambit/testkit";
import { member, pod as wirePod, svc } from "@ambit/proxy/testing";
import { City, type CityPod } from "./city.fixture.ts";

describe("hostile peers and applications", function () {
  this.timeout(20_000);
  const city = new City();
  let client: CityPod;
  let server: CityPod;
  let outside: CityPod;
  const ID = (name: string, td = "cluster.local"): string => `spiffe://${td}/ns/ns/sa/${name}`;

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    outside = await city.pod("outside", "10.77.0.3", false);
    city.put({ workload: wirePod("client", "10.77.0.1") }, { service: svc("web", "10.96.0.1") }, { workload: wirePod("server", "10.77.0.2", { services: member("web") }) },
      { workload: wirePod("outside", "10.77.0.3", { tunnelProtocol: workload.TunnelProtocol.NONE }) });
    await city.listen(server, 8080, (socket) => { socket.write(`hello ${socket.remoteAddress}\n`); socket.pipe(socket); });
    await city.startZtunnel();
    await city.connected();
    for (const pod of [client, server]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(() => city.stop());
  beforeEach(() => { city.lines.length = 0; });
  afterEach(async () => assert.equal(await city.exchange(client, "10.96.0.1:80"), "hello 10.77.0.1\n", "the others are unharmed"));

  const early = () => city.line((l) => l["msg"] === "connection failed");
  const ended = (socket: Socket): Promise<string> => new Promise((resolve) => {
    let how = "closed";
    socket.on("error", (e: NodeJS.ErrnoException) => { how = e.code ?? "error"; }).on("end", () => socket.end()).on("close", () => resolve(how)).resume();
  });
  const dialTls = async (leaf: FakeCert) => {
    const credentials = createTlsCredentials({ chain: leaf.chainPem, key: leaf.keyPem, roots: city.ca.rootPem });
    const { stream } = await connectTls(await city.dial(outside, "10.77.0.2:15008"), { credentials, verify: () => ({ ok: true, value: undefined }) });
    return new TunnelClient(stream, { clock: systemClock, maxStreams: 10 });
  };
  const mallory = () => city.ca.leaf("ns", "mallory");
  async function status(authority: string, headers: Record<string, string> = {}): Promise<number> {
    const tunnel = await dialTls(mallory());
    try {
      const opened = await tunnel.open({ authority, headers });
      opened.stream.destroy();
      return 200;
    } catch (error) {
      assert.ok(error instanceof TunnelRefused, String(error));
      return error.status;
    } finally {
      tunnel.destroy(undefined);
    }
  }

  describe("what a tunnel may ask for", () => {
    const cases: [name: string, authority: string, status: number, code?: string][] = [
      ["the pod's own address", "10.77.0.2:8080", 200],
      ["another pod", "10.77.0.1:8080", 400, "destination-mismatch"],
      ["loopback", "127.0.0.1:8080", 400, "destination-mismatch"],
      ["loopback, as IPv6", "[::1]:8080", 400, "destination-mismatch"],
      ["the pod's address, mapped into IPv6", "[::ffff:10.77.0.2]:8080", 400, "bad-authority"],
      ["a metadata address", "169.254.169.254:80", 400, "destination-mismatch"],
      ["a node-like address", "172.30.0.11:10250", 400, "destination-mismatch"],
      ["our outbound listener", "10.77.0.2:15001", 503, "self-call"],
      ["our plaintext listener", "10.77.0.2:15006", 503, "self-call"],
      ["our tunnel listener", "10.77.0.2:15008", 503, "self-call"],
      ["an authority that is none", "10.77.0.2", 400, "bad-authority"],
      ["an authority with a user", "root@10.77.0.2:8080", 400, "bad-authority"],
      ["an address in octal", "010.77.0.2:8080", 400, "bad-authority"],
      ["a hostname nobody knows", "nobody.example:80", 503, "unknown-host"],
      ["a service's hostname", "web:80", 200],
    ];
    for (const [name, authority, expected, code] of cases) it(`CONNECT to ${name} → ${expected}`, async () => {
      assert.equal(await status(authority), expected);
      if (code !== undefined) assert.equal((await early())["code"], code);
    });
  });

  describe("who may open a tunnel (S32, S33)", () => {
    const day = 86_400_000;
    const issue = (...args: Parameters<typeof city.ca.issue>) => (): FakeCert => city.ca.issue(...args);
    const cases: [name: string, leaf: () => FakeCert, code: string, error: RegExp][] = [
      ["another authority", () => fakeCa("evil").leaf("ns", "mallory"), "tls-handshake", /./],
      ["another trust domain", () => city.ca.leaf("ns", "mallory", "other.domain"), "identity-mismatch", /^the peer spiffe:\/\/other\.domain\/ns\/ns\/sa\/mallory is not of trust domain cluster\.local$/],
      ["an upper-case trust domain", issue({ uris: [ID("mallory", "Cluster.local")] }), "identity-mismatch", /bad trust domain/],
      ["two identities", issue({ uris: [ID("mallory"), ID("server")] }), "identity-mismatch", /2 URI names instead of one/],
      ["no identity", issue({ dnsNames: ["server.ns"] }), "identity-mismatch", /0 URI names/],
      ["a path that climbs", issue({ uris: ["spiffe://cluster.local/ns/ns/sa/a/../server"] }), "identity-mismatch", /not of the form/],
      ["a NUL octet", issue({ uris: [`${ID("server")}\0.evil`] }), "identity-mismatch", /bad namespace or service account/],
      ["an expired certificate", issue({ identity: { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "old" }, notBefore: Date.now() - 2 * day, notAfter: Date.now() - day }), "tls-handshake", /expired/i],
      ["a certificate from the future", issue({ identity: { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "new" }, notBefore: Date.now() + day, notAfter: Date.now() + 2 * day }), "tls-handshake", /NOT_YET_VALID/],
      ["a server's certificate", issue({ identity: { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "srv" }, usages: ["server"] }), "tls-handshake", /purpose/i],
    ];
    for (const [name, leaf, code, error] of cases) it(`not with ${name}`, async () => {
      await assert.rejects(async () => {
        const tunnel = await dialTls(leaf());
        await tunnel.open({ authority: "10.77.0.2:8080", headers: {} });
      });
      const line = await early();
      assert.equal(line["code"], code, String(line["error"]));
      assert.match(String(line["error"]), error);
    });
    it("not without TLS, nor as noise, nor by leaving at once", async () => {
      for (let i = 0; i < 20; i++) {
        const socket = await city.dial(outside, "10.77.0.2:15008");
        if (i % 2 === 0) { const end = ended(socket); socket.write("GET / HTTP/1.1\r\n\r\n"); await end; } else socket.resetAndDestroy();
      }
      assert.equal((await early())["code"], "tls-handshake");
    });
  });

  describe("what a peer says of itself (S35)", () => {
    const lie = {
      baggage: "k8s.namespace.name=istio-system,k8s.pod.name=istiod,service.name=istiod,k8s.cluster.name=other", forwarded: 'for="10.77.0.1:1";host=web',
      "x-forwarded-client-cert": `URI=${ID("client")}`, "x-forwarded-network": "elsewhere", "x-forwarded-for": "10.77.0.1",
    };
    it("never changes the verdict: identity and address are the connection's own", async () => {
      const only = (name: string, matches: object) => city.pushed(() => city.put({ policy: { name, namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.ALLOW, rules: [{ clauses: [{ matches: [matches] }] }] } }));
      for (const [name, matches] of [
        ["ns-system", { namespaces: [{ matchType: { case: "exact", value: "istio-system" } }] }], ["client", { principals: [{ matchType: { case: "exact", value: "cluster.local/ns/ns/sa/client" } }] }],
        ["client-ip", { sourceIps: [{ address: Uint8Array.of(10, 77, 0, 1), length: 32 }] }],
      ] as const) await only(name, matches);
      assert.equal(await status("10.77.0.2:8080", lie), 401);
      const line = await city.complete("inbound");
      assert.deepEqual([line["src.identity"], line["src.namespace"], line["src.addr"]?.toString().split(":")[0]], [ID("mallory"), "ns", "10.77.0.3"]);
      for (const name of ["ns-system", "client", "client-ip"]) await city.pushed(() => city.dropPolicy(`ns/${name}`));
    });
    it("cannot put its own fields into our log, nor break it", async () => {
      for (const baggage of ["k8s.namespace.name=a\tb", "=", ",".repeat(4000), "k8s.pod.name=%0a%0dlevel=error", "x".repeat(5000)]) assert.equal(await status("10.77.0.2:8080", { baggage, forwarded: baggage, traceparent: baggage }), 200);
    });
  });

  describe("spoofed sources and plaintext (S28)", () => {
    it("plaintext under STRICT is refused before the application hears of it, and says that there was no identity", async () => {
      await city.pushed(() => city.put({ policy: { name: "strict", namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.DENY, rules: [{ clauses: [{ matches: [{ notPrincipals: [{ matchType: { case: "presence", value: {} } }] }] }] }] } }));
      const refused = await city.dial(outside, "10.77.0.2:8080").then(ended, (e: NodeJS.ErrnoException) => e.code ?? "");
      assert.equal(refused, "ECONNRESET");
      const line = await city.complete("inbound");
      assert.deepEqual([line["src.identity"], line["policy"]], [undefined, "ns/strict"]);
      await city.pushed(() => city.dropPolicy("ns/strict"));
    });
    it("an address alone is no identity: a rule on a principal does not match the pod's address in plaintext", async () => {
      await city.pushed(() => city.put({ workload: wirePod("outside", "10.77.0.3", { tunnelProtocol: workload.TunnelProtocol.NONE, serviceAccount: "client" }) }));
      await city.pushed(() => city.put({ policy: { name: "only-client", namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.ALLOW, rules: [{ clauses: [{ matches: [{ principals: [{ matchType: { case: "suffix", value: "/sa/client" } }] }] }] }] } }));
      assert.equal(await city.dial(outside, "10.77.0.2:8080").then(ended, (e: NodeJS.ErrnoException) => e.code ?? ""), "ECONNRESET");
      await city.pushed(() => city.dropPolicy("ns/only-client"));
    });
  });

  describe("applications in an enrolled pod (S29)", () => {
    it("cannot use our listeners, nor reach the admin port", async () => {
      for (const to of ["127.0.0.1:15001", "127.0.0.1:15006", "10.77.0.1:15001", "10.77.0.1:15006"]) {
        assert.equal(await city.dial(client, to).then(ended, (e: NodeJS.ErrnoException) => e.code ?? ""), "ECONNRESET", to);
      }
      assert.ok(city.lines.filter((l) => l["code"] !== undefined).every((l) => l["code"] === "self-call"));
      for (const port of [city.ztunnel.adminPort, 15000]) await assert.rejects(city.dial(client, `127.0.0.1:${port}`), { code: "ECONNREFUSED" });
    });
    it("cannot ask another pod's outbound listener to work for them", async () => {
      assert.equal(await city.dial(client, "10.77.0.2:15001").then(ended, (e: NodeJS.ErrnoException) => e.code ?? ""), "ECONNRESET");
    });
  });

  describe("a recycled address (S30)", () => {
    it("the old pod's tunnel never leads to the new pod", async () => {
      const old = await city.pod("old", "10.77.0.20");
      await city.pushed(() => city.put({ workload: wirePod("old", "10.77.0.20") }));
      await city.listen(old, 8080, (socket) => { socket.write("old\n"); socket.resume(); });
      assert.equal(await city.add(old), "");
      const open = await city.dial(client, "10.77.0.20:8080");
      assert.equal(String((await once(open, "data"))[0]), "old\n");
      const how = ended(open);
      // The pod is gone, another has its address; the client's ztunnel does not know it yet.
      assert.equal(await city.del(old), "");
      assert.equal(await how, "ECONNRESET");
      city.takeAddress(old);
      const heir = await city.pod("heir", "10.77.0.20");
      let served = 0;
      await city.listen(heir, 8080, (socket) => { served++; socket.end("heir\n"); });
      assert.equal(await city.add(heir), "");
      await city.pushed(() => city.put({ workload: wirePod("heir", "10.77.0.20", { addresses: [] }) }));
      assert.equal(await city.dial(client, "10.77.0.20:8080").then(ended, (e: NodeJS.ErrnoException) => e.code ?? ""), "ECONNRESET");
      assert.equal((await city.line((l) => l["msg"] === "connection complete" && l["direction"] === "outbound" && l["code"] === "identity-mismatch"))["error"], `the peer is ${ID("heir")}, expected ${ID("old")}`);
      assert.equal(served, 0);
    });
  });
});
