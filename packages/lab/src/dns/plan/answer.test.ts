import assert from "node:assert/strict";
import * as oracle from "dns-packet";
import fc from "fast-check";
import { decodeQuery, encodeResponse, udpLimit } from "../codec/message.ts";
import { answer } from "./answer.ts";
import type { DnsService, DnsView } from "./view.ts";

const web = (name: string, more: Partial<DnsService>): DnsService => ({
  name, namespace: "shop", kind: "cluster-ip", clusterIps: ["10.96.7.7"], externalName: "",
  ports: [{ name: "http", protocol: "TCP", port: 80 }], endpoints: [], ...more,
});
const port = [{ name: "http", protocol: "TCP", port: 8080 }];
const SERVICES: DnsService[] = [
  web("web", {}),
  web("db", {
    kind: "headless", clusterIps: [], endpoints: [
      { ip: "10.244.1.5", hostname: "db-0", ready: true, ports: port },
      { ip: "10.244.2.6", hostname: "10-244-2-6", ready: true, ports: port },
      { ip: "10.244.2.7", hostname: "db-2", ready: false, ports: port },
    ],
  }),
  web("out", { kind: "external-name", clusterIps: [], externalName: "example.com" }),
  web("alias", { kind: "external-name", clusterIps: [], externalName: "web.shop.svc.cluster.local" }),
  web("loop", { kind: "external-name", clusterIps: [], externalName: "loop.shop.svc.cluster.local" }),
  web("many", { kind: "headless", clusterIps: [], endpoints: Array.from({ length: 60 }, (_, i) => ({ ip: `10.244.3.${i}`, hostname: `h-${i}`, ready: true, ports: port })) }),
];
const VIEW: DnsView = {
  hasNamespace: (n) => n === "shop" || n === "kube-system",
  service: (ns, n) => SERVICES.find((s) => s.namespace === ns && s.name === n),
  serviceByIp: (ip) => SERVICES.find((s) => s.clusterIps.includes(ip)),
  endpointsByIp: (ip) => SERVICES.filter((s) => s.kind === "headless").flatMap((service) => service.endpoints.filter((e) => e.ip === ip && e.ready).map((endpoint) => ({ service, endpoint }))),
};

/** Through the wire both ways, decoded by an independent library. */
function ask(type: string, name: string, edns = false): string {
  const packet = oracle.encode({
    type: "query", id: 7, flags: oracle.RECURSION_DESIRED, questions: [{ type: type as "A", name }],
    additionals: edns ? [{ type: "OPT", name: ".", udpPayloadSize: 4096, flags: 0, options: [], extendedRcode: 0, ednsVersion: 0, flag_do: false }] : [],
  });
  const decoded = decodeQuery(packet);
  assert.ok(decoded.ok);
  const plan = answer(VIEW, { domain: "cluster.local", serial: 1 }, decoded.query, 0);
  if (plan.do === "forward") return "forward";
  const bytes = encodeResponse(decoded.query, plan.response, udpLimit(decoded.query));
  const reply = oracle.decode(Buffer.from(bytes)) as oracle.DecodedPacket & { rcode: string };
  assert.equal(reply.questions?.[0]?.name, name);
  const show = (r: oracle.Answer): string => {
    const data = (r as { data?: unknown }).data;
    if (r.type === "SRV") return `SRV ${r.data.port} ${r.data.target}`;
    return r.type === "SOA" ? "SOA" : `${r.type} ${Array.isArray(data) ? data.map(String).join() : String(data)}`;
  };
  const parts = [reply.rcode, ...(reply.answers ?? []).map(show)];
  if ((reply.authorities ?? []).length > 0) parts.push(`[${(reply.authorities ?? []).map(show).join()}]`);
  const extra = (reply.additionals ?? []).filter((r) => r.type !== "OPT");
  if (extra.length > 0) parts.push(`+ ${extra.map(show).join(", ")}`);
  if (reply.flag_tc) parts.push("TC");
  if (plan.do === "chase") parts.push(`chase ${plan.target}`);
  return parts.join(" ");
}

