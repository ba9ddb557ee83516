import assert from "node:assert/strict";
import { MeshError } from "@ambit/core";
import { createLogger, LogLevels, Metrics, systemClock } from "@ambit/runtime";
import { at, pod, stateOf, svc } from "@ambit/proxy/testing";
import { ConnectionRecord, type RecordFacts, type Telemetry } from "./connection-record.ts";
import { TrafficMetrics } from "./traffic-metrics.ts";

function rig(reporter: RecordFacts["reporter"], more: Partial<RecordFacts> = {}) {
  const lines: Record<string, unknown>[] = [];
  const metrics = new Metrics();
  const state = stateOf({ workloads: [pod("client", "10.0.0.1"), pod("server", "10.0.0.2")], services: [svc("web", "10.96.0.1")] });
  const access = createLogger("access", { levels: new LogLevels("info"), write: (l) => lines.push(JSON.parse(l) as Record<string, unknown>) });
  const telemetry: Telemetry = { metrics: new TrafficMetrics(metrics), access, clock: { ...systemClock, monotonic: () => 0 } };
  const source = state.workload("Kubernetes//Pod/ns/client");
  const destination = state.workload("Kubernetes//Pod/ns/server");
  const record = new ConnectionRecord(telemetry, {
    reporter, src: at("10.0.0.1:4000"), dst: at("10.0.0.2:15008"), hboneAddr: "10.0.0.2:80", traceId: "t", source, sourceIdentity: source?.identity,
    destination, destinationIdentity: destination?.identity, service: state.service("ns/web"), mutualTls: true, ...more,
  });
  return { record, lines, metrics };
}
const value = (m: Metrics, name: string, label = ""): number => {
  const found = [...m.expose().matchAll(new RegExp(`^${name}\\{([^}]*)\\} (\\d+)$`, "gm"))].filter((x) => x[1]?.includes(label));
  return found.reduce((n, x) => n + Number(x[2]), 0);
};

