// Trust that changes while tunnels live: revocation lists and bundles, on real namespaces. Needs root.
import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { fakeCa, type FakeCert } from "@ambit/testkit";
import { member, pod as wirePod, svc } from "@ambit/proxy/testing";
import { City, type CityPod } from "./city.fixture.ts";

describe("trust that changes", function () {
  this.timeout(20_000);
  const city = new City();
  const dir = mkdtempSync(join(tmpdir(), "zt-trust-"));
  const path = join(dir, "crl.pem");
  let client: CityPod;
  let server: CityPod;
  const first = city.certify("server");
  const ending = (socket: Socket): Promise<string> => new Promise((resolve) => {
    let how = "end";
    socket.on("error", (e: NodeJS.ErrnoException) => { how = e.code ?? "error"; }).on("close", () => resolve(how));
  });

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    city.put({ workload: wirePod("client", "10.77.0.1") }, { workload: wirePod("server", "10.77.0.2", { services: member("web") }) }, { service: svc("web", "10.96.0.1") });
    await city.listen(server, 8080, (socket) => { socket.write("hello\n"); socket.pipe(socket); });
    await city.startZtunnel({ CRL_PATH: path });
    await city.connected();
    for (const pod of [client, server]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(async () => {
    await city.stop();
    rmSync(dir, { recursive: true });
  });
  beforeEach(() => { city.lines.length = 0; });

  const derOf = (pem: string): FakeCert => ({ der: Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64"), certPem: pem, chainPem: pem, keyPem: "" });
  async function revoke(...leaves: { readonly chainPem: string }[]): Promise<void> {
    writeFileSync(`${path}.new`, city.ca.crl(leaves.map((l) => derOf(l.chainPem))));
    renameSync(`${path}.new`, path);
    await city.line((l) => l["msg"] === "revocation lists in force");
  }
  it("a client whose certificate is revoked is cut at once, and refused from then on", async () => {
    const revoked = city.certify("client");
    const socket = await city.dial(client, "10.96.0.1:80");
    await once(socket, "data");
    const ended = ending(socket);
    city.lines.length = 0;
    await revoke(revoked);
    assert.equal(await ended, "ECONNRESET");
    const line = await city.complete("inbound");
    assert.equal(line["code"], "cert-revoked");
    await assert.rejects(city.exchange(client, "10.96.0.1:80"), { code: "ECONNRESET" });
    const early = await city.line((l) => l["msg"] === "connection failed");
    assert.equal(early["code"], "cert-revoked");
    assert.match(city.ztunnel.metrics.expose(), /istio_crl_policy_rejections_total\{reporter="destination"\} [2-9]/);
    assert.match(city.ztunnel.metrics.expose(), /istio_tcp_connections_failed_total\{[^}]*response_flags="CERT_REVOKED"/);
  });
  it("a new certificate of the same identity is welcome", async () => {
    city.certify("client");
    assert.equal(await city.exchange(client, "10.96.0.1:80", "x"), "hello\nx");
  });
  it("a server whose certificate is revoked is refused by its clients", async () => {
    await revoke(first);
    await assert.rejects(city.exchange(client, "10.96.0.1:80"), { code: "ECONNRESET" });
    assert.equal((await city.complete("outbound"))["code"], "cert-revoked");
    city.certify("server");
    city.certify("client");
    assert.equal(await city.exchange(client, "10.96.0.1:80", "x"), "hello\nx");
  });
  it("a file that is broken changes nothing", async () => {
    writeFileSync(path, "no list");
    await city.line((l) => l["msg"] === "revocation lists stay as they were");
    assert.equal(await city.exchange(client, "10.96.0.1:80", "x"), "hello\nx");
  });
  it("a bundle that gains a root keeps open connections; one that loses theirs cuts them", async () => {
    const next = fakeCa("next root");
    const both = city.ca.rootPem + next.rootPem;
    const socket = await city.dial(client, "10.96.0.1:80");
    await once(socket, "data");
    for (const name of ["client", "server"]) city.certify(name, city.ca, both);
    socket.write("still");
    assert.equal(String((await once(socket, "data"))[0]), "still");
    // The server's side moves on and trusts only the new root: the client's tunnel was made with the old one.
    const closed = ending(socket);
    city.certify("server", next, next.rootPem);
    assert.equal(await closed, "ECONNRESET");
    assert.equal((await city.complete("inbound"))["code"], "trust-changed");
    await assert.rejects(city.exchange(client, "10.96.0.1:80"), { code: "ECONNRESET" });
    city.certify("client", next, both);
    assert.equal(await city.exchange(client, "10.96.0.1:80", "x"), "hello\nx");
  });
  it("does not start with lists that cannot be read", async () => {
    writeFileSync(path, "no list");
    await assert.rejects(city.buildAnother({ CRL_PATH: path }), /revocation lists .* cannot be used/);
  });
});
