// A ztunnel that starts while the control plane is down (R10 of the parity table). Needs root.
import assert from "node:assert/strict";
import { member, pod as wirePod, svc } from "@ambit/proxy/testing";
import type { BoundZtunnel } from "./app.ts";
import { City, type CityPod } from "./city.fixture.ts";

/** Nobody listens there. */
const NOBODY = "http://127.0.0.1:9";

describe("ztunnel without a control plane", function () {
  this.timeout(30_000);
  const city = new City();
  let client: CityPod;
  let server: CityPod;
  let outside: CityPod;
  let seen = 0;

  before(async () => {
    await city.start();
    client = await city.pod("client", "10.77.0.1");
    server = await city.pod("server", "10.77.0.2");
    outside = await city.pod("outside", "10.77.0.3", false);
    city.put({ workload: wirePod("client", "10.77.0.1") }, { workload: wirePod("server", "10.77.0.2", { services: member("web") }) }, { service: svc("web", "10.96.0.1") });
    for (const pod of [server, outside]) await city.listen(pod, 8080, (socket) => { seen++; socket.end(`${pod.name}\n`); socket.resume(); });
  });
  after(() => city.stop());
  const enrol = async (): Promise<void> => {
    for (const pod of [client, server]) assert.equal(await city.add(pod), "");
    assert.equal(await city.snapshotSent(), "");
  };
  /** Has asked the control plane in vain. */
  const blind = async (): Promise<BoundZtunnel> => {
    city.lines.length = 0;
    const made = await city.buildAnother({ XDS_ADDRESS: NOBODY, ISTIO_META_DNS_CAPTURE: "false" });
    await city.line((l) => l["msg"] === "control plane stream ended");
    return made;
  };
  const held = async (port: number) => Object.keys(((await (await fetch(`http://127.0.0.1:${port}/config_dump`)).json()) as { workloadState: object }).workloadState).length;
  const outcome = (to: string): Promise<string> => city.exchange(client, to).catch((e: NodeJS.ErrnoException) => e.code ?? String(e));

  it("a successor does not take over: it is not ready, and whoever it replaces goes on serving alone", async () => {
    const old = await city.startZtunnel({ ISTIO_META_DNS_CAPTURE: "false" });
    await city.connectedAgain();
    await enrol();
    await city.line((l) => l["msg"] === "ready");
    const next = await blind();
    try {
      const ready = await fetch(`http://127.0.0.1:${next.readinessPort}/healthz/ready`);
      assert.equal(ready.status, 500);
      assert.match(await ready.text(), /state manager/);
      const results = await Promise.all(Array.from({ length: 40 }, () => outcome("10.96.0.1:80")));
      assert.deepEqual([...new Set(results)], ["server\n"]);
      // The agent goes on with the old one: a pod that comes now is served.
      const late = await city.pod("late", "10.77.0.4");
      city.put({ workload: wirePod("late", "10.77.0.4") });
      assert.equal(await city.add(late), "");
      assert.equal(await city.exchange(late, "10.96.0.1:80"), "server\n");
      assert.deepEqual([await held(next.adminPort), await held(old.adminPort)], [0, 3]);
    } finally {
      await Promise.all([next.drain(), old.drain()]);
      city.zt = undefined;
    }
  });

  it("one that was killed comes back without state: its pods' connections are refused and nothing leaves in the clear, until the control plane is back", async () => {
    seen = 0;
    const crashed = await blind();
    try {
      for (const to of ["10.96.0.1:80", "10.77.0.2:8080", "10.77.0.3:8080"]) assert.equal(await outcome(to), "ECONNREFUSED", to);
      assert.equal(seen, 0);
    } finally {
      await crashed.drain();
    }
    await city.startZtunnel({ ISTIO_META_DNS_CAPTURE: "false" });
    await city.connectedAgain();
    await enrol();
    await city.line((l) => l["msg"] === "ready");
    assert.equal(await outcome("10.96.0.1:80"), "server\n");
  });
});
