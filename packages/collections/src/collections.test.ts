import assert from "node:assert/strict";
import { Graph, structuralEqual, type Change, type Collection } from "./index.ts";

// The laws that every kind of collection obeys; each kind hands in a rig.
interface Item { readonly id: string; readonly value: number }

/** A collection under test and a way to make it hold an item, or hold it no longer, through its sources. */
interface Rig {
  readonly collection: Collection<Item>;
  put(item: Item): void;
  remove(id: string): void;
  batch(change: () => void): void;
}

function complies(kind: string, makeRig: () => Rig): void {
  describe(`${kind} as a collection`, () => {
    let rig: Rig;
    let heard: Change<Item>[][];
    beforeEach(() => {
      rig = makeRig();
      heard = [];
      rig.collection.onChange((changes) => heard.push([...changes]));
    });
    const flat = (): string[] => heard.flat().map((c) => `${c.key}:${c.before?.value ?? "-"}>${c.after?.value ?? "-"}`);

    it("holds what was put and lists it by key", () => {
      rig.put({ id: "b", value: 2 });
      rig.put({ id: "a", value: 1 });
      assert.deepEqual(rig.collection.list(), [{ id: "a", value: 1 }, { id: "b", value: 2 }]);
      assert.deepEqual(rig.collection.keys(), ["a", "b"]);
      assert.equal(rig.collection.size, 2);
      assert.deepEqual(rig.collection.get("b"), { id: "b", value: 2 });
      assert.equal(rig.collection.get("c"), undefined);
    });
    it("tells of adding, updating and deleting with both sides", () => {
      rig.put({ id: "a", value: 1 });
      rig.put({ id: "a", value: 2 });
      rig.remove("a");
      assert.deepEqual(flat(), ["a:->1", "a:1>2", "a:2>-"]);
    });
    it("is silent when an equal item replaces the old one", () => {
      rig.put({ id: "a", value: 1 });
      rig.put({ id: "a", value: 1 });
      assert.deepEqual(flat(), ["a:->1"]);
    });
    it("is silent when what is absent is removed", () => {
      rig.remove("a");
      assert.deepEqual(flat(), []);
    });
    it("tells once per batch, of the outcome only", () => {
      rig.batch(() => {
        rig.put({ id: "a", value: 1 });
        rig.put({ id: "b", value: 1 });
        rig.put({ id: "a", value: 3 });
        rig.remove("b");
      });
      assert.equal(heard.length, 1);
      assert.deepEqual(flat(), ["a:->3"]);
    });
    it("is silent about a batch that undoes itself", () => {
      rig.put({ id: "a", value: 1 });
      heard.length = 0;
      rig.batch(() => { rig.remove("a"); rig.put({ id: "a", value: 1 }); });
      assert.deepEqual(flat(), []);
    });
    it("shows the settled state to listeners", () => {
      const seen: number[] = [];
      rig.collection.onChange(() => seen.push(rig.collection.size));
      rig.batch(() => { rig.put({ id: "a", value: 1 }); rig.put({ id: "b", value: 2 }); });
      assert.deepEqual(seen, [2]);
    });
    it("lets a listener change sources, and settles again", () => {
      rig.collection.onChange((changes) => { for (const c of changes) if (c.after?.value === 1) rig.put({ id: c.key, value: 2 }); });
      rig.put({ id: "a", value: 1 });
      assert.deepEqual(flat(), ["a:->1", "a:1>2"]);
      assert.equal(rig.collection.get("a")?.value, 2);
    });
    it("no longer tells a listener that left", () => {
      const more: unknown[] = [];
      const leave = rig.collection.onChange((c) => more.push(c));
      leave();
      rig.put({ id: "a", value: 1 });
      assert.equal(more.length, 0);
    });
  });
}

const show = (v: unknown): string => (v instanceof Map || v instanceof Set ? `${v.constructor.name}(${JSON.stringify([...v])})` : (JSON.stringify(v) ?? "undefined"));
const byId = { key: (i: Item) => i.id };

