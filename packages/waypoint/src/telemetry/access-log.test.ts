import assert from "node:assert/strict";
import { ATTRIBUTES, OPERATORS, type RouteOrigin, type TelemetrySettings } from "@ambit/core";
import type { RequestRecord, UpstreamEndpoint } from "../http/options.ts";
import { connection, request, world } from "../plan/plan.fixture.ts";
import { createAccessLog, LineMemory, textLines, type ConnectionLine } from "./access-log.ts";
import { CONNECTION_ATTRIBUTES, REQUEST_ATTRIBUTES } from "./log-filter.ts";

const facts = { ...request(world(), { target: "/a?b=c", authority: "reviews:9080", fields: ["user-agent", "curl/8", "x-forwarded-for", "10.9.9.9"] }) };
const endpoint = { key: "k", protocol: "http1", scheme: "http", cluster: "inbound-vip|80|http|reviews", address: { ip: "10.1.0.1", port: 8080 } } as UpstreamEndpoint;
const origin: RouteOrigin = { kind: "HTTPRoute", namespace: "shop", name: "reviews", rule: 1, ruleName: "canary", match: 0, createdAt: 0 };
const record: RequestRecord = {
  facts, plan: { kind: "reply", reply: { status: 200, fields: [], body: "", flag: "-", details: "" }, origin, delayMs: 0, remarks: [], because: [], trace: { traceId: "a".repeat(32), spanId: "b".repeat(16), parentId: undefined, sampled: true } }, requestId: "id-1", startedAt: Date.UTC(2026, 0, 2), durationMs: 12.4, requestEndMs: 1.2,
  upstreamStartMs: 2, responseStartMs: 10.1, status: 503, grpcStatus: 14, flags: ["UF", "URX"], details: "via_upstream", bytesReceived: 5, bytesSent: 7, requestMessages: 0, responseMessages: 0, endpoint, attempts: 3,
  outgoing: { method: "GET", authority: "reviews:9080", target: "/a?b=c", fields: ["x-request-id", "id-1", "traceparent", `00-${"a".repeat(32)}-${"b".repeat(16)}-01`] },
  responseFields: ["x-envoy-upstream-service-time", "8"], responseTrailers: ["grpc-message", "no"], upstreamFailure: "one\r\ntwo", upgraded: false, mirrors: [],
};
const line: ConnectionLine = { facts: connection(world()), startedAt: Date.UTC(2026, 0, 2), durationMs: 4.6, bytesReceived: 1, bytesSent: 2, flag: "UF", details: "rbac", upstreamHost: "10.1.0.1:90", destinationName: "c", upstreamFailure: "x\ny", route: undefined, sni: "a.example" };

const bad: string[] = [];
function lineOf(format: string | undefined, of: RequestRecord | ConnectionLine, encoding: "text" | "json" = "text"): string {
  const out: string[] = [];
  const log = createAccessLog({ out: textLines((l) => out.push(l)), onBadFormat: (why) => bad.push(why), local: "10.0.0.7", hostname: "wp-1" });
  const settings: TelemetrySettings["accessLog"] = { enabled: true, encoding, format, filter: undefined };
  if ("durationMs" in of && "requestId" in of) log.request(of, settings);
  else log.connection(of as ConnectionLine, settings);
  return out.join("\n");
}

