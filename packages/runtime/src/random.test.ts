import assert from "node:assert/strict";
import { newUuid, randomHex } from "./random.ts";

describe("production randomness", () => {
  it("makes UUIDs of version 4, each another, of all octets that may be", () => {
    const seen = Array.from({ length: 5_000 }, newUuid);
    for (const uuid of seen) assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(new Set(seen).size, seen.length);
    for (let i = 0; i < 36; i++) assert.equal(new Set(seen.map((u) => u[i])).size, [8, 13, 14, 18, 23].includes(i) ? 1 : i === 19 ? 4 : 16, `digit ${i}`);
  });

  it("makes as many digits as asked for, more than are drawn at once too", () => {
    for (const bytes of [0, 1, 8, 16, 10_000]) assert.match(randomHex(bytes), new RegExp(`^[0-9a-f]{${bytes * 2}}$`));
  });
});
