import assert from "node:assert/strict";
import { ip, ManualClock } from "@ambit/proxy/testing";
import { ClientAffinity, KEPT_MAX } from "./client-affinity.ts";

describe("where clients went lately", () => {
  const [a, b] = [ip("10.0.0.1"), ip("10.0.0.2")];
  it("is remembered by client and service, until it was idle for long enough", async () => {
    const clock = new ManualClock();
    const affinity = new ClientAffinity(clock);
    affinity.keep(a, "ns/web", "w1", 1000);
    assert.deepEqual([affinity.of(a).get("ns/web"), affinity.of(b).get("ns/web"), affinity.of(a).get("ns/api")], ["w1", undefined, undefined]);
    await clock.advance(999);
    affinity.keep(a, "ns/web", "w1", 1000);
    await clock.advance(999);
    assert.equal(affinity.of(a).get("ns/web"), "w1");
    await clock.advance(1);
    assert.equal(affinity.of(a).get("ns/web"), undefined);
  });
  it("is bounded", () => {
    const affinity = new ClientAffinity(new ManualClock());
    for (let i = 0; i <= KEPT_MAX; i++) affinity.keep(a, `ns/${i}`, "w", 1000);
    assert.deepEqual([affinity.of(a).get("ns/0"), affinity.of(a).get("ns/1")], [undefined, "w"]);
  });
});
