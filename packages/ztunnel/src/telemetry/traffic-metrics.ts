// Owns the metric families of ztunnel and the labels of a connection. Names and labels are Istio's.
import { formatIdentity, type Flag, type Identity, type PolicyKey, type Service, type Workload } from "@ambit/core";
import type { Baggage } from "@ambit/hbone";
import type { Counter, Gauge, Labels, Metrics } from "@ambit/runtime";
import { RecentParties } from "./recent-parties.ts";

export type Reporter = "source" | "destination";

/** What is known of one connection, for labels and for its access line. */
export interface Parties {
  readonly reporter: Reporter;
  readonly source: Workload | undefined;
  readonly sourceIdentity: Identity | undefined;
  readonly destination: Workload | undefined;
  readonly destinationIdentity: Identity | undefined;
  readonly service: Service | undefined;
  readonly mutualTls: boolean;
  /** What a source that we do not know says about itself. */
  readonly sourceClaims?: Baggage | undefined;
  /** What a destination beyond a network gateway says about itself: it stands for the gateway then. */
  readonly destinationClaims?: Baggage | undefined;
}

/** One side of a connection, from the control plane or, without, from its own words. */
interface Side { readonly workload: string; readonly app: string; readonly version: string; readonly namespace: string; readonly cluster: string; readonly region: string; readonly zone: string }

const known = (w: Workload): Side => ({ workload: w.workloadName, app: w.canonicalName, version: w.canonicalRevision, namespace: w.namespace, cluster: w.clusterId, region: w.locality.region, zone: w.locality.zone });

/** Claims are made by a peer that proved its identity: the namespace is that of the proof, whatever it claims. */
const claimed = (b: Baggage, proved: Identity | undefined): Side => ({
  workload: b.workload?.name ?? "", app: b.service ?? "", version: b.version ?? "", namespace: proved?.namespace ?? b.namespace ?? "", cluster: b.cluster ?? "", region: b.region ?? "", zone: b.zone ?? "",
});

const sourceOf = (p: Parties): Side | undefined =>
  p.source !== undefined ? known(p.source) : p.sourceClaims === undefined ? undefined : claimed(p.sourceClaims, p.sourceIdentity);
const destinationOf = (p: Parties): Side | undefined =>
  p.destinationClaims !== undefined ? claimed(p.destinationClaims, p.destinationIdentity) : p.destination === undefined ? undefined : known(p.destination);

const UNKNOWN = "unknown";
const or = (value: string | undefined): string => (value === undefined || value === "" ? UNKNOWN : value);
const uri = (id: Identity | undefined): string => (id === undefined ? UNKNOWN : formatIdentity(id));

export function trafficLabels(p: Parties, flag: Flag): Labels {
  const [s, d] = [sourceOf(p), destinationOf(p)];
  return {
    reporter: p.reporter,
    source_workload: or(s?.workload), source_canonical_service: or(s?.app), source_canonical_revision: or(s?.version),
    source_workload_namespace: or(s?.namespace), source_principal: uri(p.sourceIdentity), source_app: or(s?.app),
    source_version: or(s?.version), source_cluster: or(s?.cluster),
    destination_service: or(p.service?.hostname), destination_service_namespace: or(p.service?.namespace), destination_service_name: or(p.service?.name),
    destination_workload: or(d?.workload), destination_canonical_service: or(d?.app), destination_canonical_revision: or(d?.version),
    destination_workload_namespace: or(d?.namespace), destination_principal: uri(p.destinationIdentity), destination_app: or(d?.app),
    destination_version: or(d?.version), destination_cluster: or(d?.cluster),
    request_protocol: "tcp", response_flags: flag, connection_security_policy: p.mutualTls ? "mutual_tls" : UNKNOWN,
    ...place("source", s), ...place("destination", d),
  };
}

function place(which: Reporter, side: Side | undefined): Labels {
  return {
    ...(side === undefined || side.region === "" ? {} : { [`${which}_region`]: side.region }),
    ...(side === undefined || side.zone === "" ? {} : { [`${which}_zone`]: side.zone }),
  };
}

/** Seconds; a cache answers in the first, a resolution across the world in the last. */
const DNS_BUCKETS_S: readonly number[] = [0.0005, 0.001, 0.01, 0.1, 1, 5];

const dnsLabels = (type: string, protocol: string, source: Workload | undefined): Labels =>
  ({ request_query_type: type, request_protocol: protocol, source_canonical_service: or(source?.canonicalName), source_canonical_revision: or(source?.canonicalRevision) });

/** The handles of one connection: resolved once, then only incremented. */
export interface TrafficCounters {
  readonly opened: Counter;
  readonly closed: Counter;
  readonly received: Counter;
  readonly sent: Counter;
}

/** One for all sockets: each disposes of it once. */
const closing = (gauge: Gauge): Disposable & { readonly gauge: Gauge } => ({ gauge, [Symbol.dispose]: () => gauge.add(-1) });

