// What is written into a pod, line by line: testdata/*.txt, rewritten by GOLDEN=update. The kernel's view of it: redirection.test.ts.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderHostCleanup, renderHostProbe } from "./host-probe.ts";
import { renderDrainRules, renderInspection, renderPodCleanup, renderPodRules, renderRouting, renderRoutingCleanup, renderTracking, renderTrackingCleanup, type PodRules } from "./inpod.ts";

const V4: PodRules = { ipv6: false, dnsCapture: false, bypassInbound: false, probeIpv4: "169.254.7.127", probeIpv6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff" };

const CASES: readonly (readonly [string, PodRules])[] = [
  ["v4", V4], ["dual-stack", { ...V4, ipv6: true }], ["dns", { ...V4, dnsCapture: true }], ["bypass-inbound", { ...V4, bypassInbound: true }],
  ["everything", { ...V4, ipv6: true, dnsCapture: true, bypassInbound: true }],
];

function golden(name: string, actual: string): void {
  const file = join(import.meta.dirname, "testdata", `${name}.txt`);
  if (process.env["GOLDEN"] === "update") return writeFileSync(file, actual);
  assert.equal(actual, readFileSync(file, "utf8"), `${file}: GOLDEN=update if it should differ`);
}

describe("the text of a pod's redirection", () => {
  for (const [name, rules] of CASES)
    it(name, () => golden(name, ["# nft", renderPodRules(rules), "# routes", renderRouting(rules), "", "# inspection", renderInspection(rules), "", "# routes away", renderRoutingCleanup(rules), ""].join("\n")));
  it("of connection tracking", () => golden("tracking", `${renderTracking()}\n# back\n${renderTrackingCleanup()}\n`));
  it("for a pod that leaves", () => golden("drain", renderDrainRules()));
  it("none", () => golden("none", renderPodCleanup()));
  it("every connection that is redirected is a new one", () => {
    const rules = renderPodRules({ ...V4, ipv6: true, dnsCapture: true });
    for (const line of rules.split("\n")) if (line.includes("redirect to") && !line.includes("udp")) assert.match(line, /tcp flags & \(fin \| syn \| rst \| ack\) == syn/);
  });
});

describe("the text of the node's probe rule", () => {
  const host = { probeIpv4: V4.probeIpv4, probeIpv6: V4.probeIpv6 };
  it("with addresses of both families, each once", () => golden("host", renderHostProbe({ ...host, ipv6: true }, ["10.0.0.2", "fd00::2", "10.0.0.1", "10.0.0.2"])));
  it("with none", () => golden("host-none", renderHostProbe({ ...host, ipv6: false }, [])));
  it("taken away", () => assert.match(renderHostCleanup(), /delete table inet istio-ambient-nat/));
});