describe("ConnectionRecord", () => {
  it("has exactly the access fields, in order", () => {
    const { record, lines } = rig("source");
    record.opened();
    record.received(5);
    record.sent(7);
    record.finish({});
    record[Symbol.dispose]();
    const { time, ...line } = lines[0] ?? {};
    assert.ok(time);
    assert.deepEqual(Object.entries(line).map(([k, v]) => `${k}=${String(v)}`), [
      "level=info", "scope=access", "msg=connection complete", "src.addr=10.0.0.1:4000", "src.workload=client", "src.namespace=ns",
      "src.identity=spiffe://cluster.local/ns/ns/sa/client", "src.cluster=Kubernetes", "dst.addr=10.0.0.2:15008", "dst.hbone_addr=10.0.0.2:80", "dst.service=web",
      "dst.workload=server", "dst.namespace=ns", "dst.identity=spiffe://cluster.local/ns/ns/sa/server", "dst.cluster=Kubernetes", "direction=outbound", "id=t",
      "bytes_sent=5", "bytes_recv=7", "duration=0ms",
    ]);
  });
  it("the destination's line sees bytes the other way round; its metrics do not", () => {
    for (const reporter of ["source", "destination"] as const) {
      const { record, lines, metrics } = rig(reporter);
      record.opened();
      record.received(5);
      record.sent(7);
      record.finish({});
      record[Symbol.dispose]();
      assert.deepEqual([lines[0]?.["bytes_sent"], lines[0]?.["bytes_recv"]], reporter === "source" ? [5, 7] : [7, 5]);
      assert.deepEqual([value(metrics, "istio_tcp_received_bytes_total"), value(metrics, "istio_tcp_sent_bytes_total")], [5, 7]);
    }
  });
  it("plaintext shows no identity in its line", () => {
    const { record, lines } = rig("destination", { mutualTls: false });
    record.finish({});
    record[Symbol.dispose]();
    assert.equal(lines[0]?.["src.identity"], undefined);
  });
  it("counts opening and closing", () => {
    const { record, metrics } = rig("source");
    record.opened();
    assert.deepEqual([value(metrics, "istio_tcp_connections_opened_total"), value(metrics, "istio_tcp_connections_closed_total")], [1, 0]);
    record.finish({});
    record[Symbol.dispose]();
    record[Symbol.dispose]();
    assert.deepEqual([value(metrics, "istio_tcp_connections_closed_total"), value(metrics, "istio_tcp_connections_failed_total")], [1, 0]);
  });
  it("what policy cut while it was open is closed and failed with that flag", () => {
    const { record, metrics } = rig("destination");
    record.opened();
    record.fail(new MeshError("policy-revoked", "connection closed due to policy change"), "drained");
    record[Symbol.dispose]();
    assert.deepEqual(["opened", "closed", "failed"].map((what) => [value(metrics, `istio_tcp_connections_${what}_total`, 'flags="-"'), value(metrics, `istio_tcp_connections_${what}_total`, 'flags="DENY"')]), [[1, 0], [0, 1], [0, 1]]);
  });
  it("a destination beyond a gateway is what it says it is, in the namespace that it proved", () => {
    const { record, lines, metrics } = rig("source");
    record.learn({ destinationIdentity: { trustDomain: "cluster.local", namespace: "far", serviceAccount: "web" }, destinationClaims: { namespace: "forged", workload: { type: "pod", name: "web-7" }, service: "web", cluster: "c2" } });
    record.opened();
    record.finish({});
    record[Symbol.dispose]();
    assert.deepEqual(["dst.workload", "dst.namespace", "dst.identity", "dst.cluster"].map((k) => lines[0]?.[k]), ["web-7", "far", "spiffe://cluster.local/ns/far/sa/web", "c2"]);
    assert.match(metrics.expose(), /destination_workload="web-7",destination_canonical_service="web",destination_canonical_revision="unknown",destination_workload_namespace="far",destination_principal="spiffe:\/\/cluster.local\/ns\/far\/sa\/web"/);
  });
  it("a source that nobody knows is what it says it is; one that is known is not", () => {
    const claims = { namespace: "forged", workload: { type: "pod" as const, name: "liar" } };
    for (const [more, name, ns] of [[{ sourceClaims: claims, source: undefined }, "liar", "ns"], [{ sourceClaims: claims }, "client", "ns"]] as const) {
      const { record, lines, metrics } = rig("destination", more);
      record.finish({});
      record[Symbol.dispose]();
      assert.deepEqual([lines[0]?.["src.workload"], lines[0]?.["src.namespace"]], [name, ns]);
      assert.match(metrics.expose(), new RegExp(`source_workload="${name}"[^}]*source_workload_namespace="${ns}"`));
    }
  });
  it("a failure before opening is counted with its flag and logged as an error", () => {
    const { record, lines, metrics } = rig("source");
    record.fail(new MeshError("tunnel-timeout", "no answer"), "connect-refused");
    record.fail(new Error("later"), "connect-refused");
    record[Symbol.dispose]();
    assert.deepEqual([lines[0]?.["level"], lines[0]?.["error"], lines[0]?.["code"]], ["error", "no answer", "tunnel-timeout"]);
    for (const what of ["closed", "failed"]) assert.equal(value(metrics, `istio_tcp_connections_${what}_total`, 'response_flags="NETWORK_POLICY"'), 1);
  });
  it("a connection that nobody finished was drained", () => {
    const { record, lines } = rig("source");
    record.opened();
    record[Symbol.dispose]();
    assert.deepEqual([lines[0]?.["error"], lines[0]?.["code"]], ["connection closed due to connection drain", "drained"]);
  });
});

describe("TrafficMetrics", () => {
  it("counts connections that need a name, by who asks and for what", () => {
    const metrics = new Metrics();
    new TrafficMetrics(metrics).onDemandDns(stateOf({ workloads: [pod("client", "10.0.0.1")] }).workload("Kubernetes//Pod/ns/client"), "db.example");
    assert.match(metrics.expose(), /istio_on_demand_dns_total\{source_workload="client",[^}]*source_principal="spiffe:\/\/cluster\.local\/ns\/ns\/sa\/client",[^}]*hostname="db\.example"\} 1/);
  });
  it("counts open sockets from accept to the end", () => {
    const metrics = new Metrics();
    const traffic = new TrafficMetrics(metrics);
    const open = [traffic.socket("source"), traffic.socket("source"), traffic.socket("destination")];
    open[0]?.[Symbol.dispose]();
    assert.deepEqual([value(metrics, "istio_tcp_sockets_open", "source"), value(metrics, "istio_tcp_sockets_open", "destination")], [1, 1]);
  });
});
