import assert from "node:assert/strict";
import { Metrics } from "@ambit/runtime";
import { at, member, pod, stateOf, svc } from "@ambit/proxy/testing";
import { TrafficMetrics, trafficLabels, type Parties } from "./traffic-metrics.ts";

describe("counters of the same parties", () => {
  const state = stateOf({ workloads: [pod("a", "10.0.0.1"), pod("b", "10.0.0.2", { services: member("web") }), pod("c", "10.0.0.3")], services: [svc("web", "10.96.0.1")] });
  const workload = (ip: string) => state.view().workloadAt("", at(`${ip}:1`).ip) ?? assert.fail();
  const [a, b, c] = [workload("10.0.0.1"), workload("10.0.0.2"), workload("10.0.0.3")];
  const web = state.view().service("ns/web") ?? assert.fail();
  const base: Parties = { reporter: "source", source: a, sourceIdentity: a.identity, destination: b, destinationIdentity: b.identity, service: web, mutualTls: true };
  // Each differs from the first in one thing that is a label.
  const all: Parties[] = [base, { ...base, reporter: "destination" }, { ...base, source: c }, { ...base, destination: c }, { ...base, service: undefined }, { ...base, mutualTls: false },
    { ...base, sourceIdentity: c.identity }, { ...base, destinationIdentity: undefined }, { ...base, source: undefined, sourceClaims: { service: "x" } },
    { ...base, source: undefined, sourceClaims: { service: "y" } }, { ...base, destinationClaims: { service: "z" } }, { ...base, source: undefined, destination: undefined }];

  it("every connection counts under its own labels, the first and the next", () => {
    const metrics = new Metrics();
    const traffic = new TrafficMetrics(metrics);
    for (let round = 0; round < 2; round++) for (const p of all) traffic.open(p);
    const lines = metrics.expose().split("\n").filter((l) => l.startsWith("istio_tcp_connections_opened_total{"));
    assert.equal(lines.length, new Set(all.map((p) => JSON.stringify(trafficLabels(p, "-")))).size);
    assert.equal(lines.length, all.length);
    assert.ok(lines.every((l) => l.endsWith(" 2")), lines.join("\n"));
  });

  it("a series that expired counts again when its parties come back", () => {
    let now = 0;
    const metrics = new Metrics(() => now);
    const traffic = new TrafficMetrics(metrics);
    traffic.open(base);
    now = 10;
    metrics.expire(() => true, 5);
    assert.doesNotMatch(metrics.expose(), /opened_total\{/);
    traffic.open(base);
    assert.match(metrics.expose(), /opened_total\{.*\} 2/);
  });
});
