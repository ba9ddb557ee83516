import assert from "node:assert/strict";
import { encodeWaypointConfig, type TelemetrySettings, type WaypointConfig } from "@ambit/core";
import { pod, pushWorld, svc } from "@ambit/proxy/testing";
import { Metrics, createLogger, LogLevels, seededRandom, systemClock } from "@ambit/runtime";
import type { RequestFacts } from "../facts.ts";
import type { AttemptOutcome, RequestRecord, UpstreamEndpoint, UpstreamGoal } from "../http/options.ts";
import { backend, config, connection, request, routed, route } from "../plan/plan.fixture.ts";
import { WaypointState } from "../state/waypoint-state.ts";
import { createAccessLog, textLines } from "../telemetry/access-log.ts";
import { RequestMetrics } from "../telemetry/request-metrics.ts";
import { ClientConnection } from "./client-connection.ts";
import { Destinations } from "./destinations.ts";
import { Ejections } from "./ejections.ts";
import { PlannedEndpoint } from "./planned-endpoint.ts";

const PROVIDER = { name: "otel", service: "shop/v1", port: 80, protocol: "otlp-grpc" as const };
const telemetry = (more: Partial<TelemetrySettings> = {}): TelemetrySettings => ({ ...config().telemetry, accessLog: { enabled: true, encoding: "text", format: "%TRACE_ID% %ROUTE_NAME%", filter: undefined }, ...more });
const traced = telemetry({ tracing: { provider: PROVIDER, samplingPercent: 0, customTags: [] } });

/** The same object for every request, as a configuration's backends are. */
const GOAL: UpstreamGoal = { kind: "service", backend: { service: "shop/v1", port: 80, subset: undefined } };

/** A connection to shop/web, with what it wrote and told. */
class Setup {
  readonly lines: string[] = [];
  readonly spans: RequestRecord[] = [];
  readonly metrics = new Metrics(() => 0);
  readonly state = new WaypointState("shop/waypoint", "");
  readonly destinations: Destinations;
  readonly connection: ClientConnection;
  readonly #ejections: Ejections;

