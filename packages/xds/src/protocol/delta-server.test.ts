import assert from "node:assert/strict";
import { refusedIn, ServerSubscription, UNACKED_MAX, WANTED_MAX, type Chunk, type Truth } from "./delta-server.ts";
import type { DeltaRequest } from "./messages.ts";

const LIMITS = { resources: 100, bytes: 1_000_000 };

/** name → version; aliases map a name to several. */
const truthOf = (versions: Record<string, string>, aliases: Record<string, string[]> = {}): Truth & { set(v: Record<string, string>): void } => {
  let all = versions;
  return {
    set: (v) => (all = v),
    names: () => Object.keys(all),
    versionOf: (n) => all[n],
    sizeOf: () => 100,
    onNode: (node) => Object.keys(all).filter((n) => n.startsWith(`${node}/`)),
    checksum: () => `sum of ${Object.keys(all).length}`,
    resolve: (n) => (n in all ? [n, ...(aliases[n] ?? [])] : (aliases[n] ?? [])).filter((x) => x in all),
  };
};
const req = (r: Partial<Omit<DeltaRequest, "initialVersions">> & { initial?: Record<string, string> } = {}): DeltaRequest => ({
  node: undefined, typeUrl: "t", subscribe: [], unsubscribe: [], nonce: "", error: undefined, ...r, initialVersions: new Map(Object.entries(r.initial ?? {})),
});
/** What is held and not there counts as gone at once. */
const start = (truth: Truth, r: Parameters<typeof req>[0] = {}, versioned = true) => {
  const s = new ServerSubscription({ versioned, noncePrefix: "n" });
  assert.equal(s.request(req(r), truth).kind, "first");
  s.settleDoubts();
  return s;
};
const shown = (c: Chunk | undefined) => (c === undefined ? "nothing" : `${c.nonce} +[${c.upserts.join(",")}] -[${c.removed.join(",")}]${c.partial ? " more" : ""}${c.aliases ? " aliases" : ""}`);