complies("a source", () => {
  const g = new Graph();
  const s = g.source<Item>("s", byId);
  return { collection: s, put: (i) => s.set(i), remove: (id) => s.delete(id), batch: (f) => g.batch(f) };
});
complies("a derivation", () => {
  const g = new Graph();
  const s = g.source<Item>("s", byId);
  const d = g.derive("d", s, byId, (_ctx, i) => ({ ...i }));
  return { collection: d, put: (i) => s.set(i), remove: (id) => s.delete(id), batch: (f) => g.batch(f) };
});
complies("a derivation that only fetches", () => {
  const g = new Graph();
  const s = g.source<Item>("s", byId);
  const one = g.source<{ id: string }>("one", { key: (o) => o.id });
  const d = g.derive("d", one, byId, (ctx) => ctx.fetch(s));
  one.set({ id: "only" });
  return { collection: d, put: (i) => s.set(i), remove: (id) => s.delete(id), batch: (f) => g.batch(f) };
});
complies("a join", () => {
  const g = new Graph();
  const low = g.source<Item>("low", byId);
  const high = g.source<Item>("high", byId);
  const j = g.join("j", [high, low]);
  return { collection: j, put: (i) => low.set(i), remove: (id) => low.delete(id), batch: (f) => g.batch(f) };
});
complies("a flattened group", () => {
  const g = new Graph();
  const s = g.source<Item>("s", byId);
  const groups = g.group("g", s, (i) => [i.id]);
  const d = g.derive("d", groups, byId, (_ctx, group) => group.items);
  return { collection: d, put: (i) => s.set(i), remove: (id) => s.delete(id), batch: (f) => g.batch(f) };
});

describe("transformations", () => {
  interface Named { readonly id: string; readonly ns: string; readonly tag: string }
  const key = { key: (n: Named) => n.id };
  function counted() {
    const g = new Graph();
    const left = g.source<Named>("left", key);
    const right = g.source<Named>("right", key);
    const byNs = g.index("right by namespace", right, (r) => [r.ns]);
    const runs: string[] = [];
    return { g, left, right, byNs, runs };
  }

  it("recompute only what fetched the key that changed", () => {
    const { g, left, right, runs } = counted();
    const d = g.derive("d", left, { key: (o: { id: string; tag: string }) => o.id }, (ctx, l) => {
      runs.push(l.id);
      return { id: l.id, tag: ctx.fetchOne(right, { key: l.tag })?.tag ?? "none" };
    });
    g.batch(() => { left.set({ id: "1", ns: "a", tag: "x" }); left.set({ id: "2", ns: "a", tag: "y" }); });
    runs.length = 0;
    right.set({ id: "y", ns: "a", tag: "T" });
    assert.deepEqual(runs, ["2"]);
    assert.deepEqual(d.list(), [{ id: "1", tag: "none" }, { id: "2", tag: "T" }]);
  });

  it("recompute only what fetched the index value, and only where the predicate holds before or after", () => {
    const { g, left, right, byNs, runs } = counted();
    const d = g.derive("d", left, { key: (o: { id: string; n: number }) => o.id }, (ctx, l) => {
      runs.push(l.id);
      return { id: l.id, n: ctx.fetch(right, { index: [byNs, l.ns], where: (r) => r.tag === l.tag }).length };
    });
    g.batch(() => {
      left.set({ id: "1", ns: "a", tag: "x" });
      left.set({ id: "2", ns: "a", tag: "y" });
      left.set({ id: "3", ns: "b", tag: "x" });
    });
    runs.length = 0;
    right.set({ id: "r", ns: "a", tag: "x" });
    assert.deepEqual(runs, ["1"]);
    right.set({ id: "r", ns: "a", tag: "y" });
    assert.deepEqual(runs.slice(1).sort(), ["1", "2"]);
    right.set({ id: "r", ns: "b", tag: "x" });
    assert.deepEqual(runs.slice(3).sort(), ["2", "3"]);
    assert.deepEqual(d.list().map((o) => o.n), [0, 0, 1]);
  });

  it("forget what an earlier run fetched", () => {
    const { g, left, right, runs } = counted();
    g.derive("d", left, { key: (o: string) => o }, (ctx, l) => {
      runs.push(l.tag);
      return ctx.fetchOne(right, { key: l.tag })?.tag ?? "none";
    });
    left.set({ id: "1", ns: "a", tag: "x" });
    left.set({ id: "1", ns: "a", tag: "y" });
    runs.length = 0;
    right.set({ id: "x", ns: "a", tag: "T" });
    assert.deepEqual(runs, []);
  });

  it("never see half a batch: a diamond computes each item once", () => {
    const g = new Graph();
    const s = g.source<Item>("s", byId);
    const a = g.derive("a", s, byId, (_c, i) => ({ id: i.id, value: i.value * 2 }));
    const b = g.derive("b", s, byId, (_c, i) => ({ id: i.id, value: i.value * 3 }));
    let runs = 0;
    const sum = g.derive("sum", a, byId, (ctx, i) => {
      runs++;
      return { id: i.id, value: i.value + (ctx.fetchOne(b, { key: i.id })?.value ?? 0) };
    });
    s.set({ id: "x", value: 1 });
    s.set({ id: "x", value: 10 });
    assert.equal(runs, 2);
    assert.equal(sum.get("x")?.value, 50);
  });

  it("settle rival makers of one key by the least input key, whatever came first", () => {
    const { g, left } = counted();
    const d = g.derive("d", left, { key: (o: Named) => o.tag }, (_c, l) => l);
    left.set({ id: "2", ns: "a", tag: "same" });
    left.set({ id: "1", ns: "a", tag: "same" });
    assert.equal(d.get("same")?.id, "1");
    left.delete("1");
    assert.equal(d.get("same")?.id, "2");
    left.delete("2");
    assert.equal(d.size, 0);
  });

  it("give several items, one, or none", () => {
    const g = new Graph();
    const s = g.source<Item>("s", byId);
    const d = g.derive("d", s, byId, (_c, i) => Array.from({ length: i.value }, (_, n) => ({ id: `${i.id}${n}`, value: n })));
    s.set({ id: "a", value: 3 });
    assert.deepEqual(d.keys(), ["a0", "a1", "a2"]);
    s.set({ id: "a", value: 1 });
    assert.deepEqual(d.keys(), ["a0"]);
    s.set({ id: "a", value: 0 });
    assert.deepEqual(d.keys(), []);
  });

  it("are refused when they fetch a collection made after them, or by another one's index", () => {
    const { g, left, byNs } = counted();
    let later: Collection<Item> | undefined;
    g.derive("early", left, byId, (ctx) => (later === undefined ? undefined : ctx.fetch(later)));
    later = g.source<Item>("later", byId);
    assert.throws(() => left.set({ id: "1", ns: "a", tag: "x" }), /early fetches later/);
    const other = counted();
    other.g.derive("wrong", other.left, byId, (ctx) => { ctx.fetch(other.left, { index: [byNs, "a"] }); return undefined; });
    assert.throws(() => other.left.set({ id: "1", ns: "a", tag: "x" }), /by an index of right/);
  });

  it("belong to one graph", () => {
    const other = new Graph().source<Item>("other", byId);
    assert.throws(() => new Graph().derive("d", other, byId, (_c, i) => i), /belongs to another graph/);
  });
});