  constructor(first: WaypointConfig) {
    const { state, metrics } = this;
    const log = createLogger("test", { levels: new LogLevels("off") });
    const member = { "shop/v1": { ports: [{ servicePort: 80, targetPort: 8080 }] } };
    pushWorld(state.mesh, { workloads: [pod("v1-1", "10.0.0.3", { uid: "v1-1", namespace: "shop", services: member }), pod("client", "10.0.0.9", { uid: "client", namespace: "team" })], services: [svc("web", "10.96.0.1", { namespace: "shop" }), svc("v1", "10.96.0.2", { namespace: "shop" })] });
    this.configure(first);
    const seal = { seal: (text: string) => text, open: (text: string) => text };
    this.#ejections = new Ejections({ state, clock: systemClock, log, metrics });
    this.destinations = new Destinations({ state, network: "", clock: systemClock, random: seededRandom(1), seal, hosts: () => new Map(), ejected: (b, uid) => this.#ejections.isEjected(b, uid) });
    this.connection = new ClientConnection({
      state, destinations: this.destinations, ejections: this.#ejections, metrics: new RequestMetrics(metrics), accessLog: createAccessLog({ out: textLines((line) => this.lines.push(line)), onBadFormat: assert.fail, local: "10.0.0.7", hostname: "wp" }),
      onSpan: (record) => this.spans.push(record), seal, upstreams: { active: () => 0, attempt: assert.fail, retry: assert.fail, forget: assert.fail, drain: assert.fail, shared: undefined } as never,
      satisfy: () => Promise.reject(new Error("nothing is needed")), retryable: () => false, clock: systemClock, random: seededRandom(1), log,
    }, connection(state.view()));
  }

  configure(next: WaypointConfig | undefined): void {
    assert.equal(this.state.applyConfig("shop/waypoint", next && Buffer.from(encodeWaypointConfig(next))), undefined);
  }

  facts(more: Partial<RequestFacts> = {}): RequestFacts { return request(this.state.view(), more); }

  /** Planned and recorded; where it goes, and what of the client's context it takes along. */
  serve(fields: readonly string[] = []): string {
    const facts = this.facts({ fields });
    const plan = this.connection.plan(facts);
    assert.ok(plan.kind !== "need");
    const leaving = plan.kind === "forward" ? [...plan.head.fields] : [];
    if (plan.kind === "forward") this.connection.propagate(plan, leaving);
    const head = plan.kind === "forward" ? { ...plan.head, fields: leaving } : undefined;
    this.connection.onRequest({
      facts, plan, requestId: "id", startedAt: 0, durationMs: 1, requestEndMs: 0, upstreamStartMs: 0, responseStartMs: 1, status: 200, grpcStatus: undefined, flags: [], details: "", bytesReceived: 0, bytesSent: 0, requestMessages: 0, responseMessages: 0,
      endpoint: undefined, attempts: 1, outgoing: head, responseFields: [], responseTrailers: [], upstreamFailure: undefined, upgraded: false, mirrors: [],
    });
    return plan.kind === "forward" ? `${plan.to.kind === "service" ? plan.to.backend.service : "pod"} ${leaving.filter((_, i) => i % 2 === 0).join(",")}` : `${plan.reply.status}`;
  }

  endpoint(): UpstreamEndpoint {
    const choice = this.connection.choose(GOAL, this.facts(), [], undefined);
    assert.ok(choice.kind === "endpoint", choice.kind === "none" ? choice.reply.details : "");
    return choice.endpoint;
  }

  close(): void {
    this.destinations.close();
    this.#ejections.close();
  }
}

describe("a client's connection", () => {
  let setup: Setup | undefined;
  const given = (first: WaypointConfig): Setup => (setup = new Setup(first));
  afterEach(() => { setup?.close(); setup = undefined; });
  const T = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;

  it("without a tracer makes no trace context, and lets the client's pass as it is", () => {
    const s = given(config({ telemetry: telemetry() }));
    assert.equal(s.serve(), "shop/web x-forwarded-proto");
    const plan = s.connection.plan(s.facts({ fields: ["traceparent", T, "b3", "0", "x-b3-traceid", "z"] }));
    assert.ok(plan.kind === "forward");
    const leaving = [...plan.head.fields];
    s.connection.propagate(plan, leaving);
    assert.deepEqual(leaving, ["traceparent", T, "b3", "0", "x-b3-traceid", "z", "x-forwarded-proto", "http"]);
    s.serve(["traceparent", T]);
    assert.deepEqual([s.lines, s.spans.length], [["- default", "- default"], 0]);
  });

  it("with one makes its own, or goes on with the client's, sampled or not", () => {
    const s = given(config({ telemetry: traced }));
    assert.equal(s.serve(), "shop/web x-forwarded-proto,traceparent");
    s.serve(["traceparent", T]);
    assert.match(s.lines[0] ?? "", /^[0-9a-f]{32} default$/);
    assert.equal(s.lines[1], `${"1".repeat(32)} default`);
    assert.equal(s.spans.length, 2); // whether they are sent is the tracer's
  });

  it("follows each configuration from the next request on: routes, tracing, lines, and its end", () => {
    const s = given(config({ telemetry: telemetry() }));
    const seen = [s.serve()];
    s.configure(routed([route({}, { action: { kind: "forward", backends: [backend("v1")] } })], { telemetry: traced }));
    seen.push(s.serve());
    s.configure(config({ telemetry: telemetry({ accessLog: { enabled: false, encoding: "text", format: undefined, filter: undefined } }) }));
    seen.push(s.serve());
    s.configure(undefined);
    seen.push(s.serve());
    assert.deepEqual(seen, ["shop/web x-forwarded-proto", "shop/v1 x-forwarded-proto,traceparent", "shop/web x-forwarded-proto", "503"]);
    assert.equal(s.lines.length, 2);
    assert.match(s.lines[1] ?? "", /^[0-9a-f]{32} shop\.routes\.0$/);
  });

  it("gives every request to an endpoint the same object, counts each, and makes another for another version of it", () => {
    const s = given(config());
    const [one, two] = [s.endpoint(), s.endpoint()];
    assert.ok(one instanceof PlannedEndpoint);
    assert.equal(two, one);
    assert.equal(one.load.requests, 2);
    const outcome = (endpoint: UpstreamEndpoint): AttemptOutcome => ({ endpoint, attempt: 1, durationMs: 1, sent: true, result: { kind: "answered", status: 200, fields: [], grpcStatus: undefined, whole: true } });
    s.connection.onOutcome(outcome(one));
    assert.equal(one.load.requests, 1);
    pushWorld(s.state.mesh, { workloads: [pod("v1-1", "10.0.0.4", { uid: "v1-1", namespace: "shop", services: { "shop/v1": { ports: [{ servicePort: 80, targetPort: 9090 }] } } })] });
    const moved = s.endpoint();
    assert.deepEqual([moved.address, moved.key === one.key], [{ ip: "10.0.0.4", port: 9090 }, false]);
    assert.ok(moved instanceof PlannedEndpoint);
    assert.equal(moved.load, one.load, "requests at both versions are one workload's");
    s.connection.onOutcome(outcome(one));
    s.connection.onOutcome(outcome(moved));
    assert.equal(moved.load.requests, 0);
  });
});
