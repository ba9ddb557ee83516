import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fetchDocument } from "./fetch.ts";
import { addressGuard } from "./guard.ts";

describe("an address to fetch keys from", () => {
  for (const [address, allowed] of [
    ["10.96.0.10", true], ["203.0.113.5", true], ["fd00::1", true], ["127.0.0.1", false], ["::1", false], ["::ffff:127.0.0.1", false], ["169.254.169.254", false],
    ["fe80::1", false], ["0.0.0.0", false], ["::", false], ["224.0.0.1", false], ["ff02::1", false], ["not-an-address", false], ["192.168.1.1", false],
  ] as const) it(`${address} is ${allowed ? "allowed" : "refused"}`, () => assert.equal(addressGuard("192.168.0.0/16").refuse(address) === undefined, allowed));
  it("may be allowed in spite of all", () => assert.equal(addressGuard("", "127.0.0.0/8").refuse("127.0.0.1"), undefined));
  it("is not read from nonsense", () => assert.throws(() => addressGuard("10.0.0.0/99"), /is not a block/));
});

describe("a document from an issuer", () => {
  let server: Server;
  let base = "";
  const guard = addressGuard("", "127.0.0.0/8");
  const get = (path: string, g = guard, signal = new AbortController().signal) => fetchDocument(`${base}${path}`, { guard: g, signal });
  before(async () => {
    server = createServer((req, res) => {
      const { url = "" } = req;
      if (url === "/keys") return void res.end(`{"keys":[],"host":"${req.headers.host}"}`);
      if (url === "/moved") return void res.writeHead(302, { location: "/keys" }).end();
      if (url === "/loop") return void res.writeHead(302, { location: "/loop" }).end();
      if (url === "/metadata") return void res.writeHead(302, { location: "http://169.254.169.254/latest" }).end();
      if (url === "/file") return void res.writeHead(302, { location: "file:///etc/passwd" }).end();
      if (url === "/large") return void res.end("x".repeat(200_000));
      if (url === "/slow") return;
      res.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => { server.closeAllConnections(); server.close(); });

  it("is the body, also after a move", async () => {
    assert.match(await get("/keys"), /"keys":\[\]/);
    assert.match(await get("/moved"), /"keys":\[\]/);
  });
  it("is asked for under its name, wherever that leads", async () => {
    const named = base.replace("127.0.0.1", "localhost");
    assert.match(await fetchDocument(`${named}/keys`, { guard: addressGuard("", "127.0.0.0/8,::1/128"), signal: new AbortController().signal }).catch((e: unknown) => String(e)), /localhost|ECONNREFUSED/);
  });
  for (const [path, why] of [["/loop", /more than 3 redirects/], ["/metadata", /169\.254\.169\.254/], ["/file", /file:/], ["/large", /more than 131072 bytes/], ["/nothing", /answered 404/]] as const)
    it(`is refused at ${path}`, () => assert.rejects(get(path), why));
  it("is refused before anything is sent to a blocked address", () => assert.rejects(get("/keys", addressGuard("")), /may not be fetched from/));
  it("is given up when told to", async () => {
    const abort = new AbortController();
    const slow = get("/slow", guard, abort.signal);
    abort.abort(new Error("enough"));
    await assert.rejects(slow);
  });
});
