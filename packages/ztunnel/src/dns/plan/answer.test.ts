import assert from "node:assert/strict";
import { workload } from "@ambit/proto";
import { HBONE, member, octets, pod, stateOf, svc, type World } from "@ambit/proxy/testing";
import { TYPE_A, TYPE_AAAA } from "../protocol/message.ts";
import { planAnswer, type DnsFacts } from "./answer.ts";

const v6 = (last: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? last : 0));
const cluster = (name: string, vip: string, more = {}) => svc(`${name}.ns.svc.cluster.local`, vip, { name, ...more });
const far = (name: string, vip: string, more = {}) => svc(`${name}.other.svc.cluster.local`, vip, { name, namespace: "other", ...more });
const sick = { status: workload.WorkloadStatus.UNHEALTHY };
const WORLD: World = {
  workloads: [
    pod("client", "10.0.0.1"),
    pod("h0", "10.0.0.7", { tunnelProtocol: HBONE, services: member("headless.ns.svc.cluster.local") }),
    pod("h1", "10.0.0.8", { services: member("headless.ns.svc.cluster.local"), ...sick }),
    pod("vm", "10.0.0.9", { hostname: "vm.example" }),
    pod("named", "", { hostname: "named.example" }),
  ],
  services: [
    cluster("web", "10.96.0.1"), cluster("headless", ""), cluster("alone", ""),
    svc("db.example", "240.240.0.1"), svc("novip.example", ""), svc("*.wild.example", "240.240.0.2"), svc("special.wild.example", ""), svc("*.deep.wild.example", "240.240.0.3"),
    svc("plain", "240.240.0.4"), svc("block.example", "", { addresses: [{ network: "", address: octets("10.200.0.0"), length: 16 }] }),
    cluster("dual", "", { addresses: [{ network: "", address: octets("10.96.0.5") }, { network: "", address: v6(9) }] }),
    cluster("elsewhere", "", { addresses: [{ network: "n2", address: octets("10.96.0.9") }] }),
    cluster("both", "", { addresses: [{ network: "n2", address: octets("10.96.0.9") }, { network: "", address: octets("10.96.0.10") }] }),
    far("far", "10.96.0.6"), far("hidden", "10.96.0.7", { visibility: workload.Service_Visibility.NAMESPACE }),
    svc("www.own.example", "10.1.0.1", { namespace: "ns", canonical: false }), svc("www.own.example", "10.1.0.2", { namespace: "other" }),
    svc("www.canon.example", "10.1.0.3", { namespace: "a", canonical: false }), svc("www.canon.example", "10.1.0.4", { namespace: "b", canonical: true }),
    svc("www.tie.example", "10.1.0.5", { namespace: "a", canonical: false }), svc("www.tie.example", "10.1.0.6", { namespace: "b", canonical: false }),
    svc("www.first.example", "10.1.0.7", { namespace: "c", canonical: false }), svc("www.first.example", "10.1.0.8", { namespace: "d", canonical: false }),
  ],
};

