// Owns what changes by the moment about destinations (requests under way, turns, ages) and turns a goal into one endpoint with it.
import { DEFAULT_TRAFFIC, formatSocketAddress, LOOPBACK_V4, type Backend, type Ip, type SessionPersistence, type SocketAddress, type TrafficSettings, type WorkloadUid } from "@ambit/core";
import type { Applied } from "@ambit/proxy/state";
import type { Clock } from "@ambit/runtime";
import type { ConnectionFacts } from "../facts.ts";
import type { UpstreamEndpoint } from "../http/options.ts";
import { HashTables } from "../plan/balance/hash.ts";
import type { SessionSeal } from "../plan/session.ts";
import { planUpstream, planWorkload, type UpstreamHints, type UpstreamPlan } from "../plan/upstream.ts";
import type { WaypointState } from "../state/waypoint-state.ts";

export type Goal = { readonly kind: "service"; readonly backend: Backend } | { readonly kind: "workload" };
export type EndpointPlan = Extract<UpstreamPlan, { kind: "endpoint" }>;

/** What of the client and its request the choice may look at. */
export interface ChoiceFacts {
  readonly connection: ConnectionFacts;
  readonly fields: readonly string[];
  /** Path and query. */
  readonly target: string;
  readonly excluded: ReadonlySet<string>;
  readonly session: SessionPersistence | undefined;
}

export interface DestinationsOptions {
  readonly state: WaypointState;
  readonly network: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly seal: SessionSeal;
  /** Addresses of endpoints that are known by name. */
  readonly hosts: () => ReadonlyMap<string, readonly Ip[]>;
  readonly ejected: (backend: Backend, uid: WorkloadUid) => boolean;
}

export class Destinations {
  readonly #o: DestinationsOptions;
  /** Counters stay while their workload does: entries that come and go with requests make garbage of the map. */
  readonly #active = new Map<WorkloadUid, { requests: number }>();
  readonly #turns = new Map<string, number>();
  /** Workloads that came after the first state: only those can be warming up. */
  readonly #since = new Map<WorkloadUid, number>();
  readonly #tables = new HashTables();
  readonly #stop: () => void;

  constructor(o: DestinationsOptions) {
    this.#o = o;
    this.#stop = o.state.mesh.onApplied((applied) => this.#onApplied(applied));
  }

  close(): void {
    this.#stop();
  }

