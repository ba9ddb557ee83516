import assert from "node:assert/strict";
import { Metrics } from "@ambit/runtime";
import { ManualClock, pod, pushWorld, stateOf } from "@ambit/proxy/testing";
import { ProxyState } from "@ambit/proxy/state";
import { expireOnce, SERIES_IDLE_MS } from "./expire.ts";
import { TrafficMetrics } from "./traffic-metrics.ts";

describe("series of workloads that are gone", () => {
  const world = { workloads: [pod("client", "10.0.0.1"), pod("job", "10.0.0.2")] };
  async function rig() {
    const clock = new ManualClock();
    const metrics = new Metrics(clock.now);
    const traffic = new TrafficMetrics(metrics);
    const state = stateOf(world);
    const [source, destination] = [state.workload("Kubernetes//Pod/ns/client"), state.workload("Kubernetes//Pod/ns/job")];
    const parties = { reporter: "source" as const, source, sourceIdentity: undefined, destination, destinationIdentity: undefined, service: undefined, mutualTls: false };
    traffic.open(parties);
    traffic.open({ ...parties, destination: undefined });
    traffic.request("A", "udp", destination);
    const series = (): string[] => [...metrics.expose().matchAll(/^istio_(?:tcp_connections_opened_total|dns_requests_total)\{[^}]*\}/gm)].map((m) => /destination_workload="(\w+)"/.exec(m[0])?.[1] ?? "dns");
    return { clock, metrics, state, series, expire: () => expireOnce({ metrics, view: () => state.view(), clock }) };
  }
  it("stay while somebody might still read them, then go; those of others and of nobody stay", async () => {
    const { clock, state, series, expire } = await rig();
    state.apply({ changes: [{ kind: "address-removed", name: "Kubernetes//Pod/ns/job" }] });
    await clock.advance(SERIES_IDLE_MS);
    expire();
    assert.deepEqual(series().sort(), ["dns", "job", "unknown"]);
    await clock.advance(1);
    expire();
    assert.deepEqual(series(), ["unknown"]);
  });
  it("of workloads that are there stay, however silent", async () => {
    const { clock, series, expire } = await rig();
    await clock.advance(10 * SERIES_IDLE_MS);
    expire();
    assert.equal(series().length, 3);
  });
  it("churn of 5,000 short jobs leaves a small scrape", async () => {
    const clock = new ManualClock();
    const metrics = new Metrics(clock.now);
    const traffic = new TrafficMetrics(metrics);
    const state = new ProxyState("n1");
    pushWorld(state, { workloads: [pod("client", "10.0.0.1")] });
    const source = state.workload("Kubernetes//Pod/ns/client");
    for (let i = 0; i < 5_000; i++) {
      const uid = `Kubernetes//Pod/ns/job-${i}`;
      pushWorld(state, { workloads: [pod(`job-${i}`, "10.0.0.2")] });
      const counters = traffic.open({ reporter: "source", source, sourceIdentity: undefined, destination: state.workload(uid), destinationIdentity: undefined, service: undefined, mutualTls: false });
      counters.closed.inc();
      state.apply({ changes: [{ kind: "address-removed", name: uid }] });
    }
    assert.ok(metrics.expose().length > 2 << 20);
    await clock.advance(SERIES_IDLE_MS + 1);
    expireOnce({ metrics, view: () => state.view(), clock });
    assert.ok(metrics.expose().length < 20_000, String(metrics.expose().length));
  });
});
