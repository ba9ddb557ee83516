// Interop: our ends of a tunnel against node:http2 (nghttp2) with real TLS.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import { Recorder, sendAll } from "@ambit/testkit";
import type { ByteStream } from "@ambit/transport";
import { TunnelRefused } from "./index.ts";
import { ca, clientCert, keyFor, Rig, serverCert, sha } from "./tunnel.fixture.ts";

const tlsOf = (cert: typeof clientCert) => ({ ca: ca.rootPem, cert: cert.chainPem, key: cert.keyPem, minVersion: "TLSv1.3" as const });
const BODY = randomBytes(16 << 20);

describe("our pool and a node:http2 server", () => {
  let rig: Rig;
  let server: http2.Http2SecureServer;
  const sessions = new Set<http2.Http2Session>();
  const listen = async (handler: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void): Promise<number> => {
    server = http2.createSecureServer({ ...tlsOf(serverCert), requestCert: true, rejectUnauthorized: true, settings: { initialWindowSize: 1 << 20 } });
    server.on("session", (s) => { sessions.add(s); s.on("error", () => {}); });
    server.on("stream", (s, h) => { s.on("error", () => {}); handler(s, h); });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  };
  beforeEach(() => { rig = new Rig(); });
  afterEach(async () => {
    for (const s of sessions) s.destroy();
    sessions.clear();
    await rig.end();
    await new Promise((resolve) => server.close(resolve));
  });

  it("echoes 16 MB with a half-close", async () => {
    let seen: http2.IncomingHttpHeaders = {};
    const port = await listen((s, h) => { seen = h; s.respond({ ":status": 200, baggage: "service.name=x" }); s.pipe(s); });
    const { stream, responseHeaders } = await rig.pool().open(keyFor(port), { authority: "10.0.0.1:8080", headers: { baggage: "k8s.namespace.name=ns", traceparent: "00-0" } });
    assert.deepEqual([seen[":method"], seen[":authority"], seen[":path"], seen[":scheme"], seen["baggage"], responseHeaders.get("baggage")],
      ["CONNECT", "10.0.0.1:8080", undefined, undefined, "k8s.namespace.name=ns", "service.name=x"]);
    const recorder = new Recorder(stream);
    await sendAll(stream, recorder, BODY, 65_536);
    stream.end();
    await recorder.closed;
    assert.equal(recorder.digest(), sha(BODY));
  });

  it("hears its refusals, ends and resets", async () => {
    const port = await listen((s, h) => {
      const what = h[":authority"] ?? "";
      if (what === "refuse:1") return s.respond({ ":status": 401 }, { endStream: true });
      s.respond({ ":status": 200 });
      if (what === "cancel:1") s.write("so far", () => s.close(http2.constants.NGHTTP2_CANCEL));
      else s.close(http2.constants.NGHTTP2_CONNECT_ERROR);
    });
    const pool = rig.pool();
    const open = (authority: string) => pool.open(keyFor(port), { authority, headers: {} });
    await assert.rejects(open("refuse:1"), (e) => e instanceof TunnelRefused && e.status === 401);
    const cancelled = new Recorder((await open("cancel:1")).stream);
    await cancelled.closed;
    assert.deepEqual([cancelled.text, cancelled.ended, cancelled.error], ["so far", true, undefined], "CANCEL reads as an end");
    const broken = new Recorder((await open("break:1")).stream);
    await broken.closed;
    assert.match(broken.error?.message ?? "", /CONNECT_ERROR/);
  });

  it("survives its GOAWAY: open streams finish, new ones use a new tunnel", async () => {
    const port = await listen((s) => { s.respond({ ":status": 200 }); s.pipe(s); });
    const pool = rig.pool();
    const { stream } = await pool.open(keyFor(port), { authority: "a:1", headers: {} });
    const recorder = new Recorder(stream);
    for (const s of sessions) s.close();
    stream.write(Buffer.from("one"));
    await recorder.until((r) => r.text === "one");
    await pool.open(keyFor(port), { authority: "a:1", headers: {} });
    assert.equal(rig.dials, 2);
    stream.end();
    await recorder.closed;
    assert.equal(recorder.error, undefined);
  });
});

