import assert from "node:assert/strict";
import type { TelemetrySettings } from "@ambit/core";
import { Metrics } from "@ambit/runtime";
import type { RequestRecord, UpstreamEndpoint } from "../http/options.ts";
import { connection, request, world } from "../plan/plan.fixture.ts";
import { RequestMetrics, SeriesMemory } from "./request-metrics.ts";
import { VALUES_MAX } from "./tag-values.ts";
import { KEPT_MAX, OUTCOMES_MAX, SeriesCache } from "./series-cache.ts";

const ON: TelemetrySettings["metrics"] = { enabled: true, overrides: [] };
const view = world();
const endpoint = (uid: string): UpstreamEndpoint => ({
  key: uid, protocol: "http1", scheme: "http", cluster: "c", address: { ip: view.workload(uid)?.addresses[0] ?? connection(view).source.ip, port: 8080 }, workload: view.workload(uid),
  service: undefined, pool: {} as UpstreamEndpoint["pool"], retryBudget: undefined,
});
const record = (more: Partial<RequestRecord> = {}): RequestRecord => ({
  facts: request(view), plan: undefined, requestId: "r", startedAt: 0, durationMs: 3, requestEndMs: 0, upstreamStartMs: 0, responseStartMs: 2, status: 200, grpcStatus: undefined, flags: [], details: "",
  bytesReceived: 10, bytesSent: 20, requestMessages: 0, responseMessages: 0, endpoint: endpoint("Kubernetes//Pod/shop/v1-1"), attempts: 1, outgoing: undefined, responseFields: [], responseTrailers: [],
  upstreamFailure: undefined, upgraded: false, mirrors: [], ...more,
});

/** Label values of each series of `istio_requests_total`, with its count. */
const counted = (records: readonly (readonly [RequestRecord, TelemetrySettings["metrics"]])[], ...labels: readonly string[]): string[] => countedWith(undefined, records, ...labels);
function countedWith(memory: SeriesMemory | undefined, records: readonly (readonly [RequestRecord, TelemetrySettings["metrics"]])[], ...labels: readonly string[]): string[] {
  const metrics = new Metrics(() => 0);
  const requests = new RequestMetrics(metrics);
  for (const [r, settings] of records) requests.request(r, settings, memory);
  return metrics.expose().split("\n").filter((l) => l.startsWith("istio_requests_total{"))
    .map((l) => `${labels.map((name) => new RegExp(`[{,]${name}="([^"]*)"`).exec(l)?.[1] ?? "-").join(" ")} ${l.split("} ")[1]}`).sort();
}

