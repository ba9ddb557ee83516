import assert from "node:assert/strict";
import { query, replyTo } from "../query.fixture.ts";
import { answers, framed, rcodeOf, takeFrame, withId } from "./relay.ts";

describe("whether a reply answers a query", () => {
  const q = query("Example.Org", 1, 0x1234);
  const bare = (rcode: number): Buffer => { const out = replyTo(q, rcode).subarray(0, 12); out.writeUInt16BE(0, 4); return out; };
  const notPlain = Buffer.from(q); notPlain.writeUInt16BE(2, 4);
  const cases: [string, Buffer, boolean, Buffer?][] = [
    ["its question, its id", replyTo(q), true],
    ["in another case", replyTo(query("eXAMPLE.oRG", 1, 0x1234)), true],
    ["a failure with its question", replyTo(q, 3), true],
    ["a failure without question", bare(1), true],
    ["no failure and no question", bare(0), false],
    ["another id", replyTo(query("Example.Org", 1, 0x1235)), false],
    ["another name", replyTo(query("Example.Orh", 1, 0x1234)), false],
    ["another type", replyTo(query("Example.Org", 28, 0x1234)), false],
    ["the query itself", q, false],
    ["a cut reply", replyTo(q).subarray(0, 20), false],
    ["no header", Buffer.from([0x12, 0x34]), false],
    ["of a query that is not plain, by id and count", replyTo(notPlain), true, notPlain],
  ];
  for (const [name, reply, expected, asked] of cases) it(`${name}: ${expected ? "yes" : "no"}`, () => assert.equal(answers(asked ?? q, reply), expected));
});

describe("relaying", () => {
  it("changes the id and nothing else", () => {
    const q = query("a", 1, 7);
    const other = withId(q, 0xffee);
    assert.deepEqual([other.readUInt16BE(0), other.subarray(2), q.readUInt16BE(0)], [0xffee, q.subarray(2), 7]);
  });
  it("reads the code", () => assert.equal(rcodeOf(replyTo(query("a"), 3)), 3));
  it("frames, and finds frames however they were cut", () => {
    const stream = Buffer.concat([framed(query("a")), framed(query("b")), framed(Buffer.alloc(0))]);
    for (let cut = 0; cut <= stream.length; cut++) {
      const found: Buffer[] = [];
      let held: Buffer = Buffer.alloc(0);
      for (const piece of [stream.subarray(0, cut), stream.subarray(cut)]) {
        held = Buffer.concat([held, piece]);
        for (let f = takeFrame(held); f !== undefined; f = takeFrame(held)) { found.push(f.message); held = f.rest; }
      }
      assert.deepEqual(found, [query("a"), query("b"), Buffer.alloc(0)]);
    }
  });
});