describe("what a DNS question is answered", () => {
  const view = stateOf(WORLD).view();
  const plan = (name: string, more: Partial<DnsFacts> = {}) =>
    planAnswer(view, { name, type: TYPE_A, namespace: "ns", network: "", domain: "cluster.local", preferredNamespace: "b", ...more });
  const look = (name: string, more: Partial<DnsFacts> = {}): string => {
    const p = plan(name, more);
    return p.kind === "answer" ? `${p.ips.join(",") || "empty"}${p.alias === undefined ? "" : ` as ${p.alias}`}` : p.kind;
  };
  const AAAA = { type: TYPE_AAAA };

  const cases: Record<string, readonly [why: string, asked: string, expected: string, more?: Partial<DnsFacts>][]> = {
    "the name as it is": [
      ["a cluster name", "web.ns.svc.cluster.local", "10.96.0.1"],
      ["a cluster name of another namespace", "far.other.svc.cluster.local", "10.96.0.6"],
      ["an external service", "db.example", "240.240.0.1"],
      ["a name of one label that a service has", "plain", "240.240.0.4"],
      ["a workload's hostname", "vm.example", "10.0.0.9"],
      ["a workload known by hostname alone", "named.example", "forward"],
      ["a name nobody knows", "example.org", "forward"],
      ["an unknown cluster name", "nobody.ns.svc.cluster.local", "forward"],
      ["another domain's cluster name", "web.ns.svc.other.local", "forward"],
      ["the cluster's domain", "cluster.local", "forward"],
      ["the root", "", "forward"],
    ],
    "short forms": [
      ["1 label", "web", "10.96.0.1"],
      ["1 label is of the own namespace", "far", "forward"],
      ["2 labels", "web.ns", "10.96.0.1"],
      ["2 labels, another namespace", "far.other", "10.96.0.6"],
      ["3 labels", "web.ns.svc", "10.96.0.1"],
      ["3 labels, another namespace", "far.other.svc", "10.96.0.6"],
      ["3 labels that are a prefix of nothing", "web.ns.pod", "forward"],
      ["4 labels", "x.web.ns.svc", "forward"],
      ["from another namespace", "web", "forward", { namespace: "other" }],
      ["the own name wins over its completion", "plain", "240.240.0.4"],
    ],
    "appended search domains": [
      ["an external name with the first", "db.example.ns.svc.cluster.local", "240.240.0.1 as db.example"],
      ["with the second", "db.example.svc.cluster.local", "240.240.0.1 as db.example"],
      ["with the third", "db.example.cluster.local", "240.240.0.1 as db.example"],
      ["a full cluster name", "web.ns.svc.cluster.local.ns.svc.cluster.local", "10.96.0.1 as web.ns.svc.cluster.local"],
      ["a short name of another namespace: answered at the resolver's first try", "far.other.ns.svc.cluster.local", "10.96.0.6 as far.other.svc.cluster.local"],
      ["a longer one", "far.other.svc.ns.svc.cluster.local", "10.96.0.6 as far.other.svc.cluster.local"],
      ["a name nobody knows", "example.org.ns.svc.cluster.local", "forward"],
      ["another namespace's search domain is not ours", "db.example.other.svc.cluster.local", "forward"],
      ["a wildcard's name", "a.wild.example.ns.svc.cluster.local", "240.240.0.2 as a.wild.example"],
    ],
    "wildcards": [
      ["one level", "a.wild.example", "240.240.0.2"],
      ["two levels", "a.b.wild.example", "240.240.0.2"],
      ["the longest wins", "a.deep.wild.example", "240.240.0.3"],
      ["the wildcard's own parent", "wild.example", "forward"],
      ["an exact name wins, even one that is left to the name servers", "special.wild.example", "forward"],
      ["no partial labels", "a.notwild.example", "forward"],
    ],
    "visibility and rank": [
      ["a service that is its namespace's own affair", "hidden.other", "forward"],
      ["the same, seen from inside", "hidden.other", "10.96.0.7", { namespace: "other" }],
      ["own namespace before canonical", "www.own.example", "10.1.0.1"],
      ["canonical before preferred", "www.canon.example", "10.1.0.4", { preferredNamespace: "a" }],
      ["preferred before first", "www.tie.example", "10.1.0.6"],
      ["nothing preferred: the first", "www.tie.example", "10.1.0.5", { preferredNamespace: undefined }],
      ["the preferred has none: the first", "www.first.example", "10.1.0.7"],
    ],
    "addresses": [
      ["headless: the pods that are ready", "headless", "10.0.0.7"],
      ["headless without pods", "alone", "empty"],
      ["a name without an address of the family", "web", "empty", AAAA],
      ["an external name without one", "db.example", "empty", AAAA],
      ["after an appended search domain: no alias alone, which ends the search of C libraries", "far.other.ns.svc.cluster.local", "empty", AAAA],
      ["both families, v4", "dual", "10.96.0.5"],
      ["both families, v6", "dual", "::9", AAAA],
      ["outside the cluster's domain without addresses", "novip.example", "forward"],
      ["an address of another network", "elsewhere", "empty"],
      ["one of each network", "both", "10.96.0.10"],
      ["a block of addresses is none to connect to", "block.example", "empty"],
    ],
    "types": [
      ["MX", "web", "forward", { type: 15 }],
      ["HTTPS", "db.example", "forward", { type: 65 }],
      ["ANY", "web", "forward", { type: 255 }],
      ["AXFR", "cluster.local", "refuse", { type: 252 }],
      ["IXFR", "cluster.local", "refuse", { type: 251 }],
    ],
  };
  for (const [group, rows] of Object.entries(cases)) describe(group, () => {
    for (const [why, asked, expected, more] of rows) it(`${why}: ${asked || "."} → ${expected}`, () => assert.equal(look(asked, more), expected));
  });

  it("says why", () => {
    assert.equal(plan("web").because, "addresses of service ns/web.ns.svc.cluster.local");
    assert.equal(plan("headless").because, "endpoints of headless service ns/headless.ns.svc.cluster.local");
    assert.equal(plan("novip.example").because, "service ns/novip.example has no address of its own");
    assert.equal(plan("example.org").because, "no service or workload has this name");
  });
});
