import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { byteStreamCompliance, heldOctets, Recorder, sendAll, turns } from "@ambit/testkit";
import type { ByteStream } from "@ambit/transport";
import { copyBidirectional } from "./copy.ts";
import { keyFor, Rig, sha } from "./tunnel.fixture.ts";

const WINDOW = 4 << 20;

async function pair(rig: Rig): Promise<{ left: ByteStream; right: ByteStream }> {
  let onAccepted: (stream: ByteStream) => void = () => {};
  const right = new Promise<ByteStream>((resolve) => (onAccepted = resolve));
  const port = await rig.serve((request) => onAccepted(request.accept()));
  const { stream } = await rig.pool().open(keyFor(port), { authority: "10.0.0.1:80", headers: {} });
  return { left: stream, right: await right };
}

// Stalled: the stream's window at the peer, one output's worth here, and what the sockets between hold.
byteStreamCompliance("a tunnel stream", async () => {
  const rig = new Rig();
  const { left, right } = await pair(rig);
  return { left, right, close: () => rig.end() };
}, { resets: true, stalledMax: WINDOW + (2 << 20) });

byteStreamCompliance("a tunnel stream seen from the server", async () => {
  const rig = new Rig();
  const { left, right } = await pair(rig);
  return { left: right, right: left, close: () => rig.end() };
}, { resets: true, stalledMax: WINDOW + (2 << 20) });

describe("a stalled reader of a tunnel stream", () => {
  const limits = { streamWindow: 1 << 20 };

  it("holds at most its window, in however small frames it comes, and no other stream waits for it", async () => {
    const rig = new Rig();
    const accepted: ByteStream[] = [];
    const port = await rig.serve((r) => accepted.push(r.accept()), { limits });
    const pool = rig.pool();
    const open = async (): Promise<{ stream: ByteStream; recorder: Recorder; peer: ByteStream }> => {
      const { stream } = await pool.open(keyFor(port), { authority: "10.0.0.1:80", headers: {} });
      const peer = accepted.at(-1);
      assert.ok(peer !== undefined);
      return { stream, recorder: new Recorder(stream), peer };
    };
    const [stalled, lively] = [await open(), await open()];
    const reader = new Recorder(stalled.peer);
    stalled.peer.pause();
    const one = Uint8Array.of(7);
    const before = heldOctets();
    let sent = 0;
    while (sent < 1 << 20 && stalled.stream.write(one)) if (++sent % 4096 === 0) await turns(1);
    const full = new Uint8Array(64);
    while (stalled.stream.write(full)) if ((sent += full.length) % 4096 === 0) await turns(1);
    await turns(5);
    assert.ok(sent >= 1 << 20);
    const kept = heldOctets() - before;
    assert.ok(kept < 8 << 20, `${kept} octets`);
    const echo = new Recorder(lively.peer);
    lively.stream.write(Buffer.from("still alive"));
    await echo.until((r) => r.text === "still alive");
    assert.equal(reader.octets, 0);
    stalled.peer.resume();
    await reader.until((r) => r.octets >= sent);
    await rig.end();
  });
});

describe("tunnels", () => {
  let rig: Rig;
  beforeEach(() => { rig = new Rig(); });
  afterEach(() => rig.end());

  const echo = (stream: ByteStream): void => stream.attach({ onData: (b) => { if (!stream.write(b)) stream.pause(); }, onEnd: () => stream.end(), onDrain: () => stream.resume(), onClose: () => {} });

  it("carry headers, authority and identities both ways", async () => {
    const seen: unknown[] = [];
    const port = await rig.serve((r) => {
      seen.push(r.authority, r.target, r.headers.get("baggage"), r.headers.get("forwarded"), r.peer.identity.serviceAccount);
      r.accept({ baggage: "service.name=b" }).end();
    });
    const opened = await rig.pool().open(keyFor(port), { authority: "web.default.svc.cluster.local:80", headers: { baggage: "service.name=a", forwarded: 'for="10.0.0.5:4";host=x' } });
    assert.deepEqual(seen, ["web.default.svc.cluster.local:80", { kind: "hostname", hostname: "web.default.svc.cluster.local", port: 80 }, "service.name=a", 'for="10.0.0.5:4";host=x', "client"]);
    assert.equal(opened.responseHeaders.get("baggage"), "service.name=b");
  });

  it("carry 64 MB each way with a hash and half-closes", async () => {
    const port = await rig.serve((r) => echo(r.accept()));
    const { stream } = await rig.pool().open(keyFor(port), { authority: "10.0.0.1:80", headers: {} });
    const body = randomBytes(64 << 20);
    const recorder = new Recorder(stream);
    await sendAll(stream, recorder, body, 100_000);
    stream.end();
    await recorder.closed;
    assert.deepEqual([recorder.octets, recorder.ended, recorder.error], [body.length, true, undefined]);
    assert.equal(recorder.digest(), sha(body));
  });

  it("carry 1,000 streams at once over ten pooled connections", async () => {
    const port = await rig.serve((r) => echo(r.accept()));
    const pool = rig.pool();
    const streams = await Promise.all(Array.from({ length: 1000 }, () => pool.open(keyFor(port), { authority: "10.0.0.1:80", headers: {} })));
    assert.equal(rig.dials, 10);
    assert.deepEqual(pool.tunnels().map((t) => t.openStreams), new Array(10).fill(100));
    await Promise.all(streams.map(async ({ stream }, i) => {
      const recorder = new Recorder(stream);
      stream.write(Buffer.from(`stream ${i}`));
      stream.end();
      await recorder.closed;
      assert.equal(recorder.text, `stream ${i}`);
    }));
    assert.deepEqual(pool.tunnels().map((t) => t.openStreams), new Array(10).fill(0));
    await pool.open(keyFor(port), { authority: "10.0.0.1:80", headers: {} });
    assert.equal(rig.dials, 10);
  });

  it("join two sockets through two ends, octets counted", async () => {
    const app = await rig.listen((s) => { s.resume(); s.on("data", (d) => s.write(d)); s.on("end", () => s.end()); });
    const { fromSocket } = await import("@ambit/transport");
    const results: Promise<unknown>[] = [];
    const port = await rig.serve((r) => results.push(copyBidirectional(r.accept(), fromSocket(rig.dialSocket(app)))));
    const pool = rig.pool();
    const inlet = await rig.listen((s) => void pool.open(keyFor(port), { authority: "10.0.0.1:80", headers: {} }).then(({ stream }) => results.push(copyBidirectional(fromSocket(s), stream))));
    const stream = fromSocket(rig.dialSocket(inlet));
    const recorder = new Recorder(stream);
    const body = randomBytes(5_000_000);
    await sendAll(stream, recorder, body, 65_536);
    stream.end();
    await recorder.closed;
    assert.equal(recorder.digest(), sha(body));
    const done = { aToB: body.length, bToA: body.length, endedBy: "a", error: undefined };
    assert.deepEqual(await Promise.all(results), [done, done]);
  });
});
