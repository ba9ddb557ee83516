import assert from "node:assert/strict";
import { SetChecksum } from "./checksum.ts";
import { DeltaClient, NACK_TEXT_MAX, OUTSTANDING_MAX, nackText } from "./delta-client.ts";
import type { DeltaResponse } from "./messages.ts";
import { planReconnect } from "./reconnect.ts";

const node = { id: "n", metadata: {} };
const response = (r: Partial<DeltaResponse> & { put?: Record<string, string>; aliases?: string[] } = {}): DeltaResponse => ({
  typeUrl: "all", nonce: "1", removed: [], partial: false, ...r,
  resources: Object.entries(r.put ?? {}).map(([name, version]) => ({ name, version, aliases: r.aliases ?? [], bytes: new Uint8Array() })),
});
const client = () => new DeltaClient([{ typeUrl: "all", onDemand: false }, { typeUrl: "some", onDemand: true }]);

describe("a delta client", () => {
  it("opens each type with the node: wildcard empty, on demand with the star in and out", () => {
    const [all, some] = client().open(node);
    assert.deepEqual([all?.node, all?.subscribe, all?.unsubscribe, all?.nonce], [node, [], [], ""]);
    assert.deepEqual([some?.node, some?.subscribe, some?.unsubscribe], [node, ["*"], ["*"]]);
  });

  it("resumes with what it holds; what it refused goes with an empty version, so that it comes again and can be removed", () => {
    const c = client();
    c.open(node);
    c.settle(response({ put: { a: "1", b: "1", c: "1" } }), [{ path: "b", message: "bad" }]);
    c.settle(response({ put: { a: "2", c: "2" }, removed: ["x"] }), [{ path: "c", message: "bad" }]);
    c.settle(response({ removed: ["b"] }), []);
    assert.deepEqual(Object.fromEntries(c.open(node)[0]?.initialVersions ?? []), { a: "2", c: "" });
  });

  it("answers with the nonce alone, or with every problem, and never with a subscription", () => {
    const c = client();
    assert.deepEqual(c.settle(response({ nonce: "7" }), []).reply, { node: undefined, typeUrl: "all", subscribe: [], unsubscribe: [], initialVersions: new Map(), nonce: "7", error: undefined });
    assert.equal(c.settle(response({ put: { a: "1", b: "1" } }), [{ path: "a", message: "no ip" }, { path: "b", message: "no uid" }]).reply.error, "a: no ip; b: no uid");
    assert.equal(c.settle(response({ typeUrl: "unknown", nonce: "8" }), []).reply.nonce, "8");
  });

  it("is ready when every wildcard type was accepted whole and cleanly", () => {
    const c = client();
    c.open(node);
    assert.equal(c.ready, false);
    c.settle(response({ put: { a: "1" } }), [{ path: "a", message: "bad" }]);
    assert.equal(c.ready, false);
    c.settle(response({ partial: true }), []);
    assert.equal(c.ready, false);
    c.settle(response(), []);
    assert.equal(c.ready, true);
    c.close();
    assert.equal(c.ready, true);
  });

  it("asks on demand once, is answered by name, alias or removal, and carries open questions over", () => {
    const c = client();
    assert.deepEqual(c.want("some", "x"), { kind: "asked", request: undefined });
    assert.deepEqual(Object.fromEntries(c.open(node)[1]?.initialVersions ?? []), { x: "" });
    const asked = c.want("some", "/10.0.0.1");
    assert.deepEqual(asked.kind === "asked" ? [asked.request?.subscribe, asked.request?.nonce, asked.request?.node] : [], [["/10.0.0.1"], "", undefined]);
    assert.deepEqual(c.want("some", "/10.0.0.1"), { kind: "asked", request: undefined });
    assert.deepEqual(c.settle(response({ typeUrl: "some", put: { uid: "1" }, aliases: ["/10.0.0.1"], removed: ["x"] }), []).answers,
      [{ typeUrl: "some", name: "/10.0.0.1", found: true }, { typeUrl: "some", name: "x", found: false }]);
    assert.deepEqual(c.want("some", "uid"), { kind: "held" });
    assert.deepEqual(c.want("all", "anything"), { kind: "held" });
    c.want("some", "later");
    c.giveUp("some", "later");
    assert.deepEqual(Object.fromEntries(c.open(node)[1]?.initialVersions ?? []), { uid: "1" });
  });

  it("bounds open questions and the NACK text", () => {
    const c = client();
    for (let i = 0; i < OUTSTANDING_MAX; i++) c.want("some", `${i}`);
    assert.deepEqual(c.want("some", "one more"), { kind: "full" });
    const text = nackText(Array.from({ length: 1000 }, (_, i) => ({ path: `r${i}`, message: "x".repeat(100) })));
    assert.ok(text.length <= NACK_TEXT_MAX + 20);
    assert.match(text, /; and \d+ more$/);
  });
});