const TABLE: [string, string, string][] = [
  ["A", "web.shop.svc.cluster.local", "NOERROR A 10.96.7.7"],
  ["A", "WEB.Shop.SVC.cluster.LOCAL", "NOERROR A 10.96.7.7"],
  ["AAAA", "web.shop.svc.cluster.local", "NOERROR [SOA]"],
  ["SRV", "_http._tcp.web.shop.svc.cluster.local", "NOERROR SRV 80 web.shop.svc.cluster.local + A 10.96.7.7"],
  ["SRV", "_grpc._tcp.web.shop.svc.cluster.local", "NXDOMAIN [SOA]"],
  ["A", "_tcp.web.shop.svc.cluster.local", "NOERROR [SOA]"],
  ["A", "db.shop.svc.cluster.local", "NOERROR A 10.244.1.5 A 10.244.2.6"],
  ["A", "db-0.db.shop.svc.cluster.local", "NOERROR A 10.244.1.5"],
  ["A", "10-244-2-6.db.shop.svc.cluster.local", "NOERROR A 10.244.2.6"],
  ["A", "db-2.db.shop.svc.cluster.local", "NXDOMAIN [SOA]"],
  ["SRV", "_http._tcp.db.shop.svc.cluster.local",
    "NOERROR SRV 8080 db-0.db.shop.svc.cluster.local SRV 8080 10-244-2-6.db.shop.svc.cluster.local + A 10.244.1.5, A 10.244.2.6"],
  ["A", "out.shop.svc.cluster.local", "NOERROR CNAME example.com chase example.com"],
  ["CNAME", "out.shop.svc.cluster.local", "NOERROR CNAME example.com"],
  ["A", "alias.shop.svc.cluster.local", "NOERROR CNAME web.shop.svc.cluster.local A 10.96.7.7"],
  ["A", "loop.shop.svc.cluster.local", "SERVFAIL"],
  ["A", "nope.shop.svc.cluster.local", "NXDOMAIN [SOA]"],
  ["A", "web.nope.svc.cluster.local", "NXDOMAIN [SOA]"],
  ["A", "shop.svc.cluster.local", "NOERROR [SOA]"],
  ["A", "svc.cluster.local", "NOERROR [SOA]"],
  ["A", "web.shop.cluster.local", "NXDOMAIN [SOA]"],
  ["A", "10-244-1-5.shop.pod.cluster.local", "NOERROR A 10.244.1.5"],
  ["A", "10-244-1-555.shop.pod.cluster.local", "NXDOMAIN [SOA]"],
  ["A", "10-244-1-5.nope.pod.cluster.local", "NXDOMAIN [SOA]"],
  ["PTR", "7.7.96.10.in-addr.arpa", "NOERROR PTR web.shop.svc.cluster.local"],
  ["PTR", "5.1.244.10.in-addr.arpa", "NOERROR PTR db-0.db.shop.svc.cluster.local"],
  ["PTR", "9.9.244.10.in-addr.arpa", "NXDOMAIN [SOA]"],
  ["PTR", "8.8.8.8.in-addr.arpa", "forward"],
  ["TXT", "dns-version.cluster.local", "NOERROR TXT 1.1.0"],
  ["SOA", "cluster.local", "NOERROR SOA"],
  ["NS", "cluster.local", "NOERROR NS ns.dns.cluster.local"],
  ["A", "example.com", "forward"],
  ["A", "notcluster.local", "forward"],
];

describe("cluster DNS answers", () => {
  for (const [type, name, expected] of TABLE) {
    it(`${type} ${name}`, () => assert.equal(ask(type, name), expected));
  }

  it("cuts a long answer to 512 bytes with TC, and honours EDNS", () => {
    assert.match(ask("A", "many.shop.svc.cluster.local"), /TC$/);
    const whole = ask("A", "many.shop.svc.cluster.local", true);
    assert.equal(whole.match(/A 10\./g)?.length, 60);
    assert.doesNotMatch(whole, /TC/);
  });

  it("rotates addresses", () => {
    const decoded = decodeQuery(oracle.encode({ type: "query", id: 1, questions: [{ type: "A", name: "db.shop.svc.cluster.local" }] }));
    assert.ok(decoded.ok);
    const first = [0, 1, 2].map((spin) => {
      const plan = answer(VIEW, { domain: "cluster.local", serial: 1 }, decoded.query, spin);
      return plan.do === "respond" && plan.response.answers[0]?.data.type === "A" ? plan.response.answers[0].data.ip : "";
    });
    assert.deepEqual(first, ["10.244.1.5", "10.244.2.6", "10.244.1.5"]);
  });

  it("answers or refuses every packet, and what it says stays within the limit", () => {
    const base = oracle.encode({ type: "query", id: 9, questions: [{ type: "A", name: "web.shop.svc.cluster.local" }] });
    const mutated = fc.tuple(fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }), fc.nat(base.length)).map(([edits, cut]) => {
      const copy = Buffer.from(base);
      for (const [at, value] of edits) copy[at] = value;
      return copy.subarray(0, cut + 4);
    });
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), mutated), (bytes) => {
      const decoded = decodeQuery(bytes);
      if (!decoded.ok) return assert.ok(decoded.problem.length > 0);
      const plan = answer(VIEW, { domain: "cluster.local", serial: 1 }, decoded.query, 3);
      if (plan.do === "forward") return;
      const out = encodeResponse(decoded.query, plan.response, udpLimit(decoded.query));
      assert.ok(out.length <= udpLimit(decoded.query) && out.length >= 12);
      assert.equal((out[0] ?? 0) * 256 + (out[1] ?? 0), decoded.query.id);
    }), { numRuns: 2000, seed: 20 });
  });
});
