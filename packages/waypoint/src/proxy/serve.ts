// Owns what becomes of an accepted tunnel stream: HTTP where the port speaks it, TCP otherwise, and the way from one to the other.
import type { Backend, SocketAddress, TelemetrySettings } from "@ambit/core";
import type { TunnelRequest } from "@ambit/hbone";
import { errorText, randomHex, type Clock, type Logger, type Timer } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { ConnectionFacts, PortProtocol, RequestFacts } from "../facts.ts";
import { serveHttp } from "../http/serve.ts";
import type { AttemptOutcome, HttpOptions, HttpSession, RequestRecord, UpstreamChoice, UpstreamEndpoint } from "../http/options.ts";
import { createHttpUpstreams } from "../http/upstream/http-upstreams.ts";
import { planRequest } from "../plan/request.ts";
import { localReply } from "../plan/reply.ts";
import type { RequestPlan } from "../plan/request-plan.ts";
import type { SessionSeal } from "../plan/session.ts";
import { choosePortProtocol } from "../plan/tcp.ts";
import type { WaypointState } from "../state/waypoint-state.ts";
import type { AccessLog } from "../telemetry/access-log.ts";
import type { RequestMetrics } from "../telemetry/request-metrics.ts";
import { propagate, traceContextOf, type TraceContext } from "../telemetry/trace-context.ts";
import { createCall, type Call } from "./call.ts";
import type { Ejections } from "./ejections.ts";
import { httpEndpoint, type Destinations, type EndpointPlan, type Goal } from "./destinations.ts";
import { peekHello } from "./peek-hello.ts";
import type { TcpProxy } from "./tcp.ts";
import type { Upstreams } from "./upstreams.ts";

/** A client's connection is asked to come anew after so long (GOAWAY, `Connection: close`): what is under way on it is finished. */
export const CONNECTION_AGE_MS = 60_000;
/** So that connections of one moment do not come back at one moment. */
const CONNECTION_AGE_JITTER = 0.25;

export type OnSpan = (record: RequestRecord, context: TraceContext, settings: TelemetrySettings["tracing"]) => void;

export interface ServeOptions {
  readonly state: WaypointState;
  readonly destinations: Destinations;
  readonly upstreams: Upstreams;
  readonly tcp: TcpProxy;
  readonly metrics: RequestMetrics;
  readonly accessLog: AccessLog;
  readonly telemetryOf: (facts: ConnectionFacts) => TelemetrySettings;
  readonly satisfy: (call: Call) => HttpOptions["satisfy"];
  readonly retryable: HttpOptions["retryable"];
  readonly ejections: Ejections;
  readonly onSpan: OnSpan;
  /** Pods of this waypoint that take connections. */
  readonly replicas: () => number;
  readonly seal: SessionSeal;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

export interface Serving {
  serve(facts: ConnectionFacts, request: TunnelRequest, traceparent: string | undefined): void;
  /** HTTP connections open now. */
  readonly sessions: number;
  /** Requests under way. */
  readonly active: number;
  readonly call: Call;
  drain(deadlineMs: number): Promise<void>;
}

export function createServing(o: ServeOptions): Serving {
  return new Server(o);
}

/** `end`: the request at this endpoint is over. */
interface Planned { readonly plan: EndpointPlan; readonly goal: Goal; readonly client: SocketAddress | undefined; readonly end: () => void }

/** What belongs to an endpoint or a plan of ours travels on it: a WeakMap's entry for every request costs the collector more than the request. */
interface PlannedEndpoint extends UpstreamEndpoint { readonly planned: Planned }
type TracedPlan = Exclude<RequestPlan, { kind: "need" }> & { readonly trace: TraceContext };
const plannedOf = (endpoint: UpstreamEndpoint): Planned | undefined => ("planned" in endpoint ? (endpoint as PlannedEndpoint).planned : undefined);
const traceOf = (plan: RequestPlan): TraceContext | undefined => ("trace" in plan ? (plan as TracedPlan).trace : undefined);

const NOT_TRIED: ReadonlySet<string> = new Set();

class Server implements Serving {
  readonly #o: ServeOptions;
  readonly #http: HttpOptions;
  readonly #sessions = new Set<HttpSession>();
  readonly call: Call;

