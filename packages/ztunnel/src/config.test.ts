import assert from "node:assert/strict";
import { readConfig } from "./config.ts";

describe("readConfig", () => {
  it("needs nothing", () => {
    const c = readConfig({});
    assert.deepEqual([c.xds.address, c.ca.address, c.clusterId, c.packetMark, c.drainMs], ["https://localhost:15012", "https://localhost:15012", "Kubernetes", 0x539, 5000]);
  });
  it("finds istiod in a cluster", () => assert.equal(readConfig({ KUBERNETES_SERVICE_HOST: "10.96.0.1" }).xds.address, "https://istiod.istio-system.svc:15012"));
  it("the CA defaults to where configuration comes from", () => assert.equal(readConfig({ XDS_ADDRESS: "istiod.x.svc:15012" }).ca.address, "istiod.x.svc:15012"));
  it("metadata and headers from the environment", () => {
    const c = readConfig({ ISTIO_META_CLUSTER_ID: "k2", ISTIO_META_X: "y", ISTIO_METAJSON_L: "[1]", XDS_HEADER_Foo: "bar" });
    assert.deepEqual([c.clusterId, c.nodeMetadata, c.xds.headers, c.ca.headers], ["k2", { CLUSTER_ID: "k2", X: "y", L: [1] }, { foo: "bar" }, {}]);
  });
  const drains: [Record<string, string>, number][] = [
    [{ TERMINATION_GRACE_PERIOD_SECONDS: "30" }, 25_000], [{ TERMINATION_GRACE_PERIOD_SECONDS: "10" }, 9_000], [{ TERMINATION_GRACE_PERIOD_SECONDS: "1" }, 1_000],
    [{ TERMINATION_GRACE_PERIOD_SECONDS: "30", CONNECTION_TERMINATION_DEADLINE: "2s" }, 2_000],
  ];
  for (const [source, expected] of drains) it(`drains for ${expected} ms with ${JSON.stringify(source)}`, () => assert.equal(readConfig(source).drainMs, expected));
  it("names every bad variable", () => assert.throws(() => readConfig({ PACKET_MARK: "x", SECRET_TTL: "soon", IPV6_ENABLED: "maybe" }), /PACKET_MARK.*\n.*SECRET_TTL|IPV6_ENABLED/s));
  it("lists what it does not honour", () => assert.deepEqual(readConfig({ TRUST_DOMAIN: "x", NODE_NAME: "n" }).withoutEffect, ["TRUST_DOMAIN"]));
  it("writes its log in three ways", () => {
    assert.deepEqual(["", "json", "plain"].map((f) => readConfig({ LOG_FORMAT: f }).logFormat), ["ambit-json", "json", "plain"]);
    assert.throws(() => readConfig({ LOG_FORMAT: "xml" }), /LOG_FORMAT: "xml" is none of json, plain/);
  });
  it("serves one workload, from a file if it likes", () => {
    const c = readConfig({ PROXY_MODE: "dedicated", PROXY_WORKLOAD_INFO: "ns/web-0/web", LOCAL_XDS_PATH: "/etc/local.yaml" });
    assert.deepEqual([c.dedicated, c.local, c.followXds], [{ namespace: "ns", name: "web-0", serviceAccount: "web" }, { path: "/etc/local.yaml" }, false]);
    assert.deepEqual([readConfig({}).dedicated, readConfig({}).followXds, readConfig({ LOCAL_XDS: "{}", XDS_ADDRESS: "istiod:15012" }).followXds], [undefined, true, true]);
    for (const [source, expected] of [
      [{ PROXY_MODE: "dedicated" }, /PROXY_WORKLOAD_INFO/], [{ PROXY_MODE: "dedicated", PROXY_WORKLOAD_INFO: "ns/web" }, /is not NAMESPACE\/NAME\/SERVICE-ACCOUNT/], [{ PROXY_MODE: "both" }, /none of shared, dedicated/],
      [{ PROXY_WORKLOAD_INFO: "a/b/c" }, /dedicated only/], [{ LOCAL_XDS: "{}", LOCAL_XDS_PATH: "/x" }, /only one/],
      [{ LOCAL_XDS: "{}", ZTUNNEL_WORKER_THREADS: "2" }, /served by one thread/],
    ] as const) assert.throws(() => readConfig(source), expected);
  });
  it("asks on demand only where DNS is not captured", () => {
    assert.equal(readConfig({ XDS_ON_DEMAND: "true", ISTIO_META_DNS_CAPTURE: "false" }).onDemand, true);
    assert.throws(() => readConfig({ XDS_ON_DEMAND: "true" }), /ISTIO_META_DNS_CAPTURE=false/);
  });
  it("finds the DNS listeners", () => {
    const listen = (source: Record<string, string>) => readConfig(source).dns?.listen.map((a) => `${a.ip} ${a.port}`);
    assert.deepEqual(listen({}), ["127.0.0.1 15053", "::1 15053"]);
    assert.deepEqual(listen({ ISTIO_META_DNS_CAPTURE: "true", IPV6_ENABLED: "false" }), ["127.0.0.1 15053"]);
    assert.deepEqual(listen({ ISTIO_META_DNS_PROXY_ADDR: "127.0.0.53:99" }), ["127.0.0.53 99"]);
    assert.equal(listen({ ISTIO_META_DNS_CAPTURE: "false" }), undefined);
    assert.throws(() => readConfig({ ISTIO_META_DNS_PROXY_ADDR: "localhost:53" }), /ISTIO_META_DNS_PROXY_ADDR: "localhost:53" is not an address/);
  });
  const PROBES: readonly (readonly [Record<string, string>, ReturnType<typeof readConfig>["keepAlive"]])[] = [
    [{}, { probes: { idleS: 180, intervalS: 15, count: 9 }, userTimeoutMs: 0 }],
    [{ KEEPALIVE_TIME: "60s", KEEPALIVE_INTERVAL: "10s", KEEPALIVE_RETRIES: "3", USER_TIMEOUT_ENABLED: "true" }, { probes: { idleS: 60, intervalS: 10, count: 3 }, userTimeoutMs: 90_000 }],
    [{ KEEPALIVE_ENABLED: "false" }, { probes: undefined, userTimeoutMs: 0 }],
  ];
  for (const [source, expected] of PROBES) it(`asks silent clients: ${JSON.stringify(source)}`, () => assert.deepEqual(readConfig(source).keepAlive, expected));
  it("asks within the kernel's bounds", () => assert.throws(() => readConfig({ KEEPALIVE_INTERVAL: "100ms" }), /KEEPALIVE_INTERVAL: 100 ms is not 1 to 32767 s/));
  it("demands post-quantum key exchanges, and knows no other compliance", () => {
    assert.equal(readConfig({ COMPLIANCE_POLICY: "pqc" }).compliance, "pqc");
    assert.throws(() => readConfig({ COMPLIANCE_POLICY: "fips-140-2" }), /COMPLIANCE_POLICY: "fips-140-2" is not supported/);
  });
  it("refuses TLS12_ENABLED=true rather than ignoring it", () => assert.throws(() => readConfig({ TLS12_ENABLED: "true" }), /TLS12_ENABLED=true is not supported/));
});
