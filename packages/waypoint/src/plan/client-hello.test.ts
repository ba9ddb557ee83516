import assert from "node:assert/strict";
import net from "node:net";
import tls from "node:tls";
import { once } from "node:events";
import { readClientHello } from "./client-hello.ts";

/** What node's own TLS sends first. */
async function helloFor(servername: string | undefined): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const accepted = once(server, "connection") as Promise<[net.Socket]>;
    const client = tls.connect({ port: (server.address() as net.AddressInfo).port, host: "127.0.0.1", ...(servername === undefined ? {} : { servername }), rejectUnauthorized: false });
    client.on("error", () => undefined);
    const [socket] = await accepted;
    const [data] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    client.destroy();
    return data;
  } finally {
    server.close();
  }
}

describe("a ClientHello", () => {
  it("gives its server name in small letters", async () => assert.deepEqual(readClientHello(await helloFor("Web.Example.COM")), { kind: "hello", sni: "web.example.com" }));

  it("may have none", async () => assert.deepEqual(readClientHello(await helloFor(undefined)), { kind: "hello", sni: undefined }));

  it("is waited for, whatever its pieces, also over several records", async () => {
    const hello = await helloFor("web.example.com");
    for (let n = 0; n < hello.length; n++) assert.equal(readClientHello(hello.subarray(0, n)).kind, "more", `${n} octets`);
    const body = hello.subarray(5);
    const record = (part: Buffer) => Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part]);
    const split = Buffer.concat([record(body.subarray(0, 3)), record(body.subarray(3, 50)), record(body.subarray(50))]);
    assert.deepEqual(readClientHello(split), { kind: "hello", sni: "web.example.com" });
  });

  for (const [name, bytes] of [["HTTP", "GET / HTTP/1.1\r\n"], ["another handshake message", "\x16\x03\x01\x00\x04\x02\x00\x00\x00"], ["a record of nothing", "\x16\x03\x01\x00\x00"], ["too long a hello", "\x16\x03\x01\x00\x04\x01\xff\xff\xff"]] as const)
    it(`is not ${name}`, () => assert.deepEqual(readClientHello(Buffer.from(bytes, "latin1")), { kind: "not-tls" }));

  it("answers for any octets", async () => {
    const hello = await helloFor("web.example.com");
    let seed = 1;
    for (let i = 0; i < 20_000; i++) {
      const bytes = Buffer.from(hello);
      for (let k = 0; k < 3; k++) { seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff; bytes[seed % bytes.length] = seed >> 8; }
      const read = readClientHello(bytes);
      assert.ok(["more", "hello", "not-tls"].includes(read.kind));
    }
  });
});
