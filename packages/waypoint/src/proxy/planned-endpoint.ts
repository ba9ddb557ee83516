// Owns what HTTP needs of a chosen endpoint: made once for each way of going there, and met again by every request that goes it.
import { formatSocketAddress, type Backend, type ConnectionPool, type RetryBudget, type Service, type SocketAddress, type TrafficSettings, type Workload } from "@ambit/core";
import type { UpstreamChoice, UpstreamEndpoint } from "../http/options.ts";
import type { Goal } from "../plan/connection-plan.ts";
import type { EndpointPlan } from "../plan/upstream.ts";

/** Requests and connections under way at one workload. */
export interface Load { requests: number }

export class PlannedEndpoint implements UpstreamEndpoint {
  readonly key: string;
  readonly protocol: "http1" | "http2";
  readonly scheme: "http" | "https";
  readonly cluster: string;
  readonly address: SocketAddress;
  readonly workload: Workload;
  readonly service: Service | undefined;
  readonly pool: ConnectionPool;
  readonly retryBudget: RetryBudget | undefined;
  readonly plan: EndpointPlan;
  readonly goal: Goal;
  /** Only where the PROXY protocol tells it. */
  readonly client: SocketAddress | undefined;
  readonly load: Load;
  /** Where nothing is to be added to the answer. */
  readonly choice: UpstreamChoice;

  constructor(goal: Goal, plan: EndpointPlan, protocol: "http1" | "http2", client: SocketAddress | undefined, load: Load) {
    const { workload, settings, service, port, hop } = plan;
    this.key = [workload.uid, port, hop.kind, protocol, service === undefined ? "" : `${service.namespace}/${service.hostname}`, goal.kind === "service" ? (goal.backend.subset ?? "") : "", tlsKey(settings), client === undefined ? "" : formatSocketAddress(client)].join("|");
    this.protocol = settings.pool.upgradeToHttp2 === true ? "http2" : protocol;
    this.scheme = settings.tls === undefined ? "http" : "https";
    this.cluster = clusterName(goal, plan);
    this.address = hop.kind === "tunnel" ? hop.target : hop.at;
    this.workload = workload;
    this.service = service;
    this.pool = settings.pool;
    this.retryBudget = settings.retryBudget;
    this.plan = plan;
    this.goal = goal;
    this.client = client;
    this.load = load;
    this.choice = { kind: "endpoint", endpoint: this, answer: [] };
  }
}

const tlsKey = ({ tls }: TrafficSettings): string => (tls === undefined ? "" : JSON.stringify(tls));

/** How Istio names clusters. */
export const clusterName = (goal: Goal, plan: EndpointPlan): string =>
  goal.kind === "workload" || plan.service === undefined ? `inbound-vip|${plan.port}|tcp|${plan.workload.name}.${plan.workload.namespace}`
    : `inbound-vip|${goal.backend.port}|${goal.backend.subset ?? "http"}|${plan.service.hostname}`;

/** Kept of one hop at most; then all are made again. */
const ENDPOINTS_MAX = 16;

export class PlannedEndpoints {
  readonly #loadOf: (workload: Workload) => Load;
  /** Hops are the same objects from one request to the next (plan/upstream.ts), and so are settings. */
  readonly #known = new WeakMap<EndpointPlan["hop"], PlannedEndpoint[]>();

  constructor(loadOf: (workload: Workload) => Load) {
    this.#loadOf = loadOf;
  }

  /** Everything that makes two streams to it differ is in the key; a client only where the PROXY protocol tells it. */
  of(goal: Goal, plan: EndpointPlan, asked: "http1" | "http2", client: SocketAddress | undefined): PlannedEndpoint {
    if (plan.settings.proxyProtocol !== undefined && client !== undefined) return new PlannedEndpoint(goal, plan, asked, client, this.#loadOf(plan.workload));
    const backend = goal.kind === "service" ? goal.backend : undefined;
    const protocol = plan.settings.pool.upgradeToHttp2 === true ? "http2" : asked;
    let known = this.#known.get(plan.hop);
    if (known === undefined) this.#known.set(plan.hop, (known = []));
    for (const k of known) if (k.plan.settings === plan.settings && k.protocol === protocol && k.plan.service === plan.service && sameBackend(k.goal.kind === "service" ? k.goal.backend : undefined, backend)) return k;
    const endpoint = new PlannedEndpoint(goal, plan, protocol, undefined, this.#loadOf(plan.workload));
    if (known.length >= ENDPOINTS_MAX) known.length = 0;
    known.push(endpoint);
    return endpoint;
  }
}

const sameBackend = (a: Backend | undefined, b: Backend | undefined): boolean => a === b || (a !== undefined && b !== undefined && a.port === b.port && a.subset === b.subset && a.service === b.service);
