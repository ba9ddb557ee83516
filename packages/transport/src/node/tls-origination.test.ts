import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import tls from "node:tls";
import type { Ip } from "@ambit/core";
import { fakeCa } from "@ambit/testkit";
import type { ByteStream } from "../byte-stream.ts";
import { fromSocket } from "./socket-stream.ts";
import { dialTcp } from "./tcp.ts";
import { originateTls, type OriginationOptions } from "./tls-origination.ts";

describe("TLS towards servers outside", () => {
  const ca = fakeCa();
  const leaf = ca.issue({ dnsNames: ["api.example.com"] });
  let server: tls.Server;
  let asked: (string | false | undefined)[] = [];
  before(async () => {
    server = tls.createServer({ key: leaf.keyPem, cert: leaf.certPem, ALPNProtocols: ["http/1.1"] }, (socket) => {
      asked.push((socket as tls.TLSSocket & { servername?: string | false }).servername);
      socket.on("error", () => undefined);
      socket.pipe(socket);
    });
    server.on("tlsClientError", () => undefined);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  after(() => void server.close());
  beforeEach(() => { asked = []; });

  const connect = async (more: Partial<OriginationOptions>): Promise<ByteStream> => {
    const stream = fromSocket(await dialTcp({ ip: "127.0.0.1" as Ip, port: (server.address() as AddressInfo).port }));
    return originateTls(stream, { sni: "api.example.com", names: ["api.example.com"], rootsPem: ca.rootPem, insecureSkipVerify: false, alpn: ["http/1.1"], ...more });
  };
  const echo = (stream: ByteStream, text: string): Promise<string> => new Promise((resolve, reject) => {
    let got = "";
    stream.attach({ onData: (b) => { got += Buffer.from(b).toString(); if (got.length >= text.length) { stream.destroy(); resolve(got); } }, onEnd: () => reject(new Error("ended")), onDrain: () => undefined, onClose: (e) => { if (e !== undefined) reject(e); } });
    stream.write(Buffer.from(text));
  });

  it("sends the name, checks it, and carries octets", async () => {
    assert.equal(await echo(await connect({}), "hello"), "hello");
    assert.deepEqual(asked, ["api.example.com"]);
  });

  it("refuses another name, an unknown root", async () => {
    await assert.rejects(connect({ names: ["other.example.com"] }), /not other\.example\.com/);
    await assert.rejects(connect({ rootsPem: fakeCa().rootPem }), /TLS to api\.example\.com failed/);
    await assert.rejects(connect({ rootsPem: "nonsense" }), /failed|unusable/);
  });

  it("does not check when told not to", async () => assert.equal(await echo(await connect({ rootsPem: fakeCa().rootPem, names: ["x"], insecureSkipVerify: true }), "hi"), "hi"));
});
