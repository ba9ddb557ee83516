import assert from "node:assert/strict";
import { tallyMemory, TunnelTally } from "./tunnel-tally.ts";

describe("the tally of tunnels", () => {
  const threads = (n: number): TunnelTally[] => {
    const memory = tallyMemory(n);
    return Array.from({ length: n }, (_, i) => new TunnelTally(memory, i));
  };

  const place = (t: TunnelTally | undefined): number => {
    const to = t?.least ?? -1;
    t?.begin(to);
    return to;
  };

  it("gives each next tunnel to whoever carries fewest, and keeps it where that is us", () => {
    const [a, b, c] = threads(3) as [TunnelTally, TunnelTally, TunnelTally];
    assert.deepEqual([place(a), place(a), place(a), place(a)], [0, 1, 2, 0]);
    assert.deepEqual([a, b, c].map((t) => t.own), [2, 1, 1]);
    b.end();
    assert.equal(place(c), 1);
    assert.equal(place(c), 2, "equal: it stays");
  });
  it("is even to one, whoever the kernel gives them to", () => {
    const all = threads(4);
    for (let i = 0; i < 1_001; i++) place(all[(i * 7) % 3]);
    const counts = all.map((t) => t.own);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, String(counts));
  });
});
