import assert from "node:assert/strict";
import { heapGrowth } from "./heap.ts";

describe("how far the heap may grow", () => {
  const cases: [mb: number, percent: number][] = [[0, 300], [10, 300], [21.4, 299], [40, 160], [75, 85], [128, 50], [500, 30]];
  for (const [mb, percent] of cases) it(`${mb} MB alive: ${percent} %`, () => assert.equal(heapGrowth(mb * 1e6), percent));
});
