import assert from "node:assert/strict";
import { HostProbeRules } from "./host-probes.ts";

/** An nft that holds one table. */
class FakeNft {
  table = "";
  writes = 0;
  failing = false;
  readonly run = async (args: readonly string[], script = ""): Promise<string> => {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.failing) throw new Error("nft failed");
    if (args.includes("list")) return this.table;
    this.writes++;
    this.table = script;
    return "";
  };
}

describe("the node's probe rule", () => {
  let nft: FakeNft;
  let rules: HostProbeRules;
  beforeEach(() => { nft = new FakeNft(); rules = new HostProbeRules({ probeIpv4: "169.254.7.127", probeIpv6: "fd16::1", ipv6: false }, nft.run); });

  it("calls that meet become one, and the last one counts", async () => {
    await Promise.all([rules.set(["10.0.0.1"]), rules.set(["10.0.0.1", "10.0.0.2"]), rules.set(["10.0.0.3"])]);
    assert.equal(nft.writes, 1);
    assert.match(nft.table, /\{ 10\.0\.0\.3 \}/);
  });
  it("what stands is not written again", async () => {
    await rules.set(["10.0.0.1"]);
    await rules.set(["10.0.0.1"]);
    assert.equal(nft.writes, 1);
  });
  it("a failure is told, and the next call writes", async () => {
    nft.failing = true;
    await assert.rejects(rules.set(["10.0.0.1"]), /nft failed/);
    nft.failing = false;
    await rules.set(["10.0.0.1"]);
    assert.match(nft.table, /10\.0\.0\.1/);
  });
  it("what somebody changed is found and put back", async () => {
    await rules.set(["10.0.0.1"]);
    assert.equal(await rules.verify(), false);
    nft.table = "something else";
    assert.equal(await rules.verify(), true);
    assert.match(nft.table, /10\.0\.0\.1/);
    assert.equal(await rules.verify(), false);
  });
  it("before the first pod there is nothing to verify", async () => assert.equal(await rules.verify(), false));
});
