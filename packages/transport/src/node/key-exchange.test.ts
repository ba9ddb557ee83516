import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import tls from "node:tls";
import { Worker } from "node:worker_threads";
import { fakeCa, type FakeCert } from "@ambit/testkit";
import type { Strict } from "./key-exchange.fixture.ts";

const ca = fakeCa();
const pemOf = (cert: FakeCert) => ({ chain: cert.chainPem, key: cert.keyPem, roots: ca.rootPem });
const [client, server] = [pemOf(ca.leaf("default", "client")), pemOf(ca.leaf("default", "server"))];
const optionsOf = (pem: typeof client) => ({ key: pem.key, cert: pem.chain, ca: pem.roots, ALPNProtocols: ["h2"], checkServerIdentity: () => undefined });
const PEERS: readonly (readonly [string, tls.SecureContextOptions, "done" | "refused"])[] = [
  ["offers it among others", { ecdhCurve: "X25519:X25519MLKEM768" }, "done"],
  ["has elliptic curves only", { ecdhCurve: "X25519:P-256" }, "refused"],
  ["speaks TLS 1.2 without any", { maxVersion: "TLSv1.2", ciphers: "AES128-GCM-SHA256" }, "refused"],
];

/** What TLS of a thread may do is the thread's own. Resolves with its first word. */
async function inThread<T>(data: Strict, then: (said: string | number) => Promise<T> | T): Promise<T> {
  const thread = new Worker(new URL("./key-exchange.fixture.ts", import.meta.url), { workerData: data });
  try {
    const [said] = (await once(thread, "message")) as [string | number];
    return await then(said);
  } finally {
    await thread.terminate();
  }
}

describe("TLS of a thread that demands a post-quantum key exchange", () => {
  for (const [what, options, expected] of PEERS) {
    it(`a tunnel's client that ${what}: ${expected}`, () => inThread({ does: "accept", port: 0, pem: server }, async (port) => {
      const socket = tls.connect({ port: Number(port), host: "127.0.0.1", ...optionsOf(client), ...options });
      const outcome = await new Promise((resolve) => { socket.on("secureConnect", () => resolve("done")).on("error", () => resolve("refused")); });
      socket.destroy();
      assert.equal(outcome, expected);
    }));
    for (const does of ["dial", "dial-control-plane"] as const) it(`${does === "dial" ? "a tunnel's server" : "a control plane"} that ${what}: ${expected}`, async () => {
      const listening = tls.createServer({ ...optionsOf(server), ...options }, (socket) => socket.on("error", () => undefined));
      listening.on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
      await once(listening, "listening");
      try {
        await inThread({ does, port: (listening.address() as AddressInfo).port, pem: client }, (said) => assert.equal(said, expected));
      } finally {
        await new Promise((resolve) => listening.close(resolve));
      }
    });
  }
});