describe("a server's subscription", () => {
  const openings: [string, Parameters<typeof req>[0], string][] = [
    ["an empty list means everything", {}, "n1 +[a,b] -[]"],
    ["a star means everything", { subscribe: ["*"] }, "n1 +[a,b] -[]"],
    ["held at the same version is spared", { initial: { a: "1" } }, "n1 +[b] -[]"],
    ["held at another version is sent", { initial: { a: "0", b: "2" } }, "n1 +[a] -[]"],
    ["held and gone is removed", { initial: { a: "1", b: "2", z: "9" } }, "n1 +[] -[z]"],
    ["nothing new is still answered", { initial: { a: "1", b: "2" } }, "n1 +[] -[]"],
    ["a star in and out means names only, none yet", { subscribe: ["*"], unsubscribe: ["*"] }, "n1 +[] -[] aliases"],
    ["a name alone is on demand", { subscribe: ["a"] }, "n1 +[a] -[] aliases"],
    ["a name that is not there is removed", { subscribe: ["z"] }, "n1 +[] -[z] aliases"],
    ["on demand, held names are subscribed and compared", { subscribe: ["*"], unsubscribe: ["*"], initial: { a: "1", b: "0", z: "1" } }, "n1 +[b] -[z] aliases"],
    ["on demand, an outstanding name comes with an empty version", { subscribe: ["*"], unsubscribe: ["*"], initial: { b: "" } }, "n1 +[b] -[] aliases"],
    ["an alias brings all its resources", { subscribe: ["/10.0.0.1"] }, "n1 +[a,b] -[] aliases"],
  ];
  for (const [name, r, expected] of openings)
    it(name, () => {
      const truth = truthOf({ a: "1", b: "2" }, { "/10.0.0.1": ["a", "b"] });
      assert.equal(shown(start(truth, r).next(truth, LIMITS, "v")), expected);
    });

  it("sends unversioned types in full whatever the client holds", () => {
    const truth = truthOf({ a: "1" });
    assert.equal(shown(start(truth, { initial: { a: "", gone: "" } }, false).next(truth, LIMITS, "v")), "n1 +[a] -[gone]");
  });

  it("takes nothing away from a returning client before its doubts are settled, unless it hears of it", () => {
    const truth = truthOf({ a: "1" });
    const s = new ServerSubscription({ versioned: true, noncePrefix: "n" });
    s.request(req({ initial: { a: "1", late: "1", gone: "1", going: "1" } }), truth);
    assert.deepEqual([shown(s.next(truth, LIMITS, "v")), s.doubts], ["n1 +[] -[]", true]);
    s.audit();
    assert.equal(s.due, false, "it cannot say what the client must hold");
    truth.set({ a: "1", late: "1" });
    s.change(["late", "going"], truth);
    assert.equal(shown(s.next(truth, LIMITS, "v")), "n2 +[late] -[going]");
    s.settleDoubts();
    assert.deepEqual([shown(s.next(truth, LIMITS, "v")), s.doubts], ["n3 +[] -[gone]", false]);
  });

  it("says nothing before the first request and after it only what changed, newest state last", () => {
    const truth = truthOf({ a: "1" });
    const s = new ServerSubscription({ versioned: true, noncePrefix: "n" });
    s.change(["a"], truth);
    assert.equal(s.due, false);
    s.request(req(), truth);
    s.next(truth, LIMITS, "v");
    assert.equal(shown(s.next(truth, LIMITS, "v")), "nothing");
    truth.set({ a: "2", b: "1" });
    s.change(["a", "b"], truth);
    truth.set({ b: "2" });
    s.change(["a", "b"], truth);
    assert.equal(shown(s.next(truth, LIMITS, "v")), "n2 +[b] -[a]");
  });

  it("cuts chunks by count and by bytes and marks all but the last", () => {
    const truth = truthOf(Object.fromEntries(["a", "b", "c", "d", "e"].map((n) => [n, "1"])));
    const s = start(truth);
    assert.deepEqual([shown(s.next(truth, { resources: 2, bytes: 1000 }, "v")), shown(s.next(truth, { resources: 10, bytes: 150 }, "v")), shown(s.next(truth, { resources: 10, bytes: 50 }, "v")), shown(s.next(truth, LIMITS, "v"))],
      ["n1 +[a,b] -[] more", "n2 +[c] -[] more", "n3 +[d] -[] more", "n4 +[e] -[]"]);
  });

  it("tracks ACKs and NACKs by nonce and ignores others", () => {
    const truth = truthOf({ a: "1" });
    const s = start(truth);
    s.next(truth, LIMITS, "v1");
    assert.equal(s.request(req({ nonce: "x9" }), truth).kind, "stale");
    assert.deepEqual(s.request(req({ nonce: "n1", error: "a: bad" }), truth), { kind: "nack", error: "a: bad" });
    assert.equal(s.request(req({ nonce: "n1" }), truth).kind, "stale");
    assert.deepEqual([s.status().nack, s.status().ackedNonce, s.status().unacked], ["a: bad", "", 0]);
    assert.equal(s.due, false);
    s.change(["a"], truth);
    s.next(truth, LIMITS, "v2");
    assert.equal(s.request(req({ nonce: "n2" }), truth).kind, "ack");
    assert.deepEqual([s.status().nack, s.status().ackedNonce, s.status().ackedVersion], ["", "n2", "v2"]);
  });

  it("stops sending to a client that answers nothing, and goes on when it does", () => {
    const truth = truthOf({ a: "1" });
    const s = start(truth);
    let sent = 0;
    for (; s.next(truth, LIMITS, "v") !== undefined; sent++) s.change(["a"], truth);
    assert.equal(sent, UNACKED_MAX);
    s.request(req({ nonce: "n1" }), truth);
    assert.equal(s.due, true);
  });

  it("on demand, follows what it told about and what a wanted name gains, and nothing else", () => {
    const members: string[] = ["w1"];
    const truth = truthOf({ svc: "1", w1: "1", other: "1" }, { svc: members });
    const s = start(truth, { subscribe: ["svc"] });
    assert.equal(shown(s.next(truth, LIMITS, "v")), "n1 +[svc,w1] -[] aliases");
    truth.set({ svc: "1", w1: "2", w2: "1", other: "2" });
    members.push("w2");
    s.change(["w1", "w2", "other"], truth);
    assert.equal(shown(s.next(truth, LIMITS, "v")), "n2 +[w1,w2] -[] aliases");
    truth.set({ w2: "1", other: "2" });
    s.change(["svc", "w1"], truth);
    assert.equal(shown(s.next(truth, LIMITS, "v")), "n3 +[] -[svc,w1] aliases");
    s.request(req({ unsubscribe: ["svc", "w2"] }), truth);
    s.next(truth, LIMITS, "v");
    truth.set({ w2: "2", other: "2" });
    s.change(["w2"], truth);
    assert.equal(s.due, false);
  });

  it("on demand, answers a repeated question again", () => {
    const truth = truthOf({ a: "1" });
    const s = start(truth, { subscribe: ["a"] });
    s.next(truth, LIMITS, "v");
    assert.equal(s.request(req({ subscribe: ["a"] }), truth).kind, "subscription");
    assert.equal(shown(s.next(truth, LIMITS, "v")), "n2 +[a] -[] aliases");
  });

  it("does not say removed about a name that appeared before the answer went out", () => {
    const truth = truthOf({});
    const s = start(truth, { subscribe: ["a"] });
    truth.set({ a: "1" });
    s.change(["a"], truth);
    assert.equal(shown(s.next(truth, LIMITS, "v")), "n1 +[a] -[] aliases");
  });

  it("refuses too many and too long names", () => {
    const truth = truthOf({});
    const s = start(truth);
    assert.deepEqual(s.request(req({ subscribe: Array.from({ length: WANTED_MAX + 1 }, (_, i) => `${i}`) }), truth), { kind: "refused", code: "exhausted", reason: "more than 100000 names subscribed for t" });
    assert.equal(s.request(req({ unsubscribe: ["n".repeat(3000)] }), truth).kind, "refused");
    assert.equal(s.request(req({ initial: { ["n".repeat(3000)]: "" } }), truth).kind, "refused");
  });

  it("gives an on-demand client of a node what is on the node, also later, without being asked", () => {
    const truth = truthOf({ "n1/a": "1", "n2/b": "1" });
    const s = new ServerSubscription({ versioned: true, noncePrefix: "n" });
    s.serveNode("n1");
    s.request(req({ subscribe: ["*"], unsubscribe: ["*"] }), truth);
    assert.deepEqual(s.next(truth, LIMITS, "v")?.upserts, ["n1/a"]);
    truth.set({ "n1/a": "1", "n1/c": "1", "n2/d": "1" });
    s.change(["n1/c", "n2/d", "n2/b"], truth);
    assert.deepEqual(s.next(truth, LIMITS, "v")?.upserts, ["n1/c"]);
    truth.set({ "n2/d": "1" });
    s.change(["n1/a", "n1/c"], truth);
    assert.deepEqual(s.next(truth, LIMITS, "v")?.removed, ["n1/a", "n1/c"]);
  });
  it("does not narrow a wildcard client by its node", () => {
    const truth = truthOf({ "n1/a": "1", "n2/b": "1" });
    const s = new ServerSubscription({ versioned: true, noncePrefix: "n" });
    s.serveNode("n1");
    s.request(req(), truth);
    assert.deepEqual(s.next(truth, LIMITS, "v")?.upserts, ["n1/a", "n2/b"]);
  });
  it("tells a wildcard client what it must hold, when asked to and when nothing else is pending", () => {
    const truth = truthOf({ a: "1", b: "1", c: "1" });
    const s = start(truth);
    s.audit();
    const chunks = Array.from({ length: 3 }, () => s.next(truth, { resources: 2, bytes: 1e6 }, "v"));
    assert.deepEqual(chunks.map((c) => c?.checksum), [undefined, "sum of 3", undefined]);
    s.audit();
    assert.deepEqual([s.next(truth, LIMITS, "v")?.checksum, s.due], ["sum of 3", false]);
  });
  it("has no audit for types without versions and for on-demand clients", () => {
    const truth = truthOf({ a: "1" });
    for (const s of [start(truth, {}, false), start(truth, { subscribe: ["*"], unsubscribe: ["*"] })]) {
      s.next(truth, LIMITS, "v");
      s.audit();
      assert.equal(s.due, false);
    }
  });
});

