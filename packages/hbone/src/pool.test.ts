import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type net from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorCode, fieldValue, H2Connection } from "@ambit/http";
import { err, formatIdentity, MeshError } from "@ambit/core";
import { systemClock, type Clock } from "@ambit/runtime";
import { fakeCa, Recorder, turns } from "@ambit/testkit";
import { acceptTls, type ByteStream } from "@ambit/transport";
import { createPool, TunnelRefused, type TunnelRequest } from "./index.ts";
import { PING_EVERY_MS, PING_LOOKS_MAX } from "./tunnel-connection.ts";
import { clientCert, credentialsOf, identity, keyFor, okIdentity, Rig, serverCert } from "./tunnel.fixture.ts";

const TO = { authority: "10.0.0.1:80", headers: {} };

async function failure(work: Promise<unknown>): Promise<MeshError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

describe("the tunnel pool", () => {
  let rig: Rig;
  beforeEach(() => { rig = new Rig(); });
  afterEach(() => rig.end());

  for (const status of [400, 401, 503]) it(`hears a refusal with ${status}, and the tunnel goes on`, async () => {
    let refuse = true;
    const port = await rig.serve((r) => (refuse ? r.refuse(status, { "x-why": "policy" }) : void r.accept().end()));
    const pool = rig.pool();
    const error = await failure(pool.open(keyFor(port), TO));
    assert.ok(error instanceof TunnelRefused);
    assert.deepEqual([error.code, error.status, error.responseHeaders.get("x-why")], [status === 401 ? "peer-denied" : "tunnel-refused", status, "policy"]);
    assert.match(error.message, new RegExp(`^http status: ${status} `));
    refuse = false;
    await pool.open(keyFor(port), TO);
    assert.equal(rig.dials, 1);
  });

  it("shares one attempt among those who wait, and its failure too", async () => {
    let fail = true;
    let attempts = 0;
    const port = await rig.serve((r) => void r.accept());
    const pool = rig.pool({ connect: async (key, signal) => {
      attempts++;
      await turns(2);
      if (fail) throw new MeshError("connect-refused", "nobody there");
      return rig.dial(key, signal);
    } });
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => pool.open(keyFor(port), TO)));
    assert.ok(results.every((r) => r.status === "rejected" && (r.reason as MeshError).code === "connect-refused"));
    assert.equal(attempts, 1);
    fail = false;
    await Promise.all(Array.from({ length: 20 }, () => pool.open(keyFor(port), TO)));
    assert.equal(attempts, 2);
  });

  it("keeps keys apart: source, expected identities, next hop, source IP", async () => {
    const port = await rig.serve((r) => void r.accept());
    const pool = rig.pool();
    const key = keyFor(port);
    await pool.open(key, TO);
    await pool.open({ ...key, expected: [identity("other"), identity("server")] }, TO);
    await pool.open({ ...key, expected: [identity("server"), identity("other")] }, TO);
    await pool.open({ ...key, sourceIp: "127.0.0.2" }, TO);
    await pool.open({ ...key, source: identity("client2") }, TO);
    assert.equal(rig.dials, 4);
  });

  it("respects a peer that allows fewer streams", async () => {
    const port = await rig.serve((r) => void r.accept(), { limits: { maxConcurrentStreams: 3 } });
    const pool = rig.pool();
    await pool.open(keyFor(port), TO);
    await Promise.all(Array.from({ length: 8 }, () => pool.open(keyFor(port), TO)));
    assert.equal(rig.dials, 3);
  });

  it("names a wrong identity, and does not hide it behind a retry", async () => {
    const port = await rig.serve((r) => void r.accept());
    const error = await failure(rig.pool().open(keyFor(port, "somebody-else"), TO));
    assert.equal(error.code, "identity-mismatch");
    assert.match(error.message, /expected somebody-else, got server/);
  });

  it("tells an attempt that takes too long, with a hint for port 15008 only", async () => {
    let aborted: unknown;
    const pool = rig.pool({ connectMs: 10, connect: (_key, signal) => new Promise((_, reject) => signal.addEventListener("abort", () => { aborted = signal.reason; reject(signal.reason); })) });
    const error = await failure(pool.open(keyFor(15008), TO));
    assert.equal(error.code, "tunnel-timeout");
    assert.match(error.message, /maybe a NetworkPolicy is blocking HBONE port 15008: 127\.0\.0\.1:15008 after 10 ms/);
    assert.equal(aborted, error);
    assert.equal((await failure(pool.open(keyFor(15009), TO))).code, "connect-timeout");
  });

  it("destroys a stream that comes after its attempt was given up", async () => {
    let deliver: (s: ByteStream) => void = () => {};
    const port = await rig.serve((r) => void r.accept());
    const pool = rig.pool({ connectMs: 5, connect: () => new Promise((resolve) => (deliver = resolve)) });
    await failure(pool.open(keyFor(port), TO));
    const late = await rig.dial(keyFor(port));
    deliver(late);
    await turns(1);
    assert.equal(late.closed, true);
  });

  it("lets one caller give up without harm to the others", async () => {
    const port = await rig.serve((r) => void r.accept());
    const pool = rig.pool();
    const abort = new AbortController();
    const [first, second] = [pool.open(keyFor(port), TO, abort.signal), pool.open(keyFor(port), TO)];
    abort.abort(new Error("client went away"));
    await assert.rejects(first, /client went away/);
    await second;
    await assert.rejects(pool.open(keyFor(port), TO, abort.signal), /client went away/);
    assert.equal(rig.dials, 1);
  });

  it("tells the server when a caller gives up before the answer", async () => {
    let onRequest: (r: TunnelRequest) => void = () => {};
    const requested = new Promise<TunnelRequest>((resolve) => (onRequest = resolve));
    const port = await rig.serve((r) => onRequest(r));
    const abort = new AbortController();
    const opening = rig.pool().open(keyFor(port), TO, abort.signal);
    const request = await requested;
    const gone = new Promise<void>((resolve) => request.signal.addEventListener("abort", resolve));
    abort.abort(new Error("client went away"));
    await assert.rejects(opening, /client went away/);
    await gone;
    const recorder = new Recorder(request.accept());
    await recorder.closed;
    request.refuse(503);
  });

  it("a reset before the answer is upstream-reset; a peer that hangs up early is h2-handshake", async () => {
    const port = await rig.serve((r) => r.accept().destroy(new Error("no")));
    const opened = await rig.pool().open(keyFor(port), TO);
    const recorder = new Recorder(opened.stream);
    await recorder.closed;
    assert.match(recorder.error?.message ?? "", /CONNECT_ERROR/);
    const rude = await rig.listen((socket) => void acceptTls(socket, { credentials: credentialsOf(serverCert), verify: okIdentity }).then(({ stream }) => stream.destroy()));
    assert.equal((await failure(rig.pool().open(keyFor(rude), TO))).code, "h2-handshake");
    const confused = await rig.listen((socket) => void acceptTls(socket, { credentials: credentialsOf(serverCert), verify: okIdentity }).then(({ stream }) => stream.write(Buffer.from("HTTP/1.1 200 OK\r\n\r\n"))));
    assert.equal((await failure(rig.pool().open(keyFor(confused), TO))).code, "h2-handshake");
  });

  it("hears that the server refused our certificate, though the handshake was over for us", async () => {
    const port = await rig.listen((socket) => void acceptTls(socket, { credentials: credentialsOf(serverCert), verify: () => err("foreign trust domain") }).catch(() => {}));
    const error = await failure(rig.pool().open(keyFor(port), TO));
    assert.equal(error.code, "h2-handshake");
    assert.match(error.message, /perhaps the peer does not trust our certificate/);
    // A peer that says so in an alert (OpenSSL's own server; node:tls only hangs up).
    const folder = mkdtempSync(join(tmpdir(), "ambit-hbone-"));
    const file = (name: string, text: string): string => { writeFileSync(join(folder, name), text); return join(folder, name); };
    const strict = spawn("openssl", ["s_server", "-accept", "127.0.0.1:0", "-Verify", "2", "-verify_return_error", "-alpn", "h2", "-CAfile", file("root", fakeCa().rootPem),
      "-cert", file("cert", serverCert.certPem), "-key", file("key", serverCert.keyPem)], { stdio: ["pipe", "pipe", "ignore"] });
    const exited = once(strict, "exit");
    let banner = "";
    while (!/ACCEPT \S+:\d+/.test(banner)) banner += String((await once(strict.stdout, "data"))[0]);
    const alerted = await failure(rig.pool().open(keyFor(Number(/ACCEPT \S+:(\d+)/.exec(banner)?.[1])), TO));
    strict.kill();
    await exited;
    rmSync(folder, { recursive: true });
    assert.equal(alerted.code, "tls-handshake");
    assert.match(alerted.message, /perhaps our certificate/);
  });

  it("opens elsewhere once what a draining peer did not process", async () => {
    const port = await rig.serve((r) => void r.accept());
    const pool = rig.pool();
    await pool.open(keyFor(port), TO);
    const [session] = [...rig.sessions];
    const drained = session?.drain(10_000, new MeshError("drained", "restart"));
    const [a, b] = await Promise.all([pool.open(keyFor(port), TO), pool.open(keyFor(port), TO)]);
    assert.ok(a.stream !== b.stream);
    assert.ok(rig.dials <= 2);
    for (const t of pool.tunnels()) assert.ok(t.openStreams > 0);
    pool.closeWhere(() => true, new MeshError("policy-revoked", "over"));
    await drained;
  });

  it("retries REFUSED_STREAM once, then says so", async () => {
    let refusals = 0;
    const refusing = async (socket: net.Socket): Promise<void> => {
      const { stream } = await acceptTls(socket, { credentials: credentialsOf(serverCert), verify: okIdentity });
      const h2: H2Connection<undefined> = new H2Connection<undefined>({ role: "server" }, {
        onRequest: (s, fields) => { assert.equal(fieldValue(fields, ":method"), "CONNECT"); refusals++; h2.reset(s, ErrorCode.REFUSED_STREAM); },
        onData: () => {}, onEnd: () => {}, onReset: () => {}, onWritable: () => {}, onFailed: (e) => { throw e; } });
      const flush = (): void => void stream.writeMany(h2.takeOutput());
      stream.attach({ onData: (b) => { h2.receive(b, 0); flush(); }, onEnd: () => stream.end(), onDrain: () => {}, onClose: () => {} });
      flush();
    };
    const port = await rig.listen((socket) => void refusing(socket));
    const error = await failure(rig.pool().open(keyFor(port), TO));
    assert.equal(error.code, "upstream-reset");
    assert.match(error.message, /REFUSED_STREAM/);
    assert.equal(refusals, 2);
  });

  it("drains gracefully on both sides: open streams finish, new ones go elsewhere, nothing stays", async () => {
    const accepted: ByteStream[] = [];
    const port = await rig.serve((r) => accepted.push(r.accept()));
    const pool = rig.pool();
    const { stream } = await pool.open(keyFor(port), TO);
    const recorder = new Recorder(stream);
    const [served] = accepted;
    assert.ok(served !== undefined);
    const server = new Recorder(served);
    const draining = pool.drain(60_000);
    assert.equal((await failure(pool.open(keyFor(port), TO))).code, "drained");
    stream.write(Buffer.from("last words"));
    stream.end();
    await server.until((r) => r.ended);
    served.end();
    await Promise.all([recorder.closed, server.closed, draining]);
    assert.deepEqual([server.text, recorder.error, server.error], ["last words", undefined, undefined]);
    assert.deepEqual(pool.tunnels(), []);
    assert.deepEqual(await Promise.all([...rig.sessions].map((s) => s.closed)), [...rig.sessions].map(() => undefined));
  });

  it("cuts what is open at the deadline, with the reason", async () => {
    const accepted: ByteStream[] = [];
    const port = await rig.serve((r) => accepted.push(r.accept()));
    const { stream } = await rig.pool().open(keyFor(port), TO);
    const client = new Recorder(stream);
    const [served] = accepted;
    assert.ok(served !== undefined);
    const server = new Recorder(served);
    const reason = new MeshError("drained", "deadline");
    await [...rig.sessions][0]?.drain(5, reason);
    await Promise.all([client.closed, server.closed]);
    assert.equal(server.error, reason);
    assert.ok(client.error !== undefined, "a cut stream must not look like a clean end");
  });

  it("closeWhere lets open streams go on unless told to cut; closeIdle takes the unused", async () => {
    const port = await rig.serve((r) => void r.accept());
    const pool = rig.pool();
    const kept = new Recorder((await pool.open(keyFor(port), TO)).stream);
    pool.closeWhere((key) => formatIdentity(key.source).endsWith("/client"));
    await pool.open(keyFor(port), TO);
    assert.equal(rig.dials, 2);
    assert.equal(kept.closes, 0);
    const reason = new MeshError("policy-revoked", "trust bundle changed");
    pool.closeWhere(() => true, reason);
    await kept.closed;
    assert.equal(kept.error, reason);
    const { stream } = await pool.open(keyFor(port), TO);
    stream.destroy();
    pool.closeIdle();
    await turns(1);
    await pool.open(keyFor(port), TO);
    assert.equal(rig.dials, 4);
  });

  it("releases a tunnel that nobody asked for in time", async () => {
    const port = await rig.serve((r) => void r.accept());
    const pool = rig.pool({ unusedReleaseMs: 20 });
    const { stream } = await pool.open(keyFor(port), TO);
    const recorder = new Recorder(stream);
    await new Promise<void>((resolve) => {
      const look = (): void => void (rig.dials === 1 ? systemClock.after(10, () => void pool.open(keyFor(port), TO).then(() => look())) : resolve());
      systemClock.after(40, look);
    });
    assert.equal(recorder.closes, 0, "its open stream goes on");
    stream.destroy();
  });

  it("gives up a peer at most 15 s after its last octet, and not before it was given 10 s to answer", async () => {
    const ticks: (() => void)[] = [];
    let now = 1000;
    const clock: Clock = { ...systemClock, monotonic: () => now, every: (_ms, task) => { ticks.push(task); return { cancel: () => void ticks.splice(ticks.indexOf(task), 1) }; } };
    const tick = (ms: number): void => { now += ms; for (const t of [...ticks]) t(); };
    let mute = false;
    const port = await rig.listen((socket) => void acceptTls(socket, { credentials: credentialsOf(serverCert), verify: okIdentity }).then(({ stream }) => {
      const h2: H2Connection<undefined> = new H2Connection<undefined>({ role: "server" }, { onRequest: (s) => h2.respond(s, [":status", "200"], false), onData: () => {}, onEnd: () => {}, onReset: () => {}, onWritable: () => {}, onFailed: () => {} });
      const flush = (): void => void stream.writeMany(h2.takeOutput());
      stream.attach({ onData: (b) => { if (mute) return; h2.receive(b, 0); flush(); }, onEnd: () => stream.end(), onDrain: () => {}, onClose: () => {} });
      flush();
    }));
    const pool = createPool({ connect: (k, s) => rig.dial(k, s), clock });
    const recorder = new Recorder((await pool.open(keyFor(port), TO)).stream);
    for (let i = 0; i < 5; i++) { tick(PING_EVERY_MS); await turns(20); }
    assert.equal(recorder.closes, 0);
    mute = true; // just after its answer: the longest it can take
    for (let i = 0; i < PING_LOOKS_MAX; i++) tick(PING_EVERY_MS);
    assert.equal(recorder.closes, 0);
    tick(PING_EVERY_MS);
    await recorder.closed;
    assert.match(recorder.error?.message ?? "", /silent for 15 s/);
    assert.equal(PING_EVERY_MS * (1 + PING_LOOKS_MAX), 15_000);
    assert.equal(clientCert.der.length > 0, true);
  });
});