describe("request metrics", () => {
  it("count requests that are alike in one series", () => assert.deepEqual(counted([[record(), ON], [record(), ON], [record(), ON]], "response_code"), ["200 3"]));

  const other: [string, RequestRecord, string, string[]][] = [
    ["status", record({ status: 503 }), "response_code", ["200 1", "503 1"]],
    ["flags", record({ flags: ["UH"] }), "response_flags", ["- 1", "UH 1"]],
    ["endpoint", record({ endpoint: endpoint("Kubernetes//Pod/shop/v2-1") }), "destination_workload", ["v1-1 1", "v2-1 1"]],
    ["lack of one", record({ endpoint: undefined }), "destination_workload", ["unknown 1", "v1-1 1"]],
    ["protocol", record({ facts: request(view, { grpc: true }) }), "request_protocol", ["grpc 1", "http 1"]],
    ["gRPC status", record({ facts: request(view, { grpc: true }), grpcStatus: 5 }), "grpc_response_status", [" 1", "5 1"]],
    ["peer", record({ facts: request(view, { connection: connection(view, { peer: { trustDomain: "cluster.local", namespace: "team", serviceAccount: "other" } }) }) }), "source_principal",
      ["spiffe://cluster.local/ns/team/sa/client 1", "spiffe://cluster.local/ns/team/sa/other 1"]],
    ["source", record({ facts: request(view, { connection: connection(view, { sourceWorkload: undefined }) }) }), "source_workload", ["client 1", "unknown 1"]],
  ];
  for (const [what, r, label, expected] of other) it(`keep another ${what} apart`, () => assert.deepEqual(counted([[record(), ON], [r, ON]], label), expected));

  for (const [what, r, label, expected] of other.slice(0, 6)) it(`keep another ${what} of one connection apart, and find both again`, () => {
    const twice = expected.map((line) => line.replace(/1$/, "2"));
    assert.deepEqual(countedWith(new SeriesMemory(), [[record(), ON], [r, ON], [r, ON], [record(), ON]], label), twice);
  });

  it("follow a change of the settings", () => {
    const without: TelemetrySettings["metrics"] = { enabled: true, overrides: [{ metric: "REQUEST_COUNT", disabled: false, removeTags: ["response_code"], setTags: [] }] };
    for (const memory of [undefined, new SeriesMemory()]) assert.deepEqual(countedWith(memory, [[record(), ON], [record(), without], [record(), { enabled: false, overrides: [] }]], "response_code"), ["- 1", "200 1"]);
  });
  it("have tags that are read off each request, and as many values of them as they may", () => {
    const tagged: TelemetrySettings["metrics"] = { enabled: true, overrides: [{ metric: "REQUEST_COUNT", disabled: false, removeTags: [], setTags: [["team", "shop"]],
      expressionTags: [["request_host", "request.host"], ["method", "request.method"], ["port", "string(destination.port)"], ["who", "request.headers['x-who']"]] }] };
    const of = (host: string, fields: readonly string[] = []) => [record({ facts: request(view, { authority: host, fields }) }), tagged] as const;
    for (const memory of [undefined, new SeriesMemory()])
      assert.deepEqual(countedWith(memory, [of("a"), of("b", ["x-who", "ann"]), of("a")], "request_host", "method", "port", "who", "team"), ["a GET 80 unknown shop 2", "b GET 80 ann shop 1"]);
    const many = counted([...Array.from({ length: VALUES_MAX + 50 }, (_, i) => of(`h${i}`)), of("h1")], "request_host");
    assert.deepEqual([many.length, many.includes("overflow 50"), many.includes("h1 2")], [VALUES_MAX + 1, true, true]);
    assert.equal(counted([of("x".repeat(500))], "request_host")[0], `${"x".repeat(128)} 1`);
  });
  it("of a connection have what is known of it", () => {
    const metrics = new Metrics(() => 0);
    new RequestMetrics(metrics).connection(connection(view), undefined, { enabled: true, overrides: [{ metric: "ALL_METRICS", disabled: false, removeTags: [], setTags: [], expressionTags: [["port", "destination.port"], ["host", "request.host"]] }] });
    const opened = metrics.expose().split("\n").find((l) => l.startsWith("istio_tcp_connections_opened_total{")) ?? "";
    assert.ok(opened.includes('host="unknown"') && opened.includes('port="80"'), opened);
  });
  it("tell versions of a workload apart", () => {
    const e = endpoint("Kubernetes//Pod/shop/v1-1");
    assert.ok(e.workload !== undefined);
    assert.deepEqual(counted([[record(), ON], [record({ endpoint: { ...e, workload: { ...e.workload, canonicalRevision: "v7" } } }), ON]], "destination_version"), ["v1 1", "v7 1"]);
  });
});

describe("a cache of series", () => {
  it("makes each once", () => {
    let made = 0;
    const cache = new SeriesCache(() => ++made);
    assert.deepEqual([200, 200, 503, 200, 503].map((status) => cache.of(record({ status }), ON)), [1, 1, 2, 1, 2]);
  });
  it("forgets outcomes beyond its bound, and everything beyond the other", () => {
    let made = 0;
    const cache = new SeriesCache(() => ++made);
    for (let status = 0; status <= OUTCOMES_MAX; status++) cache.of(record({ status }), ON);
    assert.equal(cache.of(record({ status: OUTCOMES_MAX }), ON), OUTCOMES_MAX + 1);
    assert.equal(cache.of(record({ status: 0 }), ON), OUTCOMES_MAX + 2, "the first was forgotten");
    const many = Array.from({ length: KEPT_MAX + 1 }, () => record({ endpoint: { ...endpoint("Kubernetes//Pod/shop/v1-1"), workload: { ...view.workload("Kubernetes//Pod/shop/v1-1") } as never } }));
    for (const r of many) cache.of(r, ON);
    const before = made;
    cache.of(record({ status: 0 }), ON);
    assert.equal(made, before + 1);
  });
});