describe("planReconnect", () => {
  const middle = () => 0.5;
  const cases: [string, { served: boolean; code: number }, number, [number, number]][] = [
    ["at once after a clean end that had served", { served: true, code: 0 }, 9, [0, 0]],
    ["from the start after a served stream broke", { served: true, code: 14 }, 9, [10, 1]],
    ["not at once after a clean end that served nothing", { served: false, code: 0 }, 3, [80, 4]],
    ["doubling while the server is away", { served: false, code: 14 }, 4, [160, 5]],
    ["up to 15 s", { served: false, code: 14 }, 40, [15_000, 41]],
    ["from the start for a cancelled stream", { served: false, code: 1 }, 9, [10, 1]],
    ["from the start for a deadline", { served: false, code: 4 }, 9, [10, 1]],
    ["growing while not authenticated", { served: false, code: 16 }, 5, [320, 6]],
  ];
  for (const [name, end, attempt, [delayMs, next]] of cases)
    it(name, () => assert.deepEqual(planReconnect(end, attempt, middle), { delayMs, attempt: next }));
  it("spreads by a fifth each way", () => {
    assert.equal(planReconnect({ served: false, code: 14 }, 3, () => 0).delayMs, 64);
    assert.equal(planReconnect({ served: false, code: 14 }, 3, () => 1).delayMs, 96);
  });

  it("finds a loss by the server's checksum, resumes first, and then believes nothing", () => {
    const sum = (...held: [string, string][]) => { const s = new SetChecksum(); for (const [n, v] of held) s.toggle(n, v); return s.text; };
    const c = new DeltaClient([{ typeUrl: "t", onDemand: false }]);
    const push = (checksum: string, resources: [string, string][] = []) => c.settle({ typeUrl: "t", nonce: "n", removed: [], partial: false, checksum,
      resources: resources.map(([name, version]) => ({ name, version, aliases: [], bytes: new Uint8Array() })) }, []).lost;
    const asked = () => Object.fromEntries(c.open({ id: "x", metadata: {} })[0]?.initialVersions ?? []);
    assert.equal(push(sum(["a", "1"], ["b", "1"]), [["a", "1"], ["b", "1"]]), false);
    assert.equal(push(sum(["a", "2"], ["b", "1"])), true);
    assert.deepEqual(asked(), { a: "1", b: "1" });
    assert.equal(push(sum(["a", "2"], ["b", "1"])), true);
    assert.deepEqual(asked(), { a: "", b: "" });
    assert.equal(push(sum(["a", "2"], ["b", "1"]), [["a", "2"], ["b", "1"]]), false);
  });
  it("cannot be audited while it refuses something", () => {
    const c = new DeltaClient([{ typeUrl: "t", onDemand: false }]);
    const resources = [{ name: "a", version: "1", aliases: [], bytes: new Uint8Array() }];
    assert.equal(c.settle({ typeUrl: "t", nonce: "n", removed: [], partial: false, checksum: "0", resources }, [{ path: "a", message: "bad" }]).lost, false);
  });
});
