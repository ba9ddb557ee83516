import assert from "node:assert/strict";
import { once } from "node:events";
import { X509Certificate } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { MeshError, ok, err } from "@ambit/core";
import { fakeCa, Recorder, type FakeCert } from "@ambit/testkit";
import { acceptTls, connectTls, createTlsCredentials, type TlsConnection, type TlsOptions } from "./tls-handshake.ts";

const ca = fakeCa();
const other = fakeCa("other root");
const good = { client: ca.leaf("default", "client"), server: ca.leaf("default", "server") };
const names = (der: Uint8Array): string => new X509Certificate(der).subjectAltName ?? "";
const accept = (der: Uint8Array) => ok(names(der));
const with_ = (cert: FakeCert, roots = ca.rootPem) => createTlsCredentials({ chain: cert.chainPem, key: cert.keyPem, roots });

type Outcome = string;

describe("TLS handshake", () => {
  let server: net.Server;
  const sockets = new Set<net.Socket>();
  const accepted: net.Socket[] = [];
  let port = 0;
  beforeEach(async () => {
    server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (s) => { sockets.add(s); accepted.push(s); server.emit("ambit", s); });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    port = (server.address() as net.AddressInfo).port;
  });
  afterEach(async () => {
    for (const s of sockets) s.destroy();
    sockets.clear();
    await new Promise((resolve) => server.close(resolve));
  });
  const dial = (): net.Socket => {
    const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    sockets.add(socket);
    return socket;
  };
  const codeOf = (e: unknown): Outcome => (e instanceof MeshError ? e.code : `unexpected ${String(e)}`);

  /** Runs both halves. The client of TLS 1.3 is done before the server judged it, so its outcome is "ok" unless it refuses itself. */
  const run = async (c: Partial<TlsOptions<string>>, s: Partial<TlsOptions<string>>): Promise<[Outcome, Outcome]> => {
    const serving = once(server, "ambit").then(([socket]) => acceptTls(socket as net.Socket, { credentials: with_(good.server), verify: accept, ...s })).then((t) => t.peer, codeOf);
    const dialled = connectTls(dial(), { credentials: with_(good.client), verify: accept, ...c }).then((t) => t.peer, codeOf);
    return Promise.all([dialled, serving]);
  };
  const URI = (sa: string): string => `URI:spiffe://cluster.local/ns/default/sa/${sa}`;

  it("shows each side the other's verified leaf", async () => assert.deepEqual(await run({}, {}), [URI("server"), URI("client")]));

  const expired = ca.issue({ identity: { trustDomain: "cluster.local", namespace: "default", serviceAccount: "old" }, notBefore: 0, notAfter: 86_400_000 });
  const future = ca.issue({ dnsNames: ["x"], notBefore: Date.now() + 3_600_000, notAfter: Date.now() + 7_200_000 });
  const refused: readonly (readonly [string, Partial<TlsOptions<string>>, Partial<TlsOptions<string>>, Outcome | undefined, Outcome | undefined])[] = [
    ["a server of another root", {}, { credentials: with_(other.leaf("default", "server")) }, "tls-handshake", undefined],
    ["a client of another root", { credentials: with_(other.leaf("default", "client"), ca.rootPem) }, {}, undefined, "tls-handshake"],
    ["an expired server", {}, { credentials: with_(expired) }, "tls-handshake", undefined],
    ["an expired client", { credentials: with_(expired) }, {}, undefined, "tls-handshake"],
    ["a client from the future", { credentials: with_(future) }, {}, undefined, "tls-handshake"],
    ["a server with a client's certificate", {}, { credentials: with_(ca.issue({ dnsNames: ["x"], usages: ["client"] })) }, "tls-handshake", undefined],
    ["a client with a server's certificate", { credentials: with_(ca.issue({ dnsNames: ["x"], usages: ["server"] })) }, {}, undefined, "tls-handshake"],
    ["a server that the client's function refuses", { verify: () => err("not the expected identity") }, {}, "identity-mismatch", undefined],
    ["a client that the server's function refuses", {}, { verify: () => err("foreign trust domain") }, undefined, "identity-mismatch"],
    ["another protocol", { alpn: "http/1.1" }, {}, "tls-handshake", "tls-handshake"],
  ];
  for (const [what, c, s, onClient, onServer] of refused) it(`refuses ${what}`, async () => {
    const [client, serving] = await run(c, s);
    if (onClient !== undefined) assert.equal(client, onClient);
    if (onServer !== undefined) assert.equal(serving, onServer);
  });

  it("names both times when a certificate does not fit this clock, whoever's is wrong", async () => {
    const said = async (cert: FakeCert, roots = ca.rootPem): Promise<string> => {
      const serving = once(server, "ambit").then(([socket]) => acceptTls(socket as net.Socket, { credentials: with_(good.server, roots), verify: accept })).then(() => "ok", (e: Error) => e.message);
      await connectTls(dial(), { credentials: with_(cert), verify: accept }).catch(() => undefined);
      return serving;
    };
    const [, from = "", here = ""] = /CERT_NOT_YET_VALID \(its leaf is valid from (\S+) to \S+, the time here is (\S+)\)$/.exec(await said(future)) ?? [];
    assert.ok(Math.abs(Date.now() - Date.parse(here)) < 60_000, here);
    assert.equal(from, new Date(new X509Certificate(future.chainPem).validFrom).toISOString());
    assert.match(await said(expired), /CERT_HAS_EXPIRED \(its leaf is valid from 1970-01-01T00:00:00.000Z to 1970-01-02T00:00:00.000Z, the time here is \d{4}-/);
    assert.doesNotMatch(await said(other.leaf("default", "client")), /the time here/);
  });

  const foreign = async (options: tls.ConnectionOptions): Promise<Outcome> => {
    const serving = once(server, "ambit").then(([socket]) => acceptTls(socket as net.Socket, { credentials: with_(good.server), verify: accept })).then((t) => t.peer, codeOf);
    const socket = tls.connect({ host: "127.0.0.1", port, ca: ca.rootPem, cert: good.client.chainPem, key: good.client.keyPem, ALPNProtocols: ["h2"], checkServerIdentity: () => undefined, ...options });
    sockets.add(socket);
    socket.on("error", () => {});
    return serving;
  };
  it("refuses a client without certificate", async () => {
    const serving = once(server, "ambit").then(([socket]) => acceptTls(socket as net.Socket, { credentials: with_(good.server), verify: accept })).then((t) => t.peer, codeOf);
    const socket = tls.connect({ host: "127.0.0.1", port, ca: ca.rootPem, ALPNProtocols: ["h2"], checkServerIdentity: () => undefined });
    sockets.add(socket);
    socket.on("error", () => {});
    assert.equal(await serving, "tls-handshake");
  });
  it("refuses a client without ALPN", async () => assert.equal(await foreign({ ALPNProtocols: [] }), "tls-handshake"));
  it("refuses TLS 1.2", async () => assert.equal(await foreign({ maxVersion: "TLSv1.2" }), "tls-handshake"));
  for (const group of ["X25519MLKEM768", "X25519", "P-256"]) it(`serves a peer that only has ${group}`, async () => assert.equal(await foreign({ ecdhCurve: group }), URI("client")));
  it("serves a peer that only has AES-256", async () => assert.equal(await foreign({ ciphers: "TLS_AES_256_GCM_SHA384" }), URI("client")));

  it("resumes no session", async () => {
    const once_ = async (session?: Buffer): Promise<{ session: Buffer | undefined; reused: boolean }> => {
      const serving = once(server, "ambit").then(([socket]) => acceptTls(socket as net.Socket, { credentials: shared, verify: accept }));
      const socket = tls.connect({ host: "127.0.0.1", port, ca: ca.rootPem, cert: good.client.chainPem, key: good.client.keyPem, ALPNProtocols: ["h2"],
        checkServerIdentity: () => undefined, ...(session === undefined ? {} : { session }) });
      sockets.add(socket);
      let ticket: Buffer | undefined;
      socket.on("session", (t) => (ticket = t));
      await once(socket, "secureConnect");
      const connection = await serving;
      const recorder = new Recorder(connection.stream);
      socket.end("x");
      await recorder.until((r) => r.ended);
      const reused = socket.isSessionReused();
      connection.stream.end();
      socket.resume();
      await once(socket, "close");
      return { session: ticket, reused };
    };
    const shared = with_(good.server);
    const first = await once_();
    assert.equal((await once_(first.session)).reused, false);
  });

  it("sends no server name, prefers AES-128 and the post-quantum group", async () => {
    const seen = await new Promise<{ servername: string | false; cipher: string }>((resolve, reject) => {
      const foreignServer = tls.createServer({ cert: good.server.chainPem, key: good.server.keyPem, ca: ca.rootPem, requestCert: true, ALPNProtocols: ["h2"], ecdhCurve: "X25519MLKEM768", honorCipherOrder: false }, (s) =>
        resolve({ servername: "servername" in s ? (s.servername as string | false) : false, cipher: s.getCipher().name }));
      server.once("ambit", (socket: net.Socket) => foreignServer.emit("connection", socket));
      connectTls(dial(), { credentials: with_(good.client), verify: accept }).catch(reject);
    });
    assert.deepEqual(seen, { servername: false, cipher: "TLS_AES_128_GCM_SHA256" });
  });

  it("gives up on a silent peer, on an abort, on garbage, and on a peer that hangs up", async () => {
    const attempt = (options: Partial<TlsOptions<string>>): Promise<Outcome> =>
      connectTls(dial(), { credentials: with_(good.client), verify: accept, ...options }).then((t: TlsConnection<string>) => t.peer, codeOf);
    assert.equal(await attempt({ timeoutMs: 20 }), "tls-handshake");
    assert.equal(await attempt({ signal: AbortSignal.timeout(10) }), "tls-handshake");
    assert.equal(await attempt({ signal: AbortSignal.abort() }), "tls-handshake");
    server.once("ambit", (s: net.Socket) => s.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    assert.equal(await attempt({}), "tls-handshake");
    server.once("ambit", (s: net.Socket) => s.destroy());
    assert.equal(await attempt({}), "tls-handshake");
    const free = port;
    server.close();
    assert.equal(await connectTls(net.connect({ host: "127.0.0.1", port: free, family: 4 }), { credentials: with_(good.client), verify: accept }).then(() => "ok", codeOf), "connect-refused");
  });

  it("refuses unusable credentials with a reason", () => {
    assert.throws(() => createTlsCredentials({ chain: "nonsense", key: good.client.keyPem, roots: ca.rootPem }), /unusable certificate/);
    assert.throws(() => createTlsCredentials({ chain: good.server.chainPem, key: good.client.keyPem, roots: ca.rootPem }), /unusable certificate/);
  });
});