describe("joins and groups", () => {
  it("let the first part win and uncover the second when it goes", () => {
    const g = new Graph();
    const high = g.source<Item>("high", byId);
    const low = g.source<Item>("low", byId);
    const j = g.join("j", [high, low]);
    low.set({ id: "a", value: 1 });
    high.set({ id: "a", value: 2 });
    assert.equal(j.get("a")?.value, 2);
    high.delete("a");
    assert.equal(j.get("a")?.value, 1);
  });
  it("collect the members of a value and vanish with the last", () => {
    const g = new Graph();
    const s = g.source<Item>("s", byId);
    const groups = g.group("by value", s, (i) => [String(i.value)]);
    s.set({ id: "b", value: 1 });
    s.set({ id: "a", value: 1 });
    assert.deepEqual(groups.get("1")?.items.map((i) => i.id), ["a", "b"]);
    s.set({ id: "a", value: 2 });
    assert.deepEqual(groups.keys(), ["1", "2"]);
    s.delete("b");
    assert.deepEqual(groups.keys(), ["2"]);
  });
});

describe("structuralEqual", () => {
  const same: [unknown, unknown][] = [
    [1, 1], [NaN, NaN], [{ a: 1, b: undefined }, { a: 1 }], [{ a: 1 }, { a: 1, b: undefined }], [[1, [2]], [1, [2]]],
    [new Map([["a", { x: 1 }]]), new Map([["a", { x: 1 }]])], [new Set([1]), new Set([1])], [Uint8Array.of(1, 2), Uint8Array.of(1, 2)],
  ];
  const different: [unknown, unknown][] = [
    [1, "1"], [null, undefined], [null, {}], [{ a: 1 }, { a: 1, b: 2 }], [{ a: 1, b: 2 }, { a: 1 }], [{ a: 1 }, { b: 1 }], [[1], [1, 2]], [[], {}],
    [new Map([["a", 1]]), new Map([["b", 1]])], [new Map(), new Set()], [new Set([1]), new Set([2])], [Uint8Array.of(1), Uint8Array.of(2)], [Uint8Array.of(1), [1]], [new Map(), {}],
  ];
  for (const [a, b] of same) it(`holds for ${show(a)} and ${show(b)}`, () => assert.equal(structuralEqual(a, b), true));
  for (const [a, b] of different) it(`fails for ${show(a)} and ${show(b)}`, () => { assert.equal(structuralEqual(a, b), false); assert.equal(structuralEqual(b, a), false); });
});
