// Tests that connections which are one end as one, and not before the slower reader has got everything.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "./join.ts";

const PORTION = Buffer.alloc(32 * 1024);

describe("apiserver: joined connections", () => {
  const open: Socket[] = [];
  afterEach(() => { for (const socket of open.splice(0)) socket.destroy(); });

  /** Both ends of a connection. */
  async function pair(allowHalfOpen = false): Promise<{ far: Socket; near: Socket }> {
    const server = createServer({ allowHalfOpen }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const far = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen });
    const [near] = (await once(server, "connection")) as [Socket];
    server.close();
    open.push(far, near);
    for (const socket of [far, near]) socket.on("error", () => undefined);
    return { far, near };
  }

  /** Writes until the kernel takes no more; returns how much that was. */
  async function fill(socket: Socket): Promise<number> {
    let size = 0;
    for (let quiet = 0; quiet < 3; ) {
      if (socket.writableLength === 0) { size += PORTION.length; socket.write(PORTION); quiet = 0; }
      else quiet += 1;
      await new Promise(setImmediate);
    }
    return size;
  }

  async function readAll(socket: Socket): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of socket as AsyncIterable<Buffer>) parts.push(part);
    return Buffer.concat(parts);
  }

  it("a client that is behind still gets what the kubelet said before it hung up", async () => {
    const [client, kubelet] = [await pair(), await pair()];
    const before = await fill(client.near);
    join(client.near, kubelet.near);
    kubelet.far.end("the last words");
    await once(kubelet.near, "close");
    const got = await readAll(client.far);
    assert.equal(got.length, before + "the last words".length);
    assert.equal(got.subarray(before).toString(), "the last words");
    if (!client.near.destroyed) await once(client.near, "close");
  });

  it("so does one that has long said all it had to say itself", async () => {
    const [client, kubelet] = [await pair(true), await pair(true)];
    const before = await fill(client.near);
    join(client.near, kubelet.near);
    client.far.end();
    await once(kubelet.far.resume(), "end");
    kubelet.far.end("the last words");
    await once(kubelet.near, "close");
    assert.equal((await readAll(client.far)).length, before + "the last words".length);
    if (!client.near.destroyed) await once(client.near, "close");
  });

  it("a kubelet that breaks off breaks the client's connection off", async () => {
    const [client, kubelet] = [await pair(), await pair()];
    join(client.near, kubelet.near);
    const gone = once(client.near, "close");
    kubelet.far.resetAndDestroy();
    await gone;
  });

  it("a client that goes takes the kubelet's connection with it, even while that speaks", async () => {
    const [client, kubelet] = [await pair(), await pair()];
    join(client.near, kubelet.near);
    kubelet.far.write(PORTION);
    await once(client.far, "data");
    const gone = once(kubelet.near, "close");
    client.far.destroy();
    await gone;
  });
});
