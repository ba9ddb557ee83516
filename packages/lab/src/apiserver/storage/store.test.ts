// Tests what survives: the log with a torn end, damage in the middle, rewriting, windows after a restart.
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLog } from "./log.ts";
import { Store, WINDOW_EVENTS } from "./store.ts";

function object(name: string, data = ""): { metadata: { name: string }; data: string } {
  return { metadata: { name }, data };
}

describe("apiserver: store", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "ambit-store-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const path = () => join(dir, "store.jsonl");
  const open = () => {
    const store = new Store({ append: () => undefined, due: () => false, rewrite: () => undefined, close: () => undefined });
    const opened = openLog(dir, (record) => store.replay(record));
    store.useLog(opened.log);
    return { store, tornBytes: opened.tornBytes };
  };
  const keys = (store: Store) => store.list("/things").map((entry) => entry.key);

  it("finds everything again, versions and all", () => {
    const { store } = open();
    store.put("/things", "a", object("a"));
    store.put("/things", "b", object("b"));
    store.put("/things", "a", object("a", "2"));
    store.remove("/things", "b");
    const again = open().store; // without closing: as after kill -9
    assert.deepEqual(keys(again), ["a"]);
    assert.equal(again.rv, store.rv);
    assert.equal(again.get("/things", "a")?.object["data"], "2");
    const resume = again.since("/things", 2);
    assert.equal(resume.kind, "ok");
    assert.equal(resume.kind === "ok" && resume.changes.length, 3, "watches resume across a restart");
  });

  it("cuts a torn last line off at any byte, losing nothing before it", () => {
    const { store } = open();
    store.put("/things", "a", object("a"));
    const whole = statSync(path()).size;
    store.put("/things", "b", object("b", "ünïcödé"));
    const full = readFileSync(path());
    for (let size = whole + 1; size < full.length; size++) {
      writeFileSync(path(), full);
      truncateSync(path(), size);
      const opened = open();
      assert.deepEqual(keys(opened.store), ["a"], `cut at ${size}`);
      assert.equal(opened.tornBytes, size - whole);
      opened.store.put("/things", "c", object("c"));
      assert.deepEqual(keys(open().store), ["a", "c"]);
    }
  });

  for (const [what, line] of [["text", "nonsense\n"], ["another shape", "[1,2]\n"], ["a wrong type", '["1","b","k",{}]\n']] as const) {
    it(`refuses a log with ${what} before its end, naming the line`, () => {
      open().store.put("/things", "a", object("a"));
      appendFileSync(path(), line);
      appendFileSync(path(), '[9,"/things","z",null]\n');
      assert.throws(open, /store\.jsonl:2/);
    });
  }

  it("rewrites to the present objects and goes on appending", () => {
    const { store } = open();
    for (let i = 0; i < 100; i++) store.put("/things", "a", object("a", String(i)));
    store.put("/things", "b", object("b"));
    const before = statSync(path()).size;
    store.compact();
    assert.ok(statSync(path()).size < before / 10);
    store.put("/things", "c", object("c"));
    const again = open().store;
    assert.deepEqual(keys(again), ["a", "b", "c"]);
    assert.equal(again.rv, store.rv);
    const early = again.since("/things", 5);
    assert.equal(early.kind, "gone", "changes before the rewrite are unknown");
    assert.equal(again.since("/things", store.rv - 1).kind, "ok");
  });

  it("keeps a bounded window of changes", () => {
    const { store } = open();
    for (let i = 0; i < WINDOW_EVENTS * 3; i++) store.put("/things", "a", object("a"));
    assert.equal(store.since("/things", 2).kind, "gone");
    const recent = store.since("/things", store.rv - WINDOW_EVENTS + 1);
    assert.equal(recent.kind === "ok" && recent.changes.length, WINDOW_EVENTS - 1);
    assert.equal(store.since("/things", store.rv + 1).kind, "gone");
  });

  it("changes nothing when the log cannot be written", () => {
    const store = new Store({
      append: () => {
        throw new Error("disk full");
      },
      due: () => false,
      rewrite: () => undefined,
      close: () => undefined,
    });
    assert.throws(() => store.put("/things", "a", object("a")), /disk full/);
    assert.deepEqual(keys(store), []);
    assert.equal(store.rv, 1);
  });

  it("lists by prefix in key order", () => {
    const { store } = open();
    for (const key of ["b/2", "a/1", "b/1", "c/1", "b"]) store.put("/things", key, object(key));
    assert.deepEqual(store.list("/things", "b/").map((entry) => entry.key), ["b/1", "b/2"]);
    assert.deepEqual(store.list("/things", "d/"), []);
  });
});
