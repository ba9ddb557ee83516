import assert from "node:assert/strict";
import { openSync } from "node:fs";
import { deleteConntrackEntries, encodeConntrackDelete } from "./conntrack.ts";
import { adoptNetns } from "./netns.ts";

describe("deleting connection-tracking entries", () => {
  for (const [filter, hex] of [
    [{}, "1400000002010500010000000000000000000000"],
    [{ untranslated: true }, "240000000201050001000000000000000000000008000300000000000800" + "1a0000000020"],
    [{ mark: { value: 0x111, mask: 0xfff } }, "24000000020105000100000000000000000000000800080000000111080015" + "0000000fff"],
  ] as const) it(`asks for ${JSON.stringify(filter)}`, () => assert.equal(encodeConntrackDelete(filter).toString("hex"), hex));

  it("a namespace handle that was let go of is refused, not mistaken for another", () => {
    const ns = adoptNetns(openSync("/proc/self/ns/net", "r"));
    ns[Symbol.dispose]();
    assert.throws(() => ns.fd, /let go of/);
    assert.throws(() => deleteConntrackEntries(ns), /let go of/);
  });
});
