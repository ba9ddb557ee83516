import assert from "node:assert/strict";
import { BodyBuffer, KeptOctets, RETRY_BODY_MAX_OCTETS, RETRY_BODIES_MAX_OCTETS } from "./body-buffer.ts";
import { GrpcMessages } from "./grpc-messages.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const drain = (body: BodyBuffer): string => { let all = ""; for (let p = body.take(); p !== undefined; p = body.take()) all += Buffer.from(p).toString(); return all; };

describe("a request's body that is kept", () => {
  it("can be sent again from the start", () => {
    const body = new BodyBuffer(new KeptOctets(), true);
    body.push(bytes("ab"));
    assert.equal(drain(body), "ab");
    body.push(bytes("cd"));
    assert.equal(drain(body), "cd");
    body.rewind();
    assert.equal(drain(body), "abcd");
  });

  it("is let go once no attempt can follow", () => {
    const all = new KeptOctets();
    const body = new BodyBuffer(all, true);
    body.push(bytes("ab"));
    body.push(bytes("cd"));
    body.take();
    body.dontKeep();
    assert.deepEqual([all.now, drain(body), all.now, body.waiting], [2, "cd", 0, false]);
  });

  it("is not kept beyond its bound, nor beyond all bodies' bound, and nothing is lost", () => {
    for (const already of [0, RETRY_BODIES_MAX_OCTETS - 3]) {
      const all = new KeptOctets();
      all.now = already;
      const body = new BodyBuffer(all, true);
      body.push(bytes("ab"));
      body.take();
      body.push(already === 0 ? new Uint8Array(RETRY_BODY_MAX_OCTETS - 1) : bytes("cd"));
      assert.equal(body.replayable, false);
      assert.equal(body.octets, already === 0 ? RETRY_BODY_MAX_OCTETS - 1 : 2);
      body.clear();
      assert.equal(all.now, already);
    }
  });

  it("shows its first octets without giving them away", () => {
    const body = new BodyBuffer(new KeptOctets(), true);
    body.push(bytes("abc"));
    body.push(bytes("def"));
    assert.equal(Buffer.from(body.peek(4)).toString(), "abcd");
    assert.equal(drain(body), "abcdef");
  });
});

describe("counting gRPC messages", () => {
  const message = (length: number): Buffer => { const b = Buffer.alloc(5 + length); b.writeUInt32BE(length, 1); return b; };
  const all = Buffer.concat([message(3), message(0), message(300), message(70_000), message(0)]);
  for (const size of [1, 4, 5, 7, 1000, all.length])
    it(`in pieces of ${size}`, () => {
      const messages = new GrpcMessages();
      for (let at = 0; at < all.length; at += size) messages.read(all.subarray(at, at + size));
      assert.equal(messages.count, 5);
    });
});
