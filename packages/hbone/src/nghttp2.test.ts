// Interop: our ends of a tunnel against nghttp2's programs and curl, as separate processes with real TLS. A program that is missing is a skip that says so.
import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Recorder, sendAll } from "@ambit/testkit";
import { TunnelRefused } from "./index.ts";
import { ca, clientCert, keyFor, Rig, serverCert, sha } from "./tunnel.fixture.ts";

/** Also where Debian puts daemons, which a user's PATH may lack. */
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin`;
/** Another one than that of the PATH: Debian 12's cannot speak HTTP/2 to a proxy. */
const CURL = process.env["CURL"] ?? "curl";
const version = (program: string): string | undefined => {
  const run = spawnSync(program, ["--version"], { env: { ...process.env, PATH }, encoding: "utf8" });
  return run.status === 0 ? run.stdout : undefined;
};
const dir = mkdtempSync(join(tmpdir(), "hbone-interop-"));
const file = (name: string, content: string): string => { const path = join(dir, name); writeFileSync(path, content); return path; };
const [clientPem, clientKey] = [file("client.pem", clientCert.chainPem), file("client.key", clientCert.keyPem)];
const [serverPem, serverKey, rootPem] = [file("server.pem", serverCert.chainPem), file("server.key", serverCert.keyPem), file("root.pem", ca.rootPem)];

async function output(program: string, args: readonly string[]): Promise<{ code: number | null; text: string }> {
  const child = spawn(program, args, { env: { ...process.env, PATH }, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (b: Buffer) => { text += b.toString(); });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, text };
}

describe("nghttp2's programs and curl as peers", function () {
  this.timeout(20_000);
  let rig: Rig;
  beforeEach(() => { rig = new Rig(); });
  afterEach(() => rig.end());
  after(() => rmSync(dir, { recursive: true }));

  it("nghttp asks our server for a page: HTTP/2 works, and what is no CONNECT gets 400", async function () {
    if (version("nghttp") === undefined) { console.error("skipped: nghttp is not installed (Debian: nghttp2-client)"); return this.skip(); }
    const bad: string[] = [];
    const port = await rig.serve(() => assert.fail("no tunnel was asked for"), { onBadRequest: (why) => bad.push(why) });
    const { text } = await output("nghttp", ["-v", `--cert=${clientPem}`, `--key=${clientKey}`, `https://127.0.0.1:${port}/page`]);
    assert.match(text, /The negotiated protocol: h2/);
    assert.match(text, /recv \(stream_id=\d+\) :status: 400/);
    assert.deepEqual(bad, ["method is GET, not CONNECT"]);
  });

  it("curl asks our server for a page: 400 over HTTP/2", async function () {
    if (!(version(CURL) ?? "").includes("HTTP2")) { console.error("skipped: no curl with HTTP/2"); return this.skip(); }
    const port = await rig.serve(() => assert.fail("no tunnel was asked for"));
    const { code, text } = await output(CURL, ["-s", "-k", "-w", "%{http_version} %{http_code}", "--http2", "--cert", clientPem, "--key", clientKey, `https://127.0.0.1:${port}/page`]);
    assert.deepEqual([code, text], [0, "2 400"]);
  });

  it("curl without a certificate gets nothing", async function () {
    if (version(CURL) === undefined) { console.error("skipped: curl is not installed"); return this.skip(); }
    const port = await rig.serve(() => assert.fail("nobody proved who they are"));
    assert.notEqual((await output(CURL, ["-s", "-k", "--http2", `https://127.0.0.1:${port}/page`])).code, 0);
  });

  it("curl tunnels through us as its proxy", async function () {
    const [, major = "0", minor = "0"] = /^curl (\d+)\.(\d+)/.exec(version(CURL) ?? "") ?? [];
    if (Number(major) < 8 || (Number(major) === 8 && Number(minor) < 1)) { console.error(`skipped: curl ${major}.${minor} cannot speak HTTP/2 to a proxy, 8.1 can (CURL=PATH names another)`); return this.skip(); }
    const asked: string[] = [];
    const port = await rig.serve((r) => {
      asked.push(r.authority);
      const stream = r.accept();
      stream.attach({ onData: () => { stream.write(Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")); stream.end(); }, onEnd() {}, onDrain() {}, onClose() {} });
    });
    const { text } = await output(CURL, ["-s", "--proxy-http2", "-x", `https://127.0.0.1:${port}`, "--proxy-insecure", "--proxy-cert", clientPem, "--proxy-key", clientKey, "--proxytunnel", "http://10.0.0.1:8080/"]);
    assert.deepEqual([text, asked], ["hi", ["10.0.0.1:8080"]]);
  });

  describe("nghttpx as the server of our tunnels", () => {
    let proxy: ChildProcess | undefined;
    let backend: http.Server;
    let port = 0;
    const sockets = new Set<net.Socket>();
    before(async function () {
      if (version("nghttpx") === undefined) { console.error("skipped: nghttpx is not installed (Debian: nghttp2-proxy)"); return this.skip(); }
      // nghttpx hands CONNECT on to another proxy: this one, which echoes, or refuses.
      backend = http.createServer();
      backend.on("connect", (request, socket: net.Socket, head) => {
        sockets.add(socket);
        socket.on("error", () => undefined);
        if (request.url === "refuse:1") return void socket.end("HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n");
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        if (head.length > 0) socket.write(head);
        socket.pipe(socket);
      });
      backend.listen(0, "127.0.0.1");
      await once(backend, "listening");
      const free = net.createServer().listen(0, "127.0.0.1");
      await once(free, "listening");
      port = (free.address() as net.AddressInfo).port;
      await new Promise((resolve) => free.close(resolve));
      proxy = spawn("nghttpx", ["--no-ocsp", "--http2-proxy", `--frontend=127.0.0.1,${port}`, `--backend=127.0.0.1,${(backend.address() as net.AddressInfo).port}`, "--verify-client", `--verify-client-cacert=${rootPem}`,
        "--tls-min-proto-version=TLSv1.3", "--workers=1", "--conf=/dev/null", "--errorlog-file=/dev/null", "--accesslog-file=/dev/null", serverKey, serverPem], { env: { ...process.env, PATH }, stdio: "ignore" });
      for (let i = 0; i < 100 && !(await reachable(port)); i++) await new Promise((r) => setTimeout(r, 50));
      assert.equal(await reachable(port), true, "nghttpx does not listen");
    });
    after(async () => {
      for (const s of sockets) s.destroy();
      if (proxy !== undefined) { proxy.kill("SIGKILL"); await once(proxy, "close"); }
      if (backend?.listening) await new Promise((resolve) => { backend.closeAllConnections(); backend.close(resolve); });
    });

    it("carries 8 MB there and back", async () => {
      const body = randomBytes(8 << 20);
      const { stream } = await rig.pool().open(keyFor(port), { authority: "10.0.0.1:8080", headers: { baggage: "k8s.namespace.name=ns" } });
      const recorder = new Recorder(stream);
      await sendAll(stream, recorder, body, 65_536);
      await recorder.until((r) => r.octets === body.length);
      assert.equal(recorder.digest(), sha(body));
      stream.destroy();
    });
    it("carries 50 streams in one tunnel", async () => {
      const pool = rig.pool();
      const texts = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
        const { stream } = await pool.open(keyFor(port), { authority: `10.0.0.1:${1000 + i}`, headers: {} });
        const recorder = new Recorder(stream);
        stream.write(Buffer.from(`stream ${i}`));
        await recorder.until((r) => r.text === `stream ${i}`);
        stream.destroy();
        return recorder.text;
      }));
      assert.deepEqual([texts.length, rig.dials], [50, 1]);
    });
    it("refuses, and the tunnel goes on", async () => {
      const pool = rig.pool();
      await assert.rejects(pool.open(keyFor(port), { authority: "refuse:1", headers: {} }), (e) => e instanceof TunnelRefused && e.status === 503);
      (await pool.open(keyFor(port), { authority: "10.0.0.1:1", headers: {} })).stream.destroy();
    });
  });
});

function reachable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); });
    socket.on("error", () => resolve(false));
  });
}
