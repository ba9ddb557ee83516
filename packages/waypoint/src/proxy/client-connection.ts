// Owns what one HTTP connection of a client asks of the rest of the waypoint: plans, endpoints, records. What is the same for all of its requests is found once.
import type { TelemetrySettings, WaypointConfig } from "@ambit/core";
import { randomHex, type Clock, type Logger, type Random } from "@ambit/runtime";
import type { ConnectionFacts, RequestFacts } from "../facts.ts";
import type { AttemptOutcome, ForwardPlan, HttpOptions, RequestRecord, UpstreamChoice } from "../http/options.ts";
import type { HttpUpstreams } from "../http/upstream/upstreams.ts";
import { planConnection, type ConnectionPlan, type Goal } from "../plan/connection-plan.ts";
import { localReply } from "../plan/reply.ts";
import { planOn } from "../plan/request.ts";
import type { RequestPlan } from "../plan/request-plan.ts";
import { placesToAvoid } from "../plan/retry.ts";
import type { SessionSeal } from "../plan/session.ts";
import type { UpstreamPlan } from "../plan/upstream.ts";
import type { WaypointState } from "../state/waypoint-state.ts";
import { LineMemory, type AccessLog } from "../telemetry/access-log.ts";
import { SeriesMemory, type RequestMetrics } from "../telemetry/request-metrics.ts";
import { telemetryOf } from "../telemetry/settings.ts";
import { propagate, traceContextOf, type TraceContext } from "../telemetry/trace-context.ts";
import type { Destinations, EndpointPlan } from "./destinations.ts";
import type { Ejections } from "./ejections.ts";
import { PlannedEndpoint } from "./planned-endpoint.ts";

export type OnSpan = (record: RequestRecord, context: TraceContext, settings: TelemetrySettings["tracing"]) => void;

/** What every connection shares. */
export interface ClientConnectionOptions {
  readonly state: WaypointState;
  readonly destinations: Destinations;
  readonly ejections: Ejections;
  readonly metrics: RequestMetrics;
  readonly accessLog: AccessLog;
  readonly onSpan: OnSpan;
  readonly seal: SessionSeal;
  readonly upstreams: HttpUpstreams;
  readonly satisfy: HttpOptions["satisfy"];
  readonly retryable: HttpOptions["retryable"];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class ClientConnection implements HttpOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly upstreams: HttpUpstreams;
  readonly satisfy: HttpOptions["satisfy"];
  readonly retryable: HttpOptions["retryable"];
  readonly serverName = "istio-envoy";
  readonly #o: ClientConnectionOptions;
  readonly #facts: ConnectionFacts;
  /** That what follows was found for. */
  #config: WaypointConfig | undefined = undefined;
  #plan: ConnectionPlan | undefined = undefined;
  #telemetry: TelemetrySettings;
  readonly #series = new SeriesMemory();
  readonly #line = new LineMemory();

  constructor(o: ClientConnectionOptions, facts: ConnectionFacts) {
    this.clock = o.clock;
    this.random = o.random;
    this.upstreams = o.upstreams;
    this.satisfy = o.satisfy;
    this.retryable = o.retryable;
    this.#o = o;
    this.#facts = facts;
    this.#telemetry = telemetryOf(undefined, facts);
  }

  plan(facts: RequestFacts): RequestPlan {
    const on = this.#current();
    if (on === undefined) return { kind: "reply", reply: localReply(503, "", "NC", "no_configuration"), origin: undefined, delayMs: 0, remarks: [], because: [], trace: undefined };
    const plan = planOn(on, this.#o.state.view(), facts, this.random, this.#o.seal, undefined);
    const { tracing } = this.#telemetry;
    // As Istio's: without a tracer nobody makes a context or touches the client's.
    if (plan.kind !== "need" && tracing.provider !== undefined) plan.trace = traceContextOf(facts.fields, tracing.samplingPercent, this.random, randomHex);
    return plan;
  }

  propagate({ trace }: ForwardPlan, fields: string[]): void {
    if (trace !== undefined) propagate(fields, trace);
  }

  /** Of the configuration in force now. */
  #current(): ConnectionPlan | undefined {
    const { config } = this.#o.state;
    if (config !== this.#config) {
      this.#config = config;
      this.#plan = config === undefined ? undefined : planConnection(config, this.#facts);
      this.#telemetry = telemetryOf(config, this.#facts);
    }
    return this.#plan;
  }

  choose(goal: Goal, facts: RequestFacts, tried: readonly string[], plan: ForwardPlan | undefined): UpstreamChoice {
    const excluded = placesToAvoid(tried, plan?.retry);
    const { destinations } = this.#o;
    const to = destinations.choose(goal, facts, excluded, plan?.session);
    if (to.kind !== "endpoint") return refusal(to);
    const endpoint = destinations.endpoint(goal, to, protocolOf(to, goal, facts), facts.connection.source);
    destinations.begin(endpoint);
    return choiceOf(endpoint, to);
  }

  onOutcome(outcome: AttemptOutcome): void {
    const { endpoint } = outcome;
    if (!(endpoint instanceof PlannedEndpoint)) return;
    this.#o.destinations.end(endpoint);
    if (endpoint.goal.kind === "service") this.#o.ejections.record(outcome, endpoint.goal.backend);
  }

  onRequest(record: RequestRecord): void {
    this.#current();
    const { metrics, accessLog, log, onSpan } = this.#o;
    const telemetry = this.#telemetry;
    metrics.request(record, telemetry.metrics, this.#series);
    if (telemetry.accessLog.enabled) accessLog.request(record, telemetry.accessLog, this.#line);
    const { plan } = record;
    if (plan === undefined) return;
    if (plan.remarks.length > 0) for (const remark of plan.remarks)
      log.info("policy remark", { kind: remark.kind, policy: remark.policy, rule: remark.rule, method: record.facts.method, path: record.facts.target, request_id: record.requestId });
    if (plan.trace !== undefined) onSpan(record, plan.trace, telemetry.tracing);
  }
}

/** A plan as HTTP takes it. */
export const choiceOf = (endpoint: PlannedEndpoint, { answerFields }: EndpointPlan): UpstreamChoice => (answerFields.length === 0 ? endpoint.choice : { kind: "endpoint", endpoint, answer: answerFields });

export const refusal = (plan: Exclude<UpstreamPlan, EndpointPlan>): UpstreamChoice =>
  ({ kind: "none", reply: plan.kind === "none" ? plan.reply : localReply(503, "", "UH", `dns_unresolved{${plan.hostname}}`) });

/** As the destination's port declares; where it declares nothing, as the client speaks. */
function protocolOf(plan: EndpointPlan, goal: Goal, facts: RequestFacts): "http1" | "http2" {
  const declared = goal.kind === "service" ? plan.service?.ports.get(goal.backend.port)?.appProtocol : undefined;
  if (declared === "http2" || declared === "grpc") return "http2";
  if (declared === "http11") return "http1";
  return facts.protocol === "HTTP/2" ? "http2" : "http1";
}
