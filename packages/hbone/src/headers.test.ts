import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "@ambit/core";
import { formatAuthority, parseAuthority } from "./authority.ts";
import { formatBaggage, parseBaggage, type Baggage } from "./baggage.ts";
import { formatForwarded, parseForwarded } from "./forwarded.ts";
import { formatRefusal, parseRefusal, type Refusal } from "./refusal.ts";
import { formatTraceparent, newTraceparent, parseTraceparent } from "./traceparent.ts";

describe("authority", () => {
  const good: readonly (readonly [string, string])[] = [
    ["10.0.0.1:80", "address 10.0.0.1 80"], ["[2001:db8::1]:15008", "address 2001:db8::1 15008"], 
    ["web.default.svc.cluster.local:8080", "hostname web.default.svc.cluster.local 8080"], ["WEB:1", "hostname web 1"], ["a_b.c:65535", "hostname a_b.c 65535"],
    ["1a.example:1", "hostname 1a.example 1"],
  ];
  for (const [text, expected] of good) it(`reads ${text}`, () => {
    const r = parseAuthority(text);
    assert.ok(r.ok, !r.ok ? r.error : "");
    const a = r.value;
    assert.equal(a.kind === "address" ? `address ${a.address.ip} ${a.address.port}` : `hostname ${a.hostname} ${a.port}`, expected);
    assert.deepEqual(parseAuthority(formatAuthority(a)), r);
  });
  const bad = ["", ":", "80", "a", "a:", ":80", "a:0", "a:65536", "a:080", "a:8 0", "a:-1", "a:1e3", "10.0.0.1", "10.0.0.256:80", "10.0.0:80", "010.0.0.1:80", "1.2.3.4.5:80", "[::1]", "[::1]80", "::1:80",
    "[::1:80", "[10.0.0.1]:80", "[::ffff:10.0.0.1]:80", "[fe80::1%eth0]:80", "[]:80", "a b:80", "u@a:80", "a/b:80", "http://a:80", "-a:80", "a-:80", "a..b:80", ".a:80", "a.:80", "*.a:80", "a\0:80", "a\r\n:80", "é:80", "x".repeat(64) + ":80",
    ("x".repeat(60) + ".").repeat(5) + "x:80"];
  for (const text of bad) it(`refuses ${JSON.stringify(text.slice(0, 50))}`, () => assert.equal(parseAuthority(text).ok, false));
  it("never throws, and reads back what it accepts", () => fc.assert(fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:.[\]%]{1,20}:\d{1,6}$/)), (text) => {
    const r = parseAuthority(text);
    if (r.ok) assert.deepEqual(parseAuthority(formatAuthority(r.value)), r);
  }), { numRuns: 3000 }));
});

describe("baggage", () => {
  const full: Baggage = { cluster: "Kubernetes", namespace: "ns", workload: { type: "pod", name: "web" }, service: "web", version: "v1", region: "r", zone: "z" };
  it("writes the order and keys of ambient peers", () => {
    assert.equal(formatBaggage({ cluster: "Kubernetes", namespace: "ns", workload: { type: "pod", name: "web" }, service: "web", version: "v1" }),
      "k8s.cluster.name=Kubernetes,k8s.namespace.name=ns,k8s.pod.name=web,service.name=web,service.version=v1");
    assert.deepEqual(parseBaggage(formatBaggage(full)), { ok: true, value: full });
    assert.equal(formatBaggage({}), "");
  });
  it("leaves out what could not be read back", () => assert.equal(formatBaggage({ namespace: "a,b=c", service: "", cluster: "x y", version: "v\n" }), ""));
  const read: readonly (readonly [string, unknown])[] = [
    ["", {}], ["k8s.namespace.name=", {}], [" k8s.namespace.name = a ;p=1 , other=x", { namespace: "a" }], ["k8s.job.name=j,k8s.pod.name=p", { workload: { type: "job", name: "j" } }],
    ["service.name=a,service.name=b", { service: "a" }], ["constructor=x,__proto__=y", {}], ["service.name=a=b", { service: "a=b" }],
  ];
  for (const [text, value] of read) it(`reads ${JSON.stringify(text)}`, () => assert.deepEqual(parseBaggage(text), { ok: true, value }));
  for (const text of ["nonsense", "service.name=a b", `service.name=${"x".repeat(254)}`, "service.name=é", "x".repeat(4097), 'service.name="a"']) it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => assert.equal(parseBaggage(text).ok, false));
  it("reads back whatever it writes", () => fc.assert(fc.property(fc.record({ cluster: fc.string(), namespace: fc.string(), service: fc.string(), version: fc.string() }), (b) => {
    const r = parseBaggage(formatBaggage(b));
    assert.ok(r.ok);
    for (const key of ["cluster", "namespace", "service", "version"] as const) assert.ok(r.value[key] === undefined || r.value[key] === b[key]);
  })));
});

