// Owns the metric families of a waypoint: Istio's, reporter "waypoint", one sample a request.
import type { TelemetrySettings, Workload } from "@ambit/core";
import type { Counter, Histogram, Labels, Metrics } from "@ambit/runtime";
import type { ConnectionFacts } from "../facts.ts";
import type { RequestRecord } from "../http/options.ts";
import { overridden, partyLabels, requestLabels, type TagValues } from "./labels.ts";
import { PARTY_ATTRIBUTES, REQUEST_ATTRIBUTES } from "./log-filter.ts";
import { SeriesCache } from "./series-cache.ts";
import { hasExpressions, TaggedSeries, TagReader } from "./tag-values.ts";

/** Istio's buckets, for milliseconds and for bytes alike. */
const BUCKETS: readonly number[] = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000];

/** What the Telemetry API calls the metrics. */
const NAMES = {
  REQUEST_COUNT: "istio_requests_total", REQUEST_DURATION: "istio_request_duration_milliseconds", REQUEST_SIZE: "istio_request_bytes",
  RESPONSE_SIZE: "istio_response_bytes", GRPC_REQUEST_MESSAGES: "istio_request_messages_total", GRPC_RESPONSE_MESSAGES: "istio_response_messages_total",
  TCP_OPENED_CONNECTIONS: "istio_tcp_connections_opened_total", TCP_CLOSED_CONNECTIONS: "istio_tcp_connections_closed_total",
  TCP_SENT_BYTES: "istio_tcp_sent_bytes_total", TCP_RECEIVED_BYTES: "istio_tcp_received_bytes_total",
} as const;
type MetricName = keyof typeof NAMES;

export interface TcpCounters { received(octets: number): void; sent(octets: number): void; closed(flag: string): void }

/** Undefined: the Telemetry API switched it off. */
export interface RequestSeries {
  readonly count: Counter | undefined;
  readonly duration: Histogram | undefined; readonly requestBytes: Histogram | undefined; readonly responseBytes: Histogram | undefined;
  readonly requestMessages: Counter | undefined; readonly responseMessages: Counter | undefined;
}

/** What one connection's last request was counted in: mostly that of the next one, too. Client and destination are the connection's, so only the rest is compared. */
export class SeriesMemory {
  #series: RequestSeries | undefined = undefined;
  #settings: TelemetrySettings["metrics"] | undefined = undefined;
  #endpoint: Workload | undefined = undefined;
  #status = 0;
  #grpc = false;
  #grpcStatus: number | undefined = undefined;

  of(r: RequestRecord, settings: TelemetrySettings["metrics"]): RequestSeries | undefined {
    return this.#status === r.status && this.#endpoint === r.endpoint?.workload && this.#grpcStatus === r.grpcStatus && this.#grpc === r.facts.grpc && this.#settings === settings && r.flags.length === 0 ? this.#series : undefined;
  }

  keep(r: RequestRecord, settings: TelemetrySettings["metrics"], series: RequestSeries): RequestSeries {
    if (r.flags.length > 0) return series;
    this.#series = series;
    this.#settings = settings;
    this.#endpoint = r.endpoint?.workload;
    this.#status = r.status;
    this.#grpc = r.facts.grpc;
    this.#grpcStatus = r.grpcStatus;
    return series;
  }
}

const withLabels = <T>(family: { with(labels: Labels): T } | undefined, labels: Labels | undefined): T | undefined => (labels === undefined ? undefined : family?.with(labels));

export class RequestMetrics {
  readonly #counters: Readonly<Record<string, ReturnType<Metrics["counter"]>>>;
  readonly #duration; readonly #requestBytes; readonly #responseBytes;
  readonly #series = new SeriesCache((r, settings) => this.#seriesOf(r, settings));
  /** Of settings with tags that are read off requests. */
  readonly #tagged = new WeakMap<TelemetrySettings["metrics"], TaggedSeries<RequestSeries>>();
  readonly #partyTags = new WeakMap<TelemetrySettings["metrics"], TagReader<ConnectionFacts>>();

