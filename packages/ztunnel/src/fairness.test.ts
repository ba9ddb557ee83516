// A noisy pod and its neighbour on one ztunnel, on real network namespaces (users.md R33). Needs root.
import assert from "node:assert/strict";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { workload } from "@ambit/proto";
import { nextTurn } from "@ambit/runtime";
import { pod as wirePod } from "@ambit/proxy/testing";
import { City, type CityPod } from "./city.fixture.ts";
import { OCTETS_BESIDE_QUIET } from "./proxy/pod-share.ts";

const STREAMS = 64;
const ROUND_TRIPS = 20;
/** Long enough in each stream that reads are large. */
const LOUD_OCTETS = 4 << 20;
/** A round trip takes four turns of the loop here, and each may have a share, with what a last read is too long; were the shares those of a pod alone, thirty and more would go by. */
const SHARES_MAX = 16;

describe("a noisy neighbour", function () {
  this.timeout(30_000);
  const city = new City();
  let noisy: CityPod;
  let quiet: CityPod;
  let outside: CityPod;
  before(async () => {
    await city.start();
    noisy = await city.pod("noisy", "10.77.0.1");
    quiet = await city.pod("quiet", "10.77.0.2");
    outside = await city.pod("outside", "10.77.0.3", false);
    city.put({ workload: wirePod("noisy", "10.77.0.1") }, { workload: wirePod("quiet", "10.77.0.2") }, { workload: wirePod("outside", "10.77.0.3", { tunnelProtocol: workload.TunnelProtocol.NONE }) });
    await city.listen(outside, 8080, (socket) => { socket.setNoDelay(true).pipe(socket); });
    await city.startZtunnel({ RUST_LOG: "off,ztunnel=info" });
    await city.connected();
    for (const pod of [noisy, quiet]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
    await city.line((l) => l["msg"] === "ready");
  });
  after(() => city.stop());

  /** Octets of the noisy pod that went through so far. */
  const noise = (): number => city.ztunnel.connections.list("uid-noisy").reduce((sum, c) => sum + c.bytes.received + c.bytes.sent, 0);

  it(`a round trip waits for a few shares of its neighbour's bulk, not for a read of each of its ${STREAMS} streams`, async () => {
    const own = await city.dial(quiet, "10.77.0.3:8080");
    own.setNoDelay(true);
    const child = spawn(process.execPath, [join(import.meta.dirname, "noise.fixture.ts"), noisy.path, outside.path, "10.77.0.3:9090", String(STREAMS)], { stdio: ["ignore", "ignore", "inherit"] });
    try {
      while (noise() < STREAMS * LOUD_OCTETS) await nextTurn();
      const meanwhile: number[] = [];
      for (let i = 0; i < ROUND_TRIPS; i++) {
        const before = noise();
        own.write("x");
        await once(own, "data");
        meanwhile.push((noise() - before) / OCTETS_BESIDE_QUIET);
      }
      const median = meanwhile.sort((a, b) => a - b)[ROUND_TRIPS / 2] ?? Number.NaN;
      assert.ok(median < SHARES_MAX, `${median.toFixed(1)} shares of ${OCTETS_BESIDE_QUIET >> 10} KiB went by during the median round trip`);
      assert.ok((meanwhile.at(-1) ?? 0) > 0, "there was noise");
    } finally {
      own.destroy();
      if (child.kill("SIGKILL")) await once(child, "close");
    }
  });
});
