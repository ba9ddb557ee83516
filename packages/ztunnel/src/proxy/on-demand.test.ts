import assert from "node:assert/strict";
import { ManualClock } from "@ambit/proxy/testing";
import type { LookupAnswer } from "@ambit/xds";
import { ABSENT_MAX, ABSENT_MS, createOnDemand } from "./on-demand.ts";

describe("asking the control plane name by name", () => {
  const rig = (answer: LookupAnswer) => {
    const clock = new ManualClock();
    const asked: string[] = [];
    return { clock, asked, demand: createOnDemand({ clusterId: "c1", clock, ask: (name) => { asked.push(name); return Promise.resolve(answer); } }) };
  };
  it("remembers for a while what is not there", async () => {
    const { clock, demand } = rig("missing");
    assert.equal(demand.absent.has("/1.2.3.4"), false);
    assert.equal(await demand.fetch("/1.2.3.4"), "missing");
    assert.equal(demand.absent.has("/1.2.3.4"), true);
    await clock.advance(ABSENT_MS);
    assert.equal(demand.absent.has("/1.2.3.4"), false);
  });
  it("does not take silence for an answer", async () => {
    const { demand } = rig("timeout");
    assert.equal(await demand.fetch("/1.2.3.4"), "timeout");
    assert.equal(demand.absent.has("/1.2.3.4"), false);
  });
  it("remembers a bounded number", async () => {
    const { demand } = rig("missing");
    for (let i = 0; i <= ABSENT_MAX; i++) await demand.fetch(String(i));
    assert.deepEqual([demand.absent.has("0"), demand.absent.has("1"), demand.absent.has(String(ABSENT_MAX))], [false, true, true]);
  });
  it("asks for a pod by the uid it must have", () => {
    const { asked, demand } = rig("found");
    demand.askForPod({ name: "web-0", namespace: "ns", serviceAccount: "sa" });
    assert.deepEqual(asked, ["c1//Pod/ns/web-0"]);
  });
});
