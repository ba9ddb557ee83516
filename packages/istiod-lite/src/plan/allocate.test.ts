import assert from "node:assert/strict";
import { parseCidr, type Cidr } from "@ambit/core";
import { seededRandom } from "@ambit/runtime";
import { allocate, type AllocationInput } from "./allocate.ts";

const cidr = (text: string): Cidr => { const c = parseCidr(text); assert.ok(c.ok); return c.value; };
const entry = (key: string, over: Partial<AllocationInput> = {}): AllocationInput => ({ key, created: "2026-01-01T00:00:00Z", hosts: [`${key}.example`], chosen: [], current: [], ...over });
const of = (inputs: AllocationInput[], key: string) => allocate(inputs).get(key) ?? [];

describe("allocation", () => {
  it("gives each host one address of each family, in the ranges", () => {
    const got = of([entry("ns/a", { hosts: ["one", "two"] })], "ns/a");
    assert.deepEqual(got.map((a) => a.host), ["one", "one", "two", "two"]);
    assert.match(got[0]?.value ?? "", /^240\.240\.\d+\.\d+$/);
    assert.match(got[1]?.value ?? "", /^2001:2::[0-9a-f]+$/);
    assert.equal(new Set(got.map((a) => a.value)).size, 4);
  });
  it("comes to the same addresses again, whatever the order", () => {
    const inputs = ["ns/a", "ns/b", "ns/c"].map((k) => entry(k));
    assert.deepEqual(allocate(inputs), allocate([...inputs].reverse()));
  });
  it("keeps what stands", () => {
    const current = [{ host: "ns/a.example", value: "240.240.9.9" }, { host: "ns/a.example", value: "2001:2::99" }];
    assert.deepEqual(of([entry("ns/a", { current })], "ns/a"), current);
  });
  it("adds the family that is missing", () => {
    const got = of([entry("ns/a", { current: [{ host: "ns/a.example", value: "240.240.9.9" }] })], "ns/a");
    assert.equal(got[0]?.value, "240.240.9.9");
    assert.equal(got.length, 2);
  });
  it("clears what is no longer wanted", () => assert.deepEqual(of([entry("ns/a", { hosts: [], current: [{ host: "x", value: "240.240.0.1" }] })], "ns/a"), []));
  it("drops addresses outside its ranges, of other hosts, malformed or double", () => {
    const got = of([entry("ns/a", { current: [
      { host: "ns/a.example", value: "10.0.0.1" }, { host: "gone", value: "240.240.0.2" }, { host: "ns/a.example", value: "no" },
      { host: "ns/a.example", value: "240.240.0.3" }, { host: "ns/a.example", value: "240.240.0.4" },
    ] })], "ns/a");
    assert.deepEqual(got.map((a) => a.value).filter((v) => v.includes(".")), ["240.240.0.3"]);
  });
  it("lets the oldest of two claims keep the address", () => {
    const current = (key: string) => [{ host: `${key}.example`, value: "240.240.0.7" }];
    const inputs = [entry("ns/young", { created: "2026-05-01T00:00:00Z", current: current("ns/young") }), entry("ns/old", { current: current("ns/old") })];
    assert.equal(of(inputs, "ns/old")[0]?.value, "240.240.0.7");
    assert.notEqual(of(inputs, "ns/young")[0]?.value, "240.240.0.7");
  });
  it("yields to addresses that a user chose", () => {
    const inputs = [entry("ns/a", { current: [{ host: "ns/a.example", value: "240.240.0.7" }] }), entry("ns/b", { hosts: [], chosen: [cidr("240.240.0.0/24")] })];
    assert.doesNotMatch(of(inputs, "ns/a")[0]?.value ?? "", /^240\.240\.0\./);
  });
  it("never gives one address twice, and is stable when applied again", () => {
    const random = seededRandom(3);
    let inputs = Array.from({ length: 3_000 }, (_, i) => entry(`ns${i % 7}/e${i}`, { created: `2026-01-${String(1 + Math.floor(random() * 28)).padStart(2, "0")}` }));
    const first = allocate(inputs);
    const all = [...first.values()].flat().map((a) => a.value);
    assert.equal(new Set(all).size, 6_000);
    inputs = inputs.map((i) => ({ ...i, current: first.get(i.key) ?? [] }));
    assert.deepEqual(allocate(inputs), first);
  });
  it("gives nothing to hosts beyond the range", () => {
    const got = allocate([entry("ns/a", { chosen: [cidr("240.240.0.0/16"), cidr("2001:2::/48")] })]).get("ns/a");
    assert.deepEqual(got, []);
  });
});
