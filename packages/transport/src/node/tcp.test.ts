import assert from "node:assert/strict";
import { once } from "node:events";
import { MeshError, type Ip } from "@ambit/core";
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

  it("names who refused", async () => {
    const listener = await listenTcp({ ip: LOOPBACK, port: 0 }, () => undefined);
    listener.close();
    await assert.rejects(dialTcp({ ip: LOOPBACK, port: listener.port }), (e) => e instanceof MeshError && e.code === "connect-refused" && e.message.includes(String(listener.port)));
  });

  it("gives up when told to, before and while", async () => {
    await assert.rejects(dialTcp({ ip: LOOPBACK, port: 1 }, { signal: AbortSignal.abort(new Error("gone")) }), (e) => e instanceof MeshError && e.code === "downstream-reset");
    const given = new AbortController();
    const dialling = dialTcp({ ip: LOOPBACK, port: 1 }, { signal: given.signal });
    given.abort(new Error("gone"));
    await assert.rejects(dialling, (e) => e instanceof MeshError && e.code === "downstream-reset");
  });

  it("refuses a port that is taken", async () => {
    const first = await listenTcp({ ip: LOOPBACK, port: 0 }, () => undefined);
    try {
      await assert.rejects(listenTcp({ ip: LOOPBACK, port: first.port }, () => undefined), /EADDRINUSE/);
    } finally {
      first.close();
    }
  });
});
