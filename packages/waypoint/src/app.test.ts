import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakeCa } from "@ambit/testkit";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";

/** Whether somebody takes a connection. */
async function taken(port: number): Promise<boolean> {
  const socket = net.connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Much longer than a connection takes on a machine that has no time. */
const TAKING_MS = 1_500;

describe("a waypoint that ends", () => {
  const folder = mkdtempSync(join(tmpdir(), "wp-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("is not ready at once, takes new connections while others learn of it, then none", async () => {
    writeFileSync(join(folder, "root.pem"), fakeCa().rootPem);
    writeFileSync(join(folder, "token"), "token");
    const app = await build(readConfig({
      GATEWAY_NAME: "waypoint", POD_NAME: "waypoint-1", POD_NAMESPACE: "shop", SERVICE_ACCOUNT: "waypoint", INSTANCE_IP: "127.0.0.1", XDS_ADDRESS: "https://127.0.0.1:9", XDS_ROOT_CA: join(folder, "root.pem"), CA_ROOT_CA: join(folder, "root.pem"),
      AUTH_TOKEN: join(folder, "token"), AMBIT_LOG: "off", TERMINATION_DRAIN_DURATION: `${2 * TAKING_MS}ms`, MINIMUM_DRAIN_DURATION: "10s", AMBIT_TUNNEL_PORT: "0", AMBIT_ADMIN_PORT: "0", AMBIT_STATS_PORT: "0", AMBIT_READINESS_PORT: "0",
    }));
    const waitsFor = async (): Promise<string> => (await fetch(`http://127.0.0.1:${app.readinessPort}/healthz/ready`, { headers: { connection: "close" } })).text();
    assert.doesNotMatch(await waitsFor(), /draining/);
    const begin = Date.now();
    const drained = app.drain();
    try {
      assert.equal(await taken(app.tunnelPort), true);
      assert.match(await waitsFor(), /draining/);
    } finally {
      await drained;
    }
    // At most half of the whole, whatever is asked for.
    assert.ok(Date.now() - begin >= TAKING_MS - 10, `${Date.now() - begin} ms`);
    assert.equal(await taken(app.tunnelPort), false);
  });
});