  constructor(o: ServeOptions) {
    this.#o = o;
    const upstreams = createHttpUpstreams({ clock: o.clock, open: (endpoint, signal) => this.#open(endpoint, signal) });
    this.call = createCall({ upstreams, choose: (backend, protocol) => this.#chooseOwn(backend, protocol) });
    this.#http = {
      clock: o.clock, random: o.random, upstreams, serverName: "istio-envoy",
      plan: (facts) => this.#plan(facts),
      propagate: (plan, fields) => { const trace = traceOf(plan); if (trace !== undefined) propagate(fields, trace); },
      satisfy: o.satisfy(this.call),
      choose: (goal, facts, tried, plan) => this.#choose(goal, facts, tried, plan?.session),
      retryable: o.retryable, onOutcome: (outcome) => this.#onOutcome(outcome),
      onRequest: (record) => this.#onRequest(record),
    };
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  get active(): number {
    let active = 0;
    for (const session of this.#sessions) active += session.active;
    return active;
  }

  serve(facts: ConnectionFacts, request: TunnelRequest, traceparent: string | undefined): void {
    const { config } = this.#o.state;
    if (config === undefined) return request.refuse(503);
    const protocol = choosePortProtocol(config, this.#o.state.view(), facts);
    if (protocol === "tcp") return void this.#o.tcp.serve(facts, { accept: () => request.accept(), refuse: (status) => request.refuse(status), signal: request.signal }, { sni: undefined, tls: false }, traceparent);
    if (protocol === "tls") return void this.#serveTls(facts, request, traceparent);
    // What comes must be seen before anything can be said about it.
    this.#serveStream(facts, request.accept(), protocol, traceparent);
  }

  /** The name that the client asks for decides, so it has to be read first. */
  async #serveTls(facts: ConnectionFacts, request: TunnelRequest, traceparent: string | undefined): Promise<void> {
    const { stream, client } = await peekHello(request.accept(), this.#o.clock);
    await this.#o.tcp.serve(facts, accepted(stream), client, traceparent);
  }

  #serveStream(facts: ConnectionFacts, stream: ByteStream, protocol: PortProtocol, traceparent: string | undefined): void {
    const session = serveHttp(stream, facts, protocol, this.#http);
    this.#sessions.add(session);
    const aging = this.#age(session);
    session.done.then((served) => {
      aging.cancel();
      this.#sessions.delete(session);
      if (served.kind === "tcp") void this.#o.tcp.serve(facts, accepted(served.stream), { sni: undefined, tls: served.tls }, traceparent);
    }, (error: unknown) => {
      aging.cancel();
      this.#sessions.delete(session);
      this.#o.log.error("defect: a connection failed in an unforeseen way", { error: errorText(error) });
    });
  }

  /** A connection stays with the replica it came to. Replicas that come later would get nothing of it: where there are several, old ones are asked to come anew. */
  #age(session: HttpSession): Timer {
    const age = CONNECTION_AGE_MS * (1 + CONNECTION_AGE_JITTER * (2 * this.#o.random() - 1));
    let timer = this.#o.clock.after(age, () => {
      if (this.#o.replicas() > 1) session.drain();
      else timer = this.#age(session);
    });
    return { cancel: () => timer.cancel() };
  }

  #plan(facts: RequestFacts): RequestPlan {
    const { state, random } = this.#o;
    const { config } = state;
    if (config === undefined) return { kind: "reply", reply: localReply(503, "", "NC", "no_configuration"), origin: undefined, delayMs: 0, remarks: [], because: [] };
    const plan = planRequest(config, state.view(), facts, random, this.#o.seal, false);
    if (plan.kind === "need") return plan;
    const { samplingPercent } = this.#o.telemetryOf(facts.connection).tracing;
    const context = traceContextOf(facts.fields, samplingPercent, random, randomHex);
    const traced: TracedPlan = { ...plan, trace: context };
    return traced;
  }

  #choose(goal: Goal, facts: RequestFacts, tried: readonly string[], session: Parameters<Destinations["choose"]>[1]["session"]): UpstreamChoice {
    const excluded = tried.length === 0 ? NOT_TRIED : new Set(tried.map((key) => key.split("|")[0] ?? ""));
    const choice = this.#o.destinations.choose(goal, { connection: facts.connection, fields: facts.fields, target: facts.target, excluded, session });
    if (choice.kind === "none") return { kind: "none", reply: choice.reply };
    if (choice.kind === "need") return { kind: "none", reply: localReply(503, "", "UH", `dns_unresolved{${choice.hostname}}`) };
    return { kind: "endpoint", endpoint: this.#endpoint(goal, choice, upstreamProtocol(choice, goal, facts), facts.connection.source), answer: choice.answerFields };
  }

  #endpoint(goal: Goal, plan: EndpointPlan, protocol: "http1" | "http2", client: SocketAddress | undefined): UpstreamEndpoint {
    const endpoint: PlannedEndpoint = { ...httpEndpoint(goal, plan, protocol, client), planned: { plan, goal, client, end: this.#o.destinations.begin(plan.workload.uid) } };
    return endpoint;
  }

  /** For calls of our own: on nobody's behalf. */
  #chooseOwn(backend: Backend, protocol: "http1" | "http2"): UpstreamChoice {
    const goal: Goal = { kind: "service", backend };
    const choice = this.#o.destinations.chooseOwn(backend);
    if (choice.kind === "none") return { kind: "none", reply: choice.reply };
    if (choice.kind === "need") return { kind: "none", reply: localReply(503, "", "UH", `dns_unresolved{${choice.hostname}}`) };
    return { kind: "endpoint", endpoint: this.#endpoint(goal, choice, protocol, undefined), answer: [] };
  }

  async #open(endpoint: UpstreamEndpoint, signal: AbortSignal): Promise<ByteStream> {
    const planned = plannedOf(endpoint);
    if (planned === undefined) throw new Error("defect: an endpoint that was not chosen here");
    const { plan, client } = planned;
    // Requests of several clients share the stream, so it is on nobody's behalf; except where the PROXY protocol tells the client, and then it is one's own.
    const by = { source: plan.settings.proxyProtocol === undefined ? undefined : client, sourceWorkload: undefined, service: plan.service, traceparent: undefined };
    return this.#o.upstreams.open(plan.hop, by, { ...plan.settings, alpn: endpoint.protocol === "http2" ? ["h2"] : ["http/1.1"] }, signal);
  }

  #onOutcome(outcome: AttemptOutcome): void {
    const planned = plannedOf(outcome.endpoint);
    if (planned === undefined) return;
    planned.end();
    const { goal } = planned;
    if (goal.kind === "service") this.#o.ejections.record(outcome, goal.backend);
  }

  #onRequest(record: RequestRecord): void {
    const { metrics, accessLog, telemetryOf, onSpan, log } = this.#o;
    const settings = telemetryOf(record.facts.connection);
    metrics.request(record, settings.metrics);
    accessLog.request(record, settings.accessLog);
    if (record.plan !== undefined && record.plan.remarks.length > 0) for (const remark of record.plan.remarks)
      log.info("policy remark", { kind: remark.kind, policy: remark.policy, rule: remark.rule, method: record.facts.method, path: record.facts.target, request_id: record.requestId });
    const context = record.plan === undefined ? undefined : traceOf(record.plan);
    if (context !== undefined) onSpan(record, context, settings.tracing);
  }

  async drain(deadlineMs: number): Promise<void> {
    for (const session of this.#sessions) session.drain();
    await this.#http.upstreams.drain(deadlineMs);
  }
}

const accepted = (stream: ByteStream) => ({ accept: () => stream, refuse: () => stream.destroy(), signal: new AbortController().signal });

/** As the destination's port declares; where it declares nothing, as the client speaks. */
function upstreamProtocol(plan: EndpointPlan, goal: Goal, facts: RequestFacts): "http1" | "http2" {
  const declared = goal.kind === "service" ? plan.service?.ports.get(goal.backend.port)?.appProtocol : undefined;
  if (declared === "http2" || declared === "grpc") return "http2";
  if (declared === "http11") return "http1";
  return facts.protocol === "HTTP/2" ? "http2" : "http1";
}
