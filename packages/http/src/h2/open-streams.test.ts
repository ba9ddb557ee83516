import assert from "node:assert/strict";
import fc from "fast-check";
import { OpenStreams } from "./open-streams.ts";
import { H2Stream } from "./stream.ts";

const stream = (id: number): H2Stream<number> => new H2Stream<number>(id, false, 0, 0, id);

describe("open streams", () => {
  it("are those that came and did not end, as in a Map", () => {
    // Numbers that meet in the same cells are as likely as neighbours.
    const id = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 30 }).map((n) => n * 64 + 1), fc.integer({ min: 1, max: 2 ** 31 - 1 }));
    fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), id), { maxLength: 300 }), (steps) => {
      const [streams, map] = [new OpenStreams<number>(), new Map<number, H2Stream<number>>()];
      for (const [comes, n] of steps) {
        if (!comes) { streams.delete(n); map.delete(n); }
        else if (!map.has(n)) { const s = stream(n); streams.add(s); map.set(n, s); }
        assert.equal(streams.size, map.size);
        assert.equal(streams.get(n), map.get(n));
      }
      assert.deepEqual([...streams].map((s) => s.id).sort((a, b) => a - b), [...map.keys()].sort((a, b) => a - b));
      for (const [n, s] of map) assert.equal(streams.get(n), s);
    }));
  });
});
