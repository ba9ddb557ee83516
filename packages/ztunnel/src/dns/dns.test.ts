import assert from "node:assert/strict";
import { at, HBONE, member, octets, pod, stateOf, svc, type World } from "../state/wire.fixture.ts";
import { planAnswer } from "./plan/answer.ts";
import { query } from "./query.fixture.ts";
import { decodeQuestion, encodeAnswer, encodeFailure, RCODE, TYPE_AAAA } from "./protocol/message.ts";

const cluster = (name: string, vip: string, more = {}) => svc(`${name}.ns.svc.cluster.local`, vip, { name, ...more });
const WORLD: World = {
  workloads: [pod("client", "10.0.0.1"), pod("h0", "10.0.0.7", { tunnelProtocol: HBONE, services: member("headless.ns.svc.cluster.local") }), pod("vm", "10.0.0.8", { hostname: "vm.example" })],
  services: [cluster("web", "10.96.0.1"), cluster("headless", ""), svc("db.example", "240.240.0.1"), svc("*.wild.example", "240.240.0.2"), svc("novip.example", ""),
    cluster("dual", "", { addresses: [{ network: "", address: octets("10.96.0.5") }, { network: "", address: Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? 9 : 0)) }] }),
    svc("far.other.svc.cluster.local", "10.96.0.6", { namespace: "other" }), cluster("elsewhere", "", { addresses: [{ network: "n2", address: octets("10.96.0.9") }] })],
};

describe("planAnswer", () => {
  const view = stateOf(WORLD).view();
  const client = view.workload("Kubernetes//Pod/ns/client");
  assert.ok(client);
  const look = (name: string, family: 4 | 6 = 4): string => {
    const plan = planAnswer(view, { name, family, client, network: "", domain: "cluster.local", preferredNamespace: undefined });
    return plan.kind === "forward" ? "forward" : `${plan.ips.join(",") || "empty"}${plan.alias === undefined ? "" : ` as ${plan.alias}`}`;
  };
  const cases: [string, string, string, (4 | 6)?][] = [
    ["a full cluster name", "web.ns.svc.cluster.local", "10.96.0.1"],
    ["a short name", "web", "10.96.0.1"],
    ["name.namespace", "web.ns", "10.96.0.1"],
    ["name.namespace.svc", "web.ns.svc", "10.96.0.1"],
    ["another namespace's short name is not ours", "far", "forward"],
    ["another namespace's name", "far.other", "10.96.0.6"],
    ["a family without address", "web.ns.svc.cluster.local", "empty", 6],
    ["both families, v4", "dual.ns.svc.cluster.local", "10.96.0.5"],
    ["both families, v6", "dual.ns.svc.cluster.local", "::9", 6],
    ["headless: the pods", "headless.ns.svc.cluster.local", "10.0.0.7"],
    ["an external service", "db.example", "240.240.0.1"],
    ["an external service with a search domain appended", "db.example.ns.svc.cluster.local", "240.240.0.1 as db.example"],
    ["the same with a shorter one", "db.example.cluster.local", "240.240.0.1 as db.example"],
    ["a wildcard", "a.wild.example", "240.240.0.2"],
    ["a wildcard, two levels below", "a.b.wild.example", "240.240.0.2"],
    ["the wildcard's own parent", "wild.example", "forward"],
    ["outside the cluster's domain without addresses", "novip.example", "forward"],
    ["a workload's hostname", "vm.example", "10.0.0.8"],
    ["a VIP of another network only", "elsewhere.ns.svc.cluster.local", "empty"],
    ["a name nobody knows", "example.org", "forward"],
    ["an unknown cluster name", "nobody.ns.svc.cluster.local", "forward"],
    ["the root", "", "forward"],
  ];
  for (const [name, asked, expected, family] of cases) it(`${name} → ${expected}`, () => assert.equal(look(asked, family), expected));
});

describe("DNS messages", () => {
  const q = (bytes: Uint8Array) => { const r = decodeQuestion(bytes); assert.ok(r.ok, JSON.stringify(r)); return r.value; };
  const why = (bytes: Uint8Array) => { const r = decodeQuestion(bytes); return r.ok ? "ok" : r.error; };
  it("decodes a question, folding case", () => {
    const { section: _, ...rest } = q(query("Web.NS", TYPE_AAAA));
    assert.deepEqual(rest, { id: 0x1234, name: "web.ns", type: 28, recursionDesired: true, udpMax: 512 });
  });
  it("honours EDNS within bounds", () => {
    const opt = (size: number) => Buffer.from([0, 0, 41, size >> 8, size & 0xff, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual([4096, 1000, 100].map((n) => q(query("a", 1, 1, opt(n), 1)).udpMax), [1232, 1000, 512]);
  });
  it("encodes addresses, echoing the question", () => {
    const bytes = encodeAnswer(q(query("web", 1, 7)), { ips: [at("10.96.0.1:1").ip], alias: undefined, ttlSeconds: 30 }, 512);
    assert.equal(Buffer.from(bytes).toString("hex"), "000785800001000100000000" + "03776562000001" + "0001" + "c00c000100010000001e00040a600001");
  });
  it("encodes an alias as CNAME", () => {
    const bytes = encodeAnswer(q(query("web", 1, 7)), { ips: [at("10.96.0.1:1").ip], alias: "w.x", ttlSeconds: 30 }, 512);
    assert.equal(Buffer.from(bytes).toString("hex").slice(42), "c00c000500010000001e000501770178000177017800000100010000001e00040a600001");
  });
  it("truncates rather than overflow", () => {
    const ips = Array.from({ length: 40 }, (_, i) => at(`10.0.0.${i}:1`).ip);
    const bytes = encodeAnswer(q(query("web")), { ips, alias: undefined, ttlSeconds: 30 }, 512);
    assert.deepEqual([bytes.length < 512, ((bytes[2] ?? 0) & 2) !== 0, bytes[7]], [true, true, 0]);
  });
  it("a failure keeps id and question", () => assert.equal(Buffer.from(encodeFailure(q(query("a", 1, 9)), RCODE.serverFailure)).toString("hex"), "000981820001000000000000" + "016100" + "00010001"));
  const bad: [string, Buffer, RegExp][] = [
    ["too short", Buffer.alloc(5), /no header/],
    ["a response", Buffer.concat([Buffer.from([0, 1, 0x81, 0]), query("a").subarray(4)]), /response/],
    ["no question", Buffer.concat([query("a").subarray(0, 4), Buffer.from([0, 0]), query("a").subarray(6)]), /0 questions/],
    ["a compressed name", Buffer.concat([query("").subarray(0, 12), Buffer.from([0xc0, 0x0c, 0, 1, 0, 1])]), /compressed/],
    ["a name without end", query("abc").subarray(0, 14), /too long|ends early/],
    ["a name of many labels", query(Array.from({ length: 130 }, () => "a").join(".")), /too long/],
    ["no type", query("abc").subarray(0, -3), /ends early/],
  ];
  for (const [name, bytes, expected] of bad) it(`refuses ${name}`, () => assert.match(why(bytes), expected));
  it("random bytes never throw", () => {
    let seed = 5;
    const random = (n: number): number => { seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0; return (seed >>> 8) % n; };
    for (let i = 0; i < 20_000; i++) {
      const bytes = Buffer.from(query("some.name"));
      for (let k = 0; k < 3; k++) bytes[random(bytes.length)] = random(256);
      decodeQuestion(bytes.subarray(0, random(bytes.length + 1)));
    }
  });
});