describe("what a client holds", () => {
  const steps = (names: readonly string[]) => {
    const truth = truthOf(Object.fromEntries(names.map((n) => [n, "1"])));
    const s = start(truth);
    const seen = (): string => `${s.status().settled ? "settled" : "owing"} ${s.status().outstanding.map((r) => `${r.name}=${r.reason}`).join()}`.trim();
    const push = (): string => s.next(truth, LIMITS, "v")?.nonce ?? "nothing";
    const answer = (nonce: string, error?: string): string => { s.request(req({ nonce, error }), truth); return seen(); };
    return { truth, s, seen, push, answer };
  };
  it("is known when it has answered for everything", () => {
    const r = steps(["ns/a", "ns/b"]);
    assert.equal(r.seen(), "owing");
    const nonce = r.push();
    assert.equal(r.seen(), "owing");
    assert.equal(r.answer(nonce), "settled");
    r.s.change(["ns/a"], r.truth);
    assert.equal(r.seen(), "owing");
  });
  it("is not what it refused, until it takes it or it goes, whatever else it takes meanwhile", () => {
    const r = steps(["ns/a", "ns/b"]);
    assert.equal(r.answer(r.push(), "ns/a: bad"), "settled ns/a=bad");
    r.s.change(["ns/b"], r.truth);
    assert.equal(r.answer(r.push()), "settled ns/a=bad");
    r.s.change(["ns/a"], r.truth);
    assert.equal(r.answer(r.push(), "ns/a: worse"), "settled ns/a=worse");
    r.truth.set({ "ns/b": "1" });
    r.s.change(["ns/a"], r.truth);
    assert.equal(r.answer(r.push()), "settled");
  });
  it("is nothing of a response whose refusal names nothing, and unknown when the list of refusals was cut", () => {
    const r = steps(["ns/a", "ns/b"]);
    assert.equal(r.answer(r.push(), "no"), "settled ns/a=no,ns/b=no");
    const many = Array.from({ length: 100 }, (_, i) => `ns/p${i}`);
    const cut = steps(many);
    assert.match(cut.answer(cut.push(), many.map((n) => `${n}: x`).join("; ")), /^owing/);
  });
  it("is not in doubt because of an audit under way", () => {
    const r = steps(["ns/a"]);
    assert.equal(r.answer(r.push()), "settled");
    r.s.audit();
    r.push();
    assert.equal(r.seen(), "settled");
  });
});

describe("refusedIn", () => {
  const cases: [string, string, string[]][] = [
    ["one resource", "ns/p: spec.rules[0].from: is empty", ["ns/p=spec.rules[0].from: is empty"]],
    ["two", "ns/p: x; c//Pod/ns/a: y", ["ns/p=x", "c//Pod/ns/a=y"]],
    ["a reason with a semicolon", "ns/p: bad; really: so; ns/q: y", ["ns/p=bad; really: so", "ns/q=y"]],
    ["text that names nothing", "something went wrong", []],
    ["nothing", "", []],
  ];
  for (const [name, text, expected] of cases) it(name, () => assert.deepEqual(refusedIn(text).map((r) => `${r.name}=${r.reason}`), expected));
  it("bounds how many it keeps", () => assert.equal(refusedIn(Array.from({ length: 1000 }, (_, i) => `ns/p${i}: x`).join("; ")).length, 100));
});