  constructor(m: Metrics) {
    this.#counters = {
      REQUEST_COUNT: m.counter(NAMES.REQUEST_COUNT, "Requests."),
      GRPC_REQUEST_MESSAGES: m.counter(NAMES.GRPC_REQUEST_MESSAGES, "gRPC messages from clients."), GRPC_RESPONSE_MESSAGES: m.counter(NAMES.GRPC_RESPONSE_MESSAGES, "gRPC messages to clients."),
      TCP_OPENED_CONNECTIONS: m.counter(NAMES.TCP_OPENED_CONNECTIONS, "Connections opened."), TCP_CLOSED_CONNECTIONS: m.counter(NAMES.TCP_CLOSED_CONNECTIONS, "Connections closed."),
      TCP_SENT_BYTES: m.counter(NAMES.TCP_SENT_BYTES, "Bytes from the server towards the client."), TCP_RECEIVED_BYTES: m.counter(NAMES.TCP_RECEIVED_BYTES, "Bytes from the client towards the server."),
    };
    this.#duration = m.histogram(NAMES.REQUEST_DURATION, "Time of a request.", BUCKETS);
    this.#requestBytes = m.histogram(NAMES.REQUEST_SIZE, "Bytes of request bodies.", BUCKETS);
    this.#responseBytes = m.histogram(NAMES.RESPONSE_SIZE, "Bytes of response bodies.", BUCKETS);
    m.gauge("istio_build", "Component and version.").with({ component: "waypoint", tag: "ambit" }).set(1);
  }

  /** `memory` is of the request's connection. */
  request(r: RequestRecord, settings: TelemetrySettings["metrics"], memory?: SeriesMemory): void {
    const series = settings.overrides.length > 0 && hasExpressions(settings) ? this.#taggedOf(settings).of(r, settings) : memory === undefined ? this.#series.of(r, settings) : (memory.of(r, settings) ?? memory.keep(r, settings, this.#series.of(r, settings)));
    const now = r.startedAt; // near enough for series that end after minutes
    series.count?.inc(1, now);
    series.duration?.observe(r.durationMs, now);
    series.requestBytes?.observe(r.bytesReceived, now);
    series.responseBytes?.observe(r.bytesSent, now);
    if (!r.facts.grpc) return;
    if (r.requestMessages > 0) series.requestMessages?.inc(r.requestMessages, now);
    if (r.responseMessages > 0) series.responseMessages?.inc(r.responseMessages, now);
  }

  #taggedOf(settings: TelemetrySettings["metrics"]): TaggedSeries<RequestSeries> {
    let known = this.#tagged.get(settings);
    if (known === undefined) this.#tagged.set(settings, (known = new TaggedSeries(new TagReader(settings, REQUEST_ATTRIBUTES), (r, s, values) => this.#seriesOf(r, s, values))));
    return known;
  }

  #partyTagsOf(settings: TelemetrySettings["metrics"]): TagReader<ConnectionFacts> {
    let known = this.#partyTags.get(settings);
    if (known === undefined) this.#partyTags.set(settings, (known = new TagReader(settings, PARTY_ATTRIBUTES)));
    return known;
  }

  #seriesOf(r: RequestRecord, settings: TelemetrySettings["metrics"], values?: TagValues): RequestSeries {
    const labels = requestLabels(r);
    const of = (name: MetricName): Labels | undefined => overridden(settings, name, labels, values);
    const counts = (name: MetricName): Counter | undefined => withLabels(this.#counters[name], of(name));
    return {
      count: counts("REQUEST_COUNT"),
      duration: withLabels(this.#duration, of("REQUEST_DURATION")), requestBytes: withLabels(this.#requestBytes, of("REQUEST_SIZE")), responseBytes: withLabels(this.#responseBytes, of("RESPONSE_SIZE")),
      requestMessages: r.facts.grpc ? counts("GRPC_REQUEST_MESSAGES") : undefined, responseMessages: r.facts.grpc ? counts("GRPC_RESPONSE_MESSAGES") : undefined,
    };
  }

  /** A connection that is not HTTP. */
  connection(c: ConnectionFacts, destination: Workload | undefined, settings: TelemetrySettings["metrics"]): TcpCounters {
    const parties = partyLabels(c, destination);
    const values = hasExpressions(settings) ? this.#partyTagsOf(settings).values(c) : undefined;
    const seriesOf = (name: MetricName, flag: string): Counter | undefined => {
      const chosen = overridden(settings, name, { ...parties, request_protocol: "tcp", response_flags: flag }, values);
      return chosen === undefined ? undefined : this.#counters[name]?.with(chosen);
    };
    seriesOf("TCP_OPENED_CONNECTIONS", "-")?.inc();
    const received = seriesOf("TCP_RECEIVED_BYTES", "-");
    const sent = seriesOf("TCP_SENT_BYTES", "-");
    return { received: (n) => received?.inc(n), sent: (n) => sent?.inc(n), closed: (flag) => seriesOf("TCP_CLOSED_CONNECTIONS", flag)?.inc() };
  }
}