export class TrafficMetrics {
  readonly #recent = new RecentParties<TrafficCounters>();
  readonly #opened; readonly #closed; readonly #failed; readonly #received; readonly #sent; readonly #sourceSockets; readonly #destinationSockets;
  readonly #onDemandDns; readonly xdsTerminations; readonly xdsMessages; readonly xdsBytes;
  readonly #revoked; readonly #trials;
  readonly #dnsRequests; readonly #dnsUpstream; readonly #dnsFailures; readonly #dnsDuration;
  readonly activeProxies; readonly pendingProxies; readonly proxiesStarted; readonly proxiesStopped;

  constructor(m: Metrics) {
    this.#opened = m.counter("istio_tcp_connections_opened_total", "Connections opened.");
    this.#closed = m.counter("istio_tcp_connections_closed_total", "Connections closed.");
    this.#failed = m.counter("istio_tcp_connections_failed_total", "Connections that failed before any byte was forwarded.");
    this.#received = m.counter("istio_tcp_received_bytes_total", "Bytes from the client towards the server.");
    this.#sent = m.counter("istio_tcp_sent_bytes_total", "Bytes from the server towards the client.");
    const sockets = m.gauge("istio_tcp_sockets_open", "Open sockets of user connections.");
    this.#sourceSockets = closing(sockets.with({ reporter: "source" }));
    this.#destinationSockets = closing(sockets.with({ reporter: "destination" }));
    this.#onDemandDns = m.counter("istio_on_demand_dns_total", "Connections that needed the addresses of a hostname.");
    this.#revoked = m.counter("istio_crl_policy_rejections_total", "Peers refused or cut because their certificate is revoked.");
    this.#trials = m.counter("ambit_authz_dry_run_total", "Connections that a policy on trial would have allowed or denied.");
    this.xdsTerminations = m.counter("istio_xds_connection_terminations_total", "Ended control plane streams.");
    this.xdsMessages = m.counter("istio_xds_message_total", "Pushes received.");
    this.xdsBytes = m.counter("istio_xds_message_bytes_total", "Resource bytes received.");
    this.#dnsRequests = m.counter("istio_dns_requests_total", "DNS questions of pods.");
    this.#dnsUpstream = m.counter("istio_dns_upstream_requests_total", "DNS questions handed to a name server.");
    this.#dnsFailures = m.counter("istio_dns_upstream_failures_total", "DNS questions that no name server answered.");
    this.#dnsDuration = m.histogram("istio_dns_upstream_request_duration_seconds", "Time a name server took.", DNS_BUCKETS_S);
    this.activeProxies = m.gauge("workload_manager_active_proxy_count", "Pods that are served.").with({});
    this.pendingProxies = m.gauge("workload_manager_pending_proxy_count", "Pods that could not be served yet.").with({});
    this.proxiesStarted = m.counter("workload_manager_proxies_started_total", "Pod proxies started.").with({});
    this.proxiesStopped = m.counter("workload_manager_proxies_stopped_total", "Pod proxies stopped.").with({});
    m.gauge("istio_build", "Component and version.").with({ component: "ztunnel", tag: "ambit" }).set(1);
  }

  open(p: Parties): TrafficCounters {
    const counters = this.#recent.of(p, () => {
      const labels = trafficLabels(p, "-");
      return { opened: this.#opened.with(labels), closed: this.#closed.with(labels), received: this.#received.with(labels), sent: this.#sent.with(labels) };
    });
    counters.opened.inc();
    return counters;
  }

  /** With another flag than `-` it also counts as failed. */
  close(p: Parties, counters: TrafficCounters, flag: Flag): void {
    if (flag === "-") return counters.closed.inc();
    const labels = trafficLabels(p, flag);
    this.#closed.with(labels).inc();
    this.#failed.with(labels).inc();
  }

  /** From accept to the end of the connection. */
  socket(reporter: Reporter): Disposable {
    const open = reporter === "source" ? this.#sourceSockets : this.#destinationSockets;
    open.gauge.add(1);
    return open;
  }

  trial(policy: PolicyKey, action: "allow" | "deny"): void {
    this.#trials.with({ policy, action }).inc();
  }

  revoked(reporter: Reporter): void {
    this.#revoked.with({ reporter }).inc();
  }

  onDemandDns(source: Workload | undefined, hostname: string): void {
    this.#onDemandDns.with({
      source_workload: or(source?.workloadName), source_canonical_service: or(source?.canonicalName), source_canonical_revision: or(source?.canonicalRevision),
      source_workload_namespace: or(source?.namespace), source_principal: uri(source?.identity), source_app: or(source?.canonicalName),
      source_version: or(source?.canonicalRevision), source_cluster: or(source?.clusterId), hostname,
    }).inc();
  }

  request(type: string, protocol: "udp" | "tcp", source: Workload | undefined): Counter {
    return this.#dnsRequests.with(dnsLabels(type, protocol, source));
  }

  upstream(type: string, protocol: "udp" | "tcp", source: Workload | undefined): { readonly asked: Counter; readonly failed: Counter; took(seconds: number): void } {
    const labels = dnsLabels(type, protocol, source);
    const duration = this.#dnsDuration.with(labels);
    return { asked: this.#dnsUpstream.with(labels), failed: this.#dnsFailures.with(labels), took: (seconds) => duration.observe(seconds) };
  }
}