describe("which requests get an access line (Telemetry accessLogging.filter)", () => {
  const written = (filter: string, of: RequestRecord | ConnectionLine): boolean => {
    const out: string[] = [];
    const log = createAccessLog({ out: textLines((l) => out.push(l)), onBadFormat: (why) => bad.push(why), local: "10.0.0.7", hostname: "wp-1" });
    const settings: TelemetrySettings["accessLog"] = { enabled: true, encoding: "text", format: "x", filter };
    if ("requestId" in of) log.request(of, settings);
    else log.connection(of, settings);
    return out.length === 1;
  };
  for (const [filter, ofRequest, ofConnection] of [
    ["response.code >= 400", true, false], ["response.code < 400", false, false], ["response.grpc_status == 14 && response.code_details == 'via_upstream'", true, false],
    ["request.url_path == '/a' && request.query == 'b=c' && request.path == '/a?b=c'", true, false], ["request.host.startsWith('reviews') && request.method == 'GET' && request.scheme == 'http' && request.protocol == 'HTTP/1.1'", true, false],
    ["request.useragent == 'curl/8' && 'x-forwarded-for' in request.headers && request.id == 'id-1'", true, false], ["has(request.referer)", false, false], ["response.headers['x-envoy-upstream-service-time'] == '8' && response.trailers['grpc-message'] == 'no'", true, false],
    ["request.duration > duration('10ms')", true, false], ["connection.mtls && connection.uri_san_peer_certificate.endsWith('/ns/team/sa/client')", true, true], ["source.address == '10.0.0.9:40000' && source.port == 40000 && destination.port == 80", true, true],
    ["upstream.address == '10.1.0.1:8080' && upstream.port == 8080", true, false], ["upstream.address == '10.1.0.1:90'", false, true], ["xds.route_name == 'shop.reviews.canary' && xds.cluster_name == 'inbound-vip|80|http|reviews'", true, false],
    ["connection.requested_server_name == 'a.example'", false, true], ["request.size == 5 && response.size == 7", true, false],
  ] as const) it(filter, () => assert.deepEqual([written(filter, record), written(filter, line)], [ofRequest, ofConnection]));
  it("every attribute that is known has a value here, of a request or of a connection", () =>
    assert.deepEqual([...ATTRIBUTES].filter((name) => REQUEST_ATTRIBUTES.value(name) === undefined && CONNECTION_ATTRIBUTES.value(name) === undefined), []));
  it("what never got an answer has no code", () => assert.equal(written("response.code >= 0", { ...record, status: 0 }), false));
  it("one that is not understood hides nothing, and is said", () => {
    bad.length = 0;
    assert.equal(written("nonsense(", record), true);
    assert.match(bad.join(), /filter: at 9/);
    bad.length = 0;
  });
});

