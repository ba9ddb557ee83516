import assert from "node:assert/strict";
import { once } from "node:events";
import { MeshError, type Ip } from "@ambit/core";
import { systemClock, type Clock } from "@ambit/runtime";
import { dialStream, listenStream } from "./tcp-dial.ts";
import { dialTcp, listenTcp } from "./tcp.ts";

const LOOPBACK = "127.0.0.1" as Ip;

describe("plain TCP", () => {
  it("connects, and carries octets and the half-close", async () => {
    const listener = await listenTcp({ ip: LOOPBACK, port: 0 }, (socket) => socket.pipe(socket));
    try {
      const socket = await dialTcp({ ip: LOOPBACK, port: listener.port });
      socket.end("hello");
      const parts: Buffer[] = [];
      socket.on("data", (b: Buffer) => parts.push(b));
      await once(socket, "end");
      assert.equal(Buffer.concat(parts).toString(), "hello");
      socket.destroy();
    } finally {
      listener.close();
    }
  });

  it("connects a stream, and carries octets and the half-close", async () => {
    const listener = await listenTcp({ ip: LOOPBACK, port: 0 }, (socket) => socket.pipe(socket));
    try {
      const stream = await dialStream({ ip: LOOPBACK, port: listener.port });
      const parts: Uint8Array[] = [];
      const closed = new Promise<Error | undefined>((resolve) => stream.attach({ onData: (b) => parts.push(b), onEnd: () => undefined, onDrain: () => undefined, onClose: resolve }));
      stream.write(Buffer.from("hello"));
      stream.end();
      assert.equal(await closed, undefined);
      assert.equal(Buffer.concat(parts).toString(), "hello");
    } finally {
      listener.close();
    }
  });

  it("accepts streams, says whose, and refuses a port that is taken", async () => {
    const ports: number[] = [];
    const listener = await listenStream({ ip: LOOPBACK, port: 0 }, (stream, peerPort) => {
      ports.push(peerPort);
      stream.attach({ onData: (b) => stream.write(b), onEnd: () => stream.end(), onDrain: () => undefined, onClose: () => undefined });
    });
    try {
      const socket = await dialTcp({ ip: LOOPBACK, port: listener.port });
      const own = socket.localPort;
      socket.end("hello");
      const parts: Buffer[] = [];
      socket.on("data", (b: Buffer) => parts.push(b));
      await once(socket, "end");
      assert.equal(Buffer.concat(parts).toString(), "hello");
      assert.deepEqual(ports, [own]);
      await assert.rejects(listenStream({ ip: LOOPBACK, port: listener.port }, () => undefined), /EADDRINUSE/);
    } finally {
      listener.close();
    }
  });

  for (const [way, dial] of [["a socket", dialTcp], ["a stream", dialStream]] as const) {
    it(`names who refused ${way}`, async () => {
      const listener = await listenTcp({ ip: LOOPBACK, port: 0 }, () => undefined);
      listener.close();
      await assert.rejects(dial({ ip: LOOPBACK, port: listener.port }), (e) => e instanceof MeshError && e.code === "connect-refused" && e.message.includes(String(listener.port)));
    });

    it(`gives up ${way} when told to, before and while`, async () => {
      await assert.rejects(dial({ ip: LOOPBACK, port: 1 }, { signal: AbortSignal.abort(new Error("gone")) }), (e) => e instanceof MeshError && e.code === "downstream-reset");
      const given = new AbortController();
      const dialling = dial({ ip: LOOPBACK, port: 1 }, { signal: given.signal });
      given.abort(new Error("gone"));
      await assert.rejects(dialling, (e) => e instanceof MeshError && e.code === "downstream-reset");
    });

    it(`gives up ${way} that nobody answers in time`, async () => {
      const listener = await listenTcp({ ip: LOOPBACK, port: 0 }, () => undefined);
      const hasty: Clock = { ...systemClock, after: (_ms, task) => { queueMicrotask(task); return { cancel: () => undefined }; } };
      try {
        await assert.rejects(dial({ ip: LOOPBACK, port: listener.port }, { clock: hasty, timeoutMs: 30 }), (e) => e instanceof MeshError && e.code === "connect-timeout" && e.message.includes("30 ms"));
      } finally {
        listener.close();
      }
    });
  }

  it("refuses a port that is taken", async () => {
    const first = await listenTcp({ ip: LOOPBACK, port: 0 }, () => undefined);
    try {
      await assert.rejects(listenTcp({ ip: LOOPBACK, port: first.port }, () => undefined), /EADDRINUSE/);
    } finally {
      first.close();
    }
  });
});
