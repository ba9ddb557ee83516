import assert from "node:assert/strict";
import { collectAfterBulk, readBulk } from "./bulk.ts";

describe("bulk reads", () => {
  afterEach(() => collectAfterBulk(() => undefined));

  it("ask for a collection every 32 MB, whoever read them", () => {
    let collections = 0;
    collectAfterBulk(() => collections++);
    for (let i = 0; i < 3 * 512; i++) readBulk(64 << 10);
    assert.equal(collections, 3);
  });
});