describe("the access line of a request", () => {
  const source = `${facts.connection.source.ip}:${facts.connection.source.port}`;
  const local = `${facts.connection.address.ip}:${facts.connection.address.port}`;
  const values: Readonly<Record<string, string>> = {
    START_TIME: "2026-01-02T00:00:00.000Z", "START_TIME(%Y/%m/%d %s.%3f)": "2026/01/02 1767312000.000", "REQ(:METHOD)": "GET", "REQ(USER-AGENT)": "curl/8", "REQ(:PATH)": "/a?b=c", "REQ_WITHOUT_QUERY(:PATH)": "/a", "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)": "8", "TRAILER(GRPC-MESSAGE)": "no",
    PROTOCOL: "HTTP/1.1", RESPONSE_CODE: "503", RESPONSE_FLAGS: "UF,URX", RESPONSE_CODE_DETAILS: "via_upstream", CONNECTION_TERMINATION_DETAILS: "-", UPSTREAM_TRANSPORT_FAILURE_REASON: "one two", BYTES_RECEIVED: "5", BYTES_SENT: "7",
    DURATION: "12", REQUEST_DURATION: "1", RESPONSE_DURATION: "10", RESPONSE_TX_DURATION: "2", UPSTREAM_HOST: "10.1.0.1:8080", UPSTREAM_REMOTE_ADDRESS: "10.1.0.1:8080", UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: "10.1.0.1",
    UPSTREAM_CLUSTER: "inbound-vip|80|http|reviews", UPSTREAM_CLUSTER_RAW: "inbound-vip|80|http|reviews", UPSTREAM_LOCAL_ADDRESS: "10.0.0.7", UPSTREAM_REQUEST_ATTEMPT_COUNT: "3", DOWNSTREAM_LOCAL_ADDRESS: local,
    DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: facts.connection.address.ip, DOWNSTREAM_LOCAL_PORT: String(facts.connection.address.port), DOWNSTREAM_REMOTE_ADDRESS: source, DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: facts.connection.source.ip,
    DOWNSTREAM_REMOTE_PORT: String(facts.connection.source.port), DOWNSTREAM_DIRECT_REMOTE_ADDRESS: source, DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: facts.connection.source.ip,
    DOWNSTREAM_PEER_URI_SAN: `spiffe://${facts.connection.peer.trustDomain}/ns/${facts.connection.peer.namespace}/sa/${facts.connection.peer.serviceAccount}`, REQUESTED_SERVER_NAME: "-", ROUTE_NAME: "shop.reviews.canary", HOSTNAME: "wp-1",
    GRPC_STATUS: "Unavailable", GRPC_STATUS_NUMBER: "14", CONNECTION_ID: facts.connection.id, STREAM_ID: "id-1", TRACE_ID: "a".repeat(32),
  };
  for (const [operator, value] of Object.entries(values)) it(`%${operator}%`, () => assert.equal(lineOf(`%${operator}%`, record), value));
  it("every operator that is known has a value here", () => assert.deepEqual([...OPERATORS].filter((name) => !Object.keys(values).some((v) => v.split("(", 1)[0] === name)), []));

  it("a trace's id is ours: where no tracer is configured there is none, whatever the client says of its own", () => {
    const untraced: RequestRecord = { ...record, plan: undefined, outgoing: { method: "GET", authority: "a", target: "/", fields: ["traceparent", `00-${"c".repeat(32)}-${"b".repeat(16)}-01`] } };
    assert.equal(lineOf("%TRACE_ID%", untraced), "-");
  });

  it("what is steady of a connection is put together anew for another endpoint, route or format", () => {
    const out: string[] = [];
    const log = createAccessLog({ out: textLines((l) => out.push(l)), onBadFormat: (why) => bad.push(why), local: "10.0.0.7", hostname: "wp-1" });
    const memory = new LineMemory();
    const format = (text: string): TelemetrySettings["accessLog"] => ({ enabled: true, encoding: "text", format: text, filter: undefined });
    const [one, two] = [format("%RESPONSE_CODE% %UPSTREAM_HOST% %ROUTE_NAME%"), format("%UPSTREAM_CLUSTER% %RESPONSE_CODE%")];
    const other = { ...endpoint, cluster: "other", address: { ...endpoint.address, port: 9090 } };
    // Each twice or more: what a line has in common with the one before is remembered from the second on.
    const written: [RequestRecord, TelemetrySettings["accessLog"], string][] = [
      [record, one, "503 10.1.0.1:8080 shop.reviews.canary"], [{ ...record, status: 200 }, one, "200 10.1.0.1:8080 shop.reviews.canary"], [record, one, "503 10.1.0.1:8080 shop.reviews.canary"],
      [{ ...record, endpoint: other }, one, "503 10.1.0.1:9090 shop.reviews.canary"], [{ ...record, endpoint: other }, one, "503 10.1.0.1:9090 shop.reviews.canary"],
      [{ ...record, endpoint: other, plan: undefined }, one, "503 10.1.0.1:9090 default"], [{ ...record, endpoint: other, plan: undefined }, one, "503 10.1.0.1:9090 default"],
      [{ ...record, endpoint: other, plan: undefined }, two, "other 503"], [{ ...record, endpoint: other, plan: undefined }, two, "other 503"],
      [record, two, "inbound-vip|80|http|reviews 503"], [{ ...record, status: 200 }, two, "inbound-vip|80|http|reviews 200"],
    ];
    for (const [r, settings] of written) log.request(r, settings, memory);
    assert.deepEqual(out, written.map(([, , line]) => line));
  });

  it("S11 nothing that others say breaks the line", () => {
    assert.equal(lineOf(undefined, record).split("\n").length, 1);
    assert.equal((JSON.parse(lineOf(undefined, record, "json")) as Record<string, unknown>)["upstream_transport_failure_reason"], "one two");
  });

  it("a format that is not understood is said, and the default stands in", () => {
    bad.length = 0;
    assert.match(lineOf("%NO_SUCH%", record), /^\[2026-/);
    assert.deepEqual(bad, ["%NO_SUCH% is not known"]);
  });
});

describe("the access line of a connection", () => {
  const values: Readonly<Record<string, string>> = {
    RESPONSE_CODE: "0", RESPONSE_FLAGS: "UF", CONNECTION_TERMINATION_DETAILS: "rbac", UPSTREAM_TRANSPORT_FAILURE_REASON: "x y", BYTES_RECEIVED: "1", BYTES_SENT: "2", DURATION: "5", UPSTREAM_HOST: "10.1.0.1:90", UPSTREAM_CLUSTER: "c",
    ROUTE_NAME: "default", REQUESTED_SERVER_NAME: "a.example", PROTOCOL: "-", "REQ(USER-AGENT)": "-",
  };
  for (const [operator, value] of Object.entries(values)) it(`%${operator}%`, () => assert.equal(lineOf(`%${operator}%`, line), value));
});
