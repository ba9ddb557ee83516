// What is written into a pod, line by line: testdata/*.txt, rewritten by GOLDEN=update. The kernel's view of it: redirection.test.ts.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program, renderIptables, renderIptablesCleanup, renderIptablesDrain, renderIptablesInspection, versions } from "./iptables.ts";
import { renderHostCleanup, renderHostProbe } from "./host-probe.ts";
import { renderDrainRules, renderInspection, renderPodCleanup, renderPodRules, renderRouting, renderRoutingCleanup, renderRoutingInspection, renderTracking, renderTrackingCleanup, type PodRules } from "./inpod.ts";

const V4: PodRules = { ipv6: false, dnsCapture: false, bypassInbound: false, virtualInterfaces: [], probeIpv4: "169.254.7.127", probeIpv6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff" };

const CASES: readonly (readonly [string, PodRules])[] = [
  ["v4", V4], ["dual-stack", { ...V4, ipv6: true }], ["dns", { ...V4, dnsCapture: true }], ["bypass-inbound", { ...V4, bypassInbound: true }],
  ["virtual-interfaces", { ...V4, virtualInterfaces: ["k6t-eth0", "tap1"] }], ["everything", { ...V4, ipv6: true, dnsCapture: true, bypassInbound: true, virtualInterfaces: ["vm0"] }],
];

function golden(name: string, actual: string): void {
  const file = join(import.meta.dirname, "testdata", `${name}.txt`);
  if (process.env["GOLDEN"] === "update") return writeFileSync(file, actual);
  assert.equal(actual, readFileSync(file, "utf8"), `${file}: GOLDEN=update if it should differ`);
}

describe("the text of a pod's redirection", () => {
  for (const [name, rules] of CASES)
    it(name, () => golden(name, ["# nft", renderPodRules(rules), ...versions(rules).flatMap((v) => [`# ${program(v, "restore")}`, renderIptables(rules, v, "")]), "# routes", renderRouting(rules), "", "# inspection", renderInspection(rules), renderRoutingInspection(rules), "", "# inspection of iptables", renderIptablesInspection(rules), "", "# routes away", renderRoutingCleanup(rules), ""].join("\n")));
  it("of connection tracking", () => golden("tracking", `${renderTracking()}\n# back\n${renderTrackingCleanup()}\n`));
  it("for a pod that leaves", () => golden("drain", [renderDrainRules(), "# iptables-nft-restore", renderIptablesDrain({ ...V4, dnsCapture: true }, 4, "")].join("\n")));
  it("none", () => golden("none", renderPodCleanup()));
  it("every connection that is redirected is a new one", () => {
    const rules = renderPodRules({ ...V4, ipv6: true, dnsCapture: true });
    for (const line of rules.split("\n")) if (line.includes("redirect to") && !line.includes("udp")) assert.match(line, /tcp flags & \(fin \| syn \| rst \| ack\) == syn/);
    for (const line of renderIptables({ ...V4, dnsCapture: true, virtualInterfaces: ["a"] }, 6, "").split("\n")) if (line.includes("-j REDIRECT") && !line.includes("udp")) assert.match(line, / --syn /);
  });
});

describe("iptables beside what stands", () => {
  const saved = (table: string, ...lines: string[]) => [`*${table}`, ":OUTPUT ACCEPT [0:0]", ...lines, "COMMIT"].join("\n");
  const jumps = (text: string) => text.split("\n").filter((l) => /^-A [A-Z]+ -j ISTIO_/.test(l));
  it("a jump that is there is not written again; the same words in another table do not count", () => {
    assert.equal(jumps(renderIptables(V4, 4, "")).length, 8);
    assert.equal(jumps(renderIptables(V4, 4, saved("nat", "-A OUTPUT -j ISTIO_OUTPUT", "-A PREROUTING -j ISTIO_PRERT"))).length, 6);
  });
  it("every jump goes before its chain, rules of others stay", () =>
    assert.equal(renderIptablesCleanup(saved("nat", ":ISTIO_OUTPUT - [0:0]", ":THEIRS - [0:0]", "-A OUTPUT -j ISTIO_OUTPUT", "-A OUTPUT -j THEIRS", "-A OUTPUT -j ISTIO_OUTPUT", "-A ISTIO_OUTPUT -p tcp -j ACCEPT")),
      "*nat\n-D OUTPUT -j ISTIO_OUTPUT\n-D OUTPUT -j ISTIO_OUTPUT\n-F ISTIO_OUTPUT\n-X ISTIO_OUTPUT\nCOMMIT\n"));
  for (const seen of ["", saved("nat", "-A OUTPUT -j THEIRS")]) it(`nothing of ours in ${JSON.stringify(seen)}: nothing to do`, () => assert.equal(renderIptablesCleanup(seen), ""));
});

describe("the text of the node's probe rule", () => {
  const host = { probeIpv4: V4.probeIpv4, probeIpv6: V4.probeIpv6 };
  it("with addresses of both families, each once", () => golden("host", renderHostProbe({ ...host, ipv6: true }, ["10.0.0.2", "fd00::2", "10.0.0.1", "10.0.0.2"])));
  it("with none", () => golden("host-none", renderHostProbe({ ...host, ipv6: false }, [])));
  it("taken away", () => assert.match(renderHostCleanup(), /delete table inet istio-ambient-nat/));
});