  choose(goal: Goal, facts: ChoiceFacts): UpstreamPlan {
    const { state, random, network, hosts } = this.#o;
    const { connection } = facts;
    const config = state.config;
    if (goal.kind === "workload" || config === undefined) {
      if (connection.destination.kind !== "workload") throw new Error("defect: pod traffic without a pod");
      return planWorkload(connection.destination.workload, connection.address.port, { hosts: hosts(), network }, DEFAULT_TRAFFIC);
    }
    return planUpstream(state.view(), config, goal.backend, new Hints(this.#o, { goal: goal.backend, facts, tables: this.#tables, active: this.#activeOf, memberSince: this.#sinceOf, turn: this.#turnOf }), random);
  }

  readonly #activeOf = (uid: WorkloadUid): number => this.#active.get(uid)?.requests ?? 0;
  readonly #sinceOf = (uid: WorkloadUid): number | undefined => this.#since.get(uid);

  readonly #turnOf = ({ service, port, subset }: Backend): number => {
    const name = `${service} ${port} ${subset ?? ""}`;
    const turn = this.#turns.get(name) ?? 0;
    this.#turns.set(name, turn + 1);
    return turn;
  };

  /** For a request that the waypoint makes itself. */
  chooseOwn(backend: Backend): UpstreamPlan {
    const { state, clock, random, network, ejected, hosts } = this.#o;
    if (state.config === undefined) throw new Error("defect: a call before any configuration");
    return planUpstream(state.view(), state.config, backend, {
      client: undefined, network, ejected: (uid) => ejected(backend, uid), excluded: new Set(), tables: this.#tables, sourceIp: LOOPBACK_V4, fields: [], query: undefined, session: undefined, hosts: hosts(),
      active: this.#activeOf, memberSince: () => undefined, now: clock.now(), turn: 0,
    }, random);
  }

  /** A request or connection begins at this workload; call what comes back once, at its end. */
  begin(uid: WorkloadUid): () => void {
    let counter = this.#active.get(uid);
    if (counter === undefined) this.#active.set(uid, (counter = { requests: 0 }));
    counter.requests++;
    const counted = counter;
    return () => {
      counted.requests--;
      if (counted.requests === 0 && this.#o.state.view().workload(uid) === undefined) this.#active.delete(uid);
    };
  }

  #onApplied(applied: Applied): void {
    const view = this.#o.state.view();
    for (const uid of applied.workloads) {
      if (view.workload(uid) === undefined) {
        this.#since.delete(uid);
        if (this.#active.get(uid)?.requests === 0) this.#active.delete(uid);
      }
      else if (this.#o.state.config !== undefined && !this.#since.has(uid)) this.#since.set(uid, this.#o.clock.now());
    }
  }
}

interface Chosen { readonly goal: Backend; readonly facts: ChoiceFacts; readonly tables: HashTables; readonly active: UpstreamHints["active"]; readonly memberSince: UpstreamHints["memberSince"]; readonly turn: (backend: Backend) => number }

/** Of one choice. Few ways of choosing ask for more than the first line of it, so the rest is made when it is asked for. */
class Hints implements UpstreamHints {
  readonly active: UpstreamHints["active"];
  readonly memberSince: UpstreamHints["memberSince"];
  readonly reasons = false;
  readonly #o: DestinationsOptions;
  readonly #chosen: Chosen;

  constructor(o: DestinationsOptions, chosen: Chosen) {
    this.#o = o;
    this.#chosen = chosen;
    this.active = chosen.active;
    this.memberSince = chosen.memberSince;
  }

  get client(): UpstreamHints["client"] { return this.#chosen.facts.connection.sourceWorkload; }
  get network(): string { return this.#o.network; }
  get ejected(): UpstreamHints["ejected"] { return (uid) => this.#o.ejected(this.#chosen.goal, uid); }
  get excluded(): ReadonlySet<string> { return this.#chosen.facts.excluded; }
  get tables(): HashTables { return this.#chosen.tables; }
  get sourceIp(): Ip { return this.#chosen.facts.connection.source.ip; }
  get fields(): readonly string[] { return this.#chosen.facts.fields; }
  get query(): string | undefined { return queryOf(this.#chosen.facts.target); }
  get session(): UpstreamHints["session"] { return this.#chosen.facts.session === undefined ? undefined : { rule: this.#chosen.facts.session, seal: this.#o.seal }; }
  get hosts(): UpstreamHints["hosts"] { return this.#o.hosts(); }
  get now(): number { return this.#o.clock.now(); }
  /** Counts: asked for once. */
  get turn(): number { return this.#chosen.turn(this.#chosen.goal); }
}

/** How Istio names clusters. */
export const clusterName = (goal: Goal, plan: EndpointPlan): string =>
  goal.kind === "workload" || plan.service === undefined ? `inbound-vip|${plan.port}|tcp|${plan.workload.name}.${plan.workload.namespace}`
    : `inbound-vip|${goal.backend.port}|${goal.backend.subset ?? "http"}|${plan.service.hostname}`;

/** What HTTP needs of a chosen endpoint. Everything that makes two streams to it differ is in the key; a client only where the PROXY protocol tells it. */
export function httpEndpoint(goal: Goal, plan: EndpointPlan, protocol: "http1" | "http2", client: SocketAddress | undefined): UpstreamEndpoint {
  if (plan.settings.proxyProtocol !== undefined && client !== undefined) return makeEndpoint(goal, plan, protocol, client);
  const backend = goal.kind === "service" ? goal.backend : undefined;
  let known = endpointsOf.get(plan.hop);
  if (known === undefined) endpointsOf.set(plan.hop, (known = []));
  for (const k of known) if (k.settings === plan.settings && k.protocol === protocol && k.port === backend?.port && k.subset === backend?.subset && k.service === plan.service) return k.endpoint;
  const endpoint = makeEndpoint(goal, plan, protocol, client);
  if (known.length >= ENDPOINTS_MAX) known.length = 0;
  known.push({ settings: plan.settings, protocol, port: backend?.port, subset: backend?.subset, service: plan.service, endpoint });
  return endpoint;
}

interface KnownEndpoint {
  readonly settings: TrafficSettings; readonly protocol: "http1" | "http2"; readonly port: number | undefined; readonly subset: string | undefined;
  readonly service: EndpointPlan["service"]; readonly endpoint: UpstreamEndpoint;
}
/** Kept of one hop at most; then all are made again. */
const ENDPOINTS_MAX = 16;
/** Hops are the same objects from one request to the next (plan/upstream.ts), and so are settings. */
const endpointsOf = new WeakMap<EndpointPlan["hop"], KnownEndpoint[]>();

const queryOf = (target: string): string | undefined => {
  const mark = target.indexOf("?");
  return mark < 0 ? undefined : target.slice(mark + 1);
};

function makeEndpoint(goal: Goal, plan: EndpointPlan, protocol: "http1" | "http2", client: SocketAddress | undefined): UpstreamEndpoint {
  const { workload, settings, service, port, hop } = plan;
  const address = hop.kind === "tunnel" ? hop.target : hop.at;
  return {
    key: [workload.uid, port, hop.kind, protocol, service === undefined ? "" : `${service.namespace}/${service.hostname}`, goal.kind === "service" ? (goal.backend.subset ?? "") : "", tlsKey(settings), settings.proxyProtocol === undefined || client === undefined ? "" : formatSocketAddress(client)].join("|"),
    protocol: settings.pool.upgradeToHttp2 === true ? "http2" : protocol, scheme: settings.tls === undefined ? "http" : "https", cluster: clusterName(goal, plan),
    address, workload, service, pool: settings.pool, retryBudget: settings.retryBudget,
  };
}

const tlsKey = ({ tls }: TrafficSettings): string => (tls === undefined ? "" : JSON.stringify(tls));
