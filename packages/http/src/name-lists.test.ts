import assert from "node:assert/strict";
import { NameLists, NOT_MET } from "./name-lists.ts";

/** Learned whatever was asked before: one in eight is. */
function learn(lists: NameLists, fields: readonly string[], from: number, found: number, valueAt?: number): void {
  for (let i = 0; i < 8; i++) assert.equal(lists.remember(fields, from, found, valueAt), found);
}

describe("lists of names", () => {
  it("answer again for the same names in the same order, whatever their values", () => {
    const lists = new NameLists();
    assert.equal(lists.recall(["a", "1", "b", "2"]), NOT_MET);
    learn(lists, ["a", "1", "b", "2"], 0, 5);
    assert.equal(lists.recall(["a", "3", "b", "4"]), 5);
    for (const other of [["b", "2", "a", "1"], ["a", "1"], ["a", "1", "b", "2", "c", "3"], ["a", "1", "c", "2"], ["a", "1", "b"], []]) assert.equal(lists.recall(other), NOT_MET, other.join());
  });
  it("and for the same value, where one was told to count", () => {
    const lists = new NameLists();
    learn(lists, ["x", "-", "a", "1", "te", "trailers"], 2, 0, 5);
    assert.equal(lists.recall(["x", "another", "a", "2", "te", "trailers"], 2), 0);
    assert.equal(lists.recall(["a", "2", "te", "trailers"]), 0);
    assert.equal(lists.recall(["a", "2", "te", "gzip"]), NOT_MET);
  });
  it("look at names from where they are told to", () => {
    const lists = new NameLists();
    learn(lists, [":path", "/", "a", "1"], 2, 7);
    assert.equal(lists.recall(["a", "1"], 0), 7);
    assert.equal(lists.recall([":path", "/", "a", "1"], 0), NOT_MET);
  });
  it("do not hold what is large", () => {
    const lists = new NameLists();
    const many = Array.from({ length: 65 }, (_, i) => [`n${i}`, ""]).flat();
    learn(lists, many, 0, 1);
    learn(lists, ["n".repeat(65), ""], 0, 1);
    assert.deepEqual([lists.recall(many), lists.recall(["n".repeat(65), ""])], [NOT_MET, NOT_MET]);
  });
});