describe("forwarded", () => {
  const ip = parseIp("10.244.0.5");
  const v6 = parseIp("2001:db8::1");
  assert.ok(ip.ok && v6.ok);
  it("writes and reads the form of ambient peers", () => {
    const f = { for: { ip: ip.value, port: 41234 }, host: "web.ns.svc.cluster.local" };
    assert.equal(formatForwarded(f), 'for="10.244.0.5:41234";host=web.ns.svc.cluster.local');
    assert.deepEqual(parseForwarded(formatForwarded(f)), { ok: true, value: f });
    assert.equal(formatForwarded({ for: { ip: v6.value, port: 1 } }), 'for="[2001:db8::1]:1"');
    assert.deepEqual(parseForwarded('For="[2001:db8::1]:1" ; proto=http, for=1.2.3.4:5'), { ok: true, value: { for: { ip: v6.value, port: 1 } } });
  });
  for (const text of ["", "for", 'for="', 'for="a"b', "for=unknown", 'for="10.0.0.1"', 'for="10.0.0.1:1";for="10.0.0.1:2"', 'host="a b"', "host=", 'host="a\\"b"', "x".repeat(1025)]) it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => assert.equal(parseForwarded(text).ok, false));
  it("never throws", () => fc.assert(fc.property(fc.string(), (text) => void parseForwarded(text))));
});

describe("traceparent", () => {
  it("writes what it reads, fresh every time", () => {
    const t = newTraceparent();
    assert.match(formatTraceparent(t), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.deepEqual(parseTraceparent(formatTraceparent(t)), { ok: true, value: t });
    assert.notEqual(newTraceparent().traceId, t.traceId);
    const sampled = parseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert.ok(sampled.ok && sampled.value.sampled);
    assert.ok(parseTraceparent("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later").ok);
  });
  const id = "4bf92f3577b34da6a3ce929d0e0e4736";
  for (const text of ["", `ff-${id}-00f067aa0ba902b7-01`, `00-${"0".repeat(32)}-00f067aa0ba902b7-01`, `00-${id}-${"0".repeat(16)}-01`, `00-${id}-00f067aa0ba902b7-01-more`, `00-${id.toUpperCase()}-00f067aa0ba902b7-01`, `00-${id}-00f067aa0ba902b7`, `01-${id}-00f067aa0ba902b7-01-${"x".repeat(300)}`])
    it(`refuses ${JSON.stringify(text.slice(0, 60))}`, () => assert.equal(parseTraceparent(text).ok, false));
});

describe("refusal", () => {
  const all: readonly (readonly [Refusal, string])[] = [
    [{ code: "policy-denied", reason: "explicit", policy: "ns/no-bob" }, "policy-denied; reason=explicit; policy=ns/no-bob"],
    [{ code: "policy-denied", reason: "no-allow-matched" }, "policy-denied; reason=no-allow-matched"],
    [{ code: "policy-denied", reason: "missing-policy", policy: "istio-system/istio_converted_static_strict" }, "policy-denied; reason=missing-policy; policy=istio-system/istio_converted_static_strict"],
    [{ code: "connect-refused" }, "connect-refused"],
  ];
  for (const [refusal, text] of all) it(text, () => assert.deepEqual([formatRefusal(refusal), parseRefusal(text)], [text, refusal]));
  const bad = ["", "nonsense", "policy-denied;policy=a/b", "policy-denied; policy=a", "policy-denied; policy=a/b c", "policy-denied; policy=../b", "policy-denied; policy=a/b\u001b[2J", "policy-denied; who=me", "policy-denied; reason=maybe",
    `policy-denied; policy=a/${"b".repeat(700)}`];
  for (const text of bad) it(`refuses ${JSON.stringify(text.slice(0, 60))}`, () => assert.equal(parseRefusal(text), undefined));
  it("leaves out a policy name that nobody could have", () => assert.equal(formatRefusal({ code: "policy-denied", policy: "a/b\r\nx: y" }), "policy-denied"));
});
