import assert from "node:assert/strict";
import { descriptorLimit, descriptorsShort } from "./descriptors.ts";

describe("file descriptors", () => {
  it("the limit is the soft one", () => {
    const limits = "Limit                     Soft Limit           Hard Limit           Units\nMax cpu time              unlimited            unlimited            seconds\nMax open files            1024                 4096                 files\n";
    assert.deepEqual([descriptorLimit(limits), descriptorLimit(limits.replace("1024", "unlimited")), descriptorLimit("")], [1024, Infinity, Infinity]);
    assert.ok(descriptorLimit() > 0);
  });
  it("from nine tenths on connections are refused, with the numbers", () => {
    assert.deepEqual([descriptorsShort(899, 1000), descriptorsShort(-1, 1000), descriptorsShort(1e6, Infinity)], [undefined, undefined, undefined]);
    assert.equal(descriptorsShort(900, 1000), "900 of 1000 file descriptors are open: raise the limit of the container");
  });
});
