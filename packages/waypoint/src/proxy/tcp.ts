// Owns connections that are not HTTP: planned, opened, copied, and cut when a policy changes its mind.
import { formatSocketAddress, MeshError, type TelemetrySettings } from "@ambit/core";
import { copyBidirectional } from "@ambit/hbone";
import { errorText, type Clock, type Logger, type StopSignal } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { CheckFacts, ConnectionFacts } from "../facts.ts";
import { planTcp, type TcpPlan } from "../plan/tcp.ts";
import type { WaypointState } from "../state/waypoint-state.ts";
import type { AccessLog } from "../telemetry/access-log.ts";
import type { RequestMetrics } from "../telemetry/request-metrics.ts";
import type { ClientOfTcp } from "./peek-hello.ts";
import { clusterName, type Destinations, type EndpointPlan, type Goal } from "./destinations.ts";
import type { CheckTcp } from "./satisfy.ts";
import type { Upstreams } from "./upstreams.ts";

/** Endpoints tried for one connection before it is given up. */
const TRIES_MAX = 3;

export interface TcpOptions {
  readonly state: WaypointState;
  readonly destinations: Destinations;
  readonly upstreams: Upstreams;
  readonly metrics: RequestMetrics;
  readonly accessLog: AccessLog;
  readonly telemetryOf: (facts: ConnectionFacts) => TelemetrySettings;
  readonly check: CheckTcp;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** The client's end: accepted only when there is an upstream, so that it sees a refusal as one. */
export interface Downstream {
  accept(): ByteStream;
  refuse(status: number): void;
  readonly signal: StopSignal;
}

export interface TcpProxy {
  /** Never rejects. */
  serve(facts: ConnectionFacts, downstream: Downstream, client: ClientOfTcp, traceparent: string | undefined): Promise<void>;
  /** Open connections, for dumps. */
  list(): readonly { readonly id: string; readonly src: string; readonly dst: string; readonly upstream: string }[];
  close(): void;
}

interface Live { readonly facts: ConnectionFacts; readonly client: ClientOfTcp; /** Of authorization providers. */ readonly answers: Map<string, CheckFacts>; readonly ended: AbortController; upstream: string }

export function createTcpProxy(o: TcpOptions): TcpProxy {
  const live = new Set<Live>();
  // A connection that the new policies would not let begin does not go on.
  const stop = o.state.onConfig(() => {
    for (const connection of live) {
      const plan = planFor(o, connection);
      if (plan.kind === "forward") continue;
      // A provider that was never asked about this connection: the client may come again and be asked for.
      connection.ended.abort(new MeshError("policy-revoked", `a policy now denies this connection: ${plan.kind === "need" ? `${plan.need.policy} asks ${plan.need.provider}` : plan.details}`));
    }
  });
  return {
    list: () => [...live].map((l) => ({ id: l.facts.id, src: formatSocketAddress(l.facts.source), dst: formatSocketAddress(l.facts.address), upstream: l.upstream })),
    close: () => { stop(); for (const l of live) l.ended.abort(new MeshError("drained", "the waypoint ends")); },
    async serve(facts, downstream, client, traceparent) {
      const connection: Live = { facts, client, answers: new Map(), ended: new AbortController(), upstream: "" };
      live.add(connection);
      try {
        await serve(o, connection, downstream, traceparent);
      } catch (error) {
        o.log.error("defect: a connection failed in an unforeseen way", { error: errorText(error) });
        downstream.refuse(500);
      } finally {
        live.delete(connection);
      }
    },
  };
}

function planFor(o: TcpOptions, { facts, client, answers }: Live): TcpPlan {
  const { config } = o.state;
  if (config === undefined) return { kind: "close", flag: "NC", details: "no_configuration", origin: undefined, remarks: [], because: [] };
  return planTcp(config, o.state.view(), facts, client.sni, o.random, answers);
}

/** Asks what has to be asked: each provider once. */
async function planWhole(o: TcpOptions, connection: Live): Promise<Exclude<TcpPlan, { kind: "need" }>> {
  for (;;) {
    const plan = planFor(o, connection);
    if (plan.kind !== "need") return plan;
    connection.answers.set(plan.need.provider, await o.check(plan.need.provider, plan.need.policy, connection.facts));
  }
}

async function serve(o: TcpOptions, connection: Live, downstream: Downstream, traceparent: string | undefined): Promise<void> {
  const { facts } = connection;
  const started = { at: o.clock.now(), ms: o.clock.monotonic() };
  const telemetry = o.telemetryOf(facts);
  const plan = await planWhole(o, connection);
  for (const remark of plan.remarks) o.log.info("policy remark", { kind: remark.kind, policy: remark.policy, rule: remark.rule, "src.addr": formatSocketAddress(facts.source) });
  let bytes = { received: 0, sent: 0 };
  let chosen: { readonly goal: Goal; readonly endpoint: EndpointPlan } | undefined;
  const finish = (flag: string, details: string, failure?: string): void => {
    o.accessLog.connection({
      facts, startedAt: started.at, durationMs: o.clock.monotonic() - started.ms, bytesReceived: bytes.received, bytesSent: bytes.sent, flag, details,
      upstreamHost: chosen && formatSocketAddress(chosen.endpoint.hop.kind === "tunnel" ? chosen.endpoint.hop.target : chosen.endpoint.hop.at),
      destinationName: chosen && clusterName(chosen.goal, chosen.endpoint), upstreamFailure: failure, route: plan.origin, sni: connection.client.sni,
    }, telemetry.accessLog);
  };
  if (plan.kind === "close") {
    o.metrics.connection(facts, undefined, telemetry.metrics).closed(plan.flag);
    o.log.info("connection refused", { "src.addr": formatSocketAddress(facts.source), "dst.addr": formatSocketAddress(facts.address), details: plan.details });
    downstream.refuse(plan.flag === "-" || plan.flag === "UAEX" ? 403 : 503);
    return finish(plan.flag, plan.details);
  }

  const opened = await open(o, connection, plan.to, downstream.signal, traceparent);
  if ("failure" in opened) {
    o.metrics.connection(facts, undefined, telemetry.metrics).closed(opened.flag);
    o.log.warn("connection failed", { "src.addr": formatSocketAddress(facts.source), "dst.addr": formatSocketAddress(facts.address), error: opened.failure });
    downstream.refuse(503);
    return finish(opened.flag, "", opened.failure);
  }
  chosen = { goal: plan.to, endpoint: opened.endpoint };
  connection.upstream = formatSocketAddress(opened.endpoint.hop.at);
  const counters = o.metrics.connection(facts, opened.endpoint.workload, telemetry.metrics);
  const end = o.destinations.beginConnection(opened.endpoint.workload);
  const result = await copyBidirectional(downstream.accept(), opened.stream, {
    signal: connection.ended.signal, clock: o.clock,
    onBytes: (direction, octets) => {
      if (direction === "ab") { bytes.received += octets; counters.received(octets); } else { bytes.sent += octets; counters.sent(octets); }
    },
  });
  end();
  const denied = result.error instanceof MeshError && result.error.code === "policy-revoked";
  counters.closed("-");
  finish("-", denied ? "policy_revoked" : "", denied ? errorText(result.error) : undefined);
}

/** A client that speaks TLS speaks it with the application: another TLS around it would be understood by nobody. */
const OWN_TLS = { tls: undefined };

type Opened = { readonly endpoint: EndpointPlan; readonly stream: ByteStream } | { readonly flag: string; readonly failure: string };

/** One endpoint after the other, each once: nothing was sent yet, so another may be tried. */
async function open(o: TcpOptions, { facts, client, ended }: Live, goal: Goal, given: StopSignal, traceparent: string | undefined): Promise<Opened> {
  const excluded = new Set<string>();
  let last: Opened = { flag: "UH", failure: "no healthy upstream" };
  // The client left, or a policy changed: either ends it.
  given.addEventListener("abort", () => ended.abort(given.reason), { once: true });
  const { signal } = ended;
  if (given.aborted) ended.abort(given.reason);
  for (let tried = 0; tried < TRIES_MAX && !signal.aborted; tried++) {
    const choice = o.destinations.choose(goal, { connection: facts, fields: [], target: "" }, excluded);
    if (choice.kind === "none") return tried === 0 ? { flag: choice.reply.flag, failure: choice.reply.body || choice.reply.details } : last;
    if (choice.kind === "need") return { flag: "DF", failure: `${choice.hostname} has no address here` };
    if (excluded.has(choice.workload.uid)) return last;
    try {
      const by = { source: facts.source, sourceWorkload: facts.sourceWorkload, service: choice.service, traceparent };
      return { endpoint: choice, stream: await o.upstreams.open(choice.hop, by, { ...choice.settings, ...(client.tls ? OWN_TLS : {}), alpn: [] }, signal) };
    } catch (error) {
      excluded.add(choice.workload.uid);
      last = { flag: "UF", failure: errorText(error) };
    }
  }
  return last;
}