describe("our server and a node:http2 client", () => {
  let rig: Rig;
  let session: http2.ClientHttp2Session;
  const connect = async (port: number): Promise<void> => {
    session = http2.connect(`https://127.0.0.1:${port}`, { ...tlsOf(clientCert), servername: "", checkServerIdentity: () => undefined, maxSessionMemory: 100 });
    session.on("error", () => {});
    await once(session, "connect");
  };
  const ask = (headers: http2.OutgoingHttpHeaders): http2.ClientHttp2Stream => {
    const stream = session.request(headers);
    stream.on("error", () => {});
    return stream;
  };
  beforeEach(() => { rig = new Rig(); });
  afterEach(async () => {
    session.destroy();
    await rig.end();
  });

  it("echoes 16 MB with a half-close", async () => {
    const port = await rig.serve((r) => {
      const stream = r.accept();
      stream.attach({ onData: (b) => { if (!stream.write(b)) stream.pause(); }, onEnd: () => stream.end(), onDrain: () => stream.resume(), onClose: () => {} });
    });
    await connect(port);
    const stream = ask({ ":method": "CONNECT", ":authority": "10.0.0.1:80" });
    const chunks: Buffer[] = [];
    stream.on("data", (d: Buffer) => chunks.push(d));
    stream.end(BODY);
    await once(stream, "end");
    assert.equal(sha(Buffer.concat(chunks)), sha(BODY));
  });

  const refused: readonly (readonly [string, http2.OutgoingHttpHeaders, number, RegExp])[] = [
    ["GET", { ":path": "/" }, 400, /method is GET/],
    ["an authority without port", { ":method": "CONNECT", ":authority": "10.0.0.1" }, 400, /must end in a port/],
    ["an authority with a bad address", { ":method": "CONNECT", ":authority": "10.0.0.256:80" }, 400, /not an address/],
    ["an authority with user info", { ":method": "CONNECT", ":authority": "u@a:80" }, 400, /neither/],
  ];
  for (const [what, headers, status, why] of refused) it(`answers ${what} with ${status}`, async () => {
    const problems: string[] = [];
    const port = await rig.serve(() => assert.fail("must not be asked"), { onBadRequest: (p) => problems.push(p) });
    await connect(port);
    const stream = ask(headers);
    const [answer] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    assert.equal(answer[":status"], status);
    assert.match(problems[0] ?? "", why);
  });

  it("hears CONNECT_ERROR when the server's side ended abnormally", async () => {
    let served: ByteStream | undefined;
    const port = await rig.serve((r) => (served = r.accept()));
    await connect(port);
    const stream = ask({ ":method": "CONNECT", ":authority": "10.0.0.1:80" });
    stream.resume();
    await once(stream, "response");
    served?.attach({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
    served?.destroy(new Error("application reset"));
    await new Promise((resolve) => stream.once("close", resolve));
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_CONNECT_ERROR);
  });

  it("sees the client's reset and its vanishing", async () => {
    const recorders: Recorder[] = [];
    let onBoth: () => void = () => {};
    const both = new Promise<void>((resolve) => (onBoth = resolve));
    const port = await rig.serve((r) => { recorders.push(new Recorder(r.accept())); if (recorders.length === 2) onBoth(); });
    await connect(port);
    const first = ask({ ":method": "CONNECT", ":authority": "10.0.0.1:80" });
    const second = ask({ ":method": "CONNECT", ":authority": "10.0.0.1:80" });
    await Promise.all([once(first, "response"), once(second, "response"), both]);
    first.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    await recorders[0]?.closed;
    assert.match(recorders[0]?.error?.message ?? "", /INTERNAL_ERROR/);
    session.destroy();
    await recorders[1]?.closed;
    assert.equal(recorders[1]?.closes, 1);
  });
});
