// Owns what changes by the moment about destinations (requests under way, turns, ages) and turns a goal into one endpoint with it.
import { DEFAULT_TRAFFIC, LOOPBACK_V4, type Backend, type Ip, type SessionPersistence, type SocketAddress, type Workload, type WorkloadUid } from "@ambit/core";
import type { Applied } from "@ambit/proxy/state";
import type { Clock } from "@ambit/runtime";
import type { ConnectionFacts } from "../facts.ts";
import { HashTables } from "../plan/balance/hash.ts";
import type { Goal } from "../plan/connection-plan.ts";
import type { SessionSeal } from "../plan/session.ts";
import { planUpstream, planWorkload, type EndpointPlan, type UpstreamHints, type UpstreamPlan } from "../plan/upstream.ts";
import type { WaypointState } from "../state/waypoint-state.ts";
import { PlannedEndpoints, type Load, type PlannedEndpoint } from "./planned-endpoint.ts";

export { clusterName } from "./planned-endpoint.ts";
export type { EndpointPlan, Goal };

/** What of the client and its request the choice may look at. */
export interface ChoiceFacts {
  readonly connection: ConnectionFacts;
  readonly fields: readonly string[];
  /** Path and query. */
  readonly target: string;
}

const NONE_TRIED: ReadonlySet<string> = new Set();

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
  readonly #active = new Map<WorkloadUid, Load>();
  readonly #endpoints = new PlannedEndpoints((workload) => this.#loadOf(workload));
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

  /** `excluded`: where this request has been already. */
  choose(goal: Goal, facts: ChoiceFacts, excluded = NONE_TRIED, session?: SessionPersistence): UpstreamPlan {
    const { state, random, network, hosts } = this.#o;
    const config = state.config;
    if (goal.kind === "workload" || config === undefined) {
      const { connection } = facts;
      if (connection.destination.kind !== "workload") throw new Error("defect: pod traffic without a pod");
      return planWorkload(connection.destination.workload, connection.address.port, { hosts: hosts(), network }, DEFAULT_TRAFFIC);
    }
    return planUpstream(state.view(), config, goal.backend, new Hints(this.#o, this.#moving, goal.backend, facts, excluded, session), random);
  }

  /** What HTTP needs of it. */
  endpoint(goal: Goal, plan: EndpointPlan, protocol: "http1" | "http2", client: SocketAddress | undefined): PlannedEndpoint {
    return this.#endpoints.of(goal, plan, protocol, client);
  }

  /** A request begins there: `end` once, when it is over. */
  begin({ load }: PlannedEndpoint): void {
    load.requests++;
  }

  end({ load, workload }: PlannedEndpoint): void {
    this.#end(load, workload.uid);
  }

  readonly #activeOf = (uid: WorkloadUid): number => this.#active.get(uid)?.requests ?? 0;
  readonly #sinceOf = (uid: WorkloadUid): number | undefined => this.#since.get(uid);

  readonly #turnOf = ({ service, port, subset }: Backend): number => {
    const name = `${service} ${port} ${subset ?? ""}`;
    const turn = this.#turns.get(name) ?? 0;
    this.#turns.set(name, turn + 1);
    return turn;
  };

  readonly #moving: Moving = { tables: this.#tables, active: this.#activeOf, memberSince: this.#sinceOf, turn: this.#turnOf };

  /** For a request that the waypoint makes itself. */
  chooseOwn(backend: Backend): UpstreamPlan {
    const { state, clock, random, network, ejected, hosts } = this.#o;
    if (state.config === undefined) throw new Error("defect: a call before any configuration");
    return planUpstream(state.view(), state.config, backend, {
      client: undefined, network, ejected: (uid) => ejected(backend, uid), excluded: NONE_TRIED, tables: this.#tables, sourceIp: LOOPBACK_V4, fields: [], query: undefined, session: undefined, hosts: hosts(),
      active: this.#activeOf, memberSince: () => undefined, now: clock.now(), turn: 0,
    }, random);
  }

  /** A connection begins at this workload; call what comes back once, at its end. */
  beginConnection(workload: Workload): () => void {
    const load = this.#loadOf(workload);
    load.requests++;
    return () => this.#end(load, workload.uid);
  }

  #loadOf({ uid }: Workload): Load {
    let load = this.#active.get(uid);
    if (load === undefined) this.#active.set(uid, (load = { requests: 0 }));
    return load;
  }

  #end(load: Load, uid: WorkloadUid): void {
    load.requests--;
    if (load.requests === 0 && this.#o.state.view().workload(uid) === undefined && this.#active.get(uid) === load) this.#active.delete(uid);
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

interface Moving { readonly tables: HashTables; readonly active: UpstreamHints["active"]; readonly memberSince: UpstreamHints["memberSince"]; readonly turn: (backend: Backend) => number }

/** Of one choice. Few ways of choosing ask for more than the first lines of it, so the rest is made when it is asked for. */
class Hints implements UpstreamHints {
  readonly active: UpstreamHints["active"];
  readonly memberSince: UpstreamHints["memberSince"];
  readonly excluded: ReadonlySet<string>;
  readonly reasons = false;
  readonly #o: DestinationsOptions;
  readonly #moving: Moving;
  readonly #goal: Backend;
  readonly #facts: ChoiceFacts;
  readonly #session: SessionPersistence | undefined;

  constructor(o: DestinationsOptions, moving: Moving, goal: Backend, facts: ChoiceFacts, excluded: ReadonlySet<string>, session: SessionPersistence | undefined) {
    this.active = moving.active;
    this.memberSince = moving.memberSince;
    this.excluded = excluded;
    this.#o = o;
    this.#moving = moving;
    this.#goal = goal;
    this.#facts = facts;
    this.#session = session;
  }

  get client(): UpstreamHints["client"] { return this.#facts.connection.sourceWorkload; }
  get network(): string { return this.#o.network; }
  get ejected(): UpstreamHints["ejected"] { return (uid) => this.#o.ejected(this.#goal, uid); }
  get tables(): HashTables { return this.#moving.tables; }
  get sourceIp(): Ip { return this.#facts.connection.source.ip; }
  get fields(): readonly string[] { return this.#facts.fields; }
  get query(): string | undefined { return queryOf(this.#facts.target); }
  get session(): UpstreamHints["session"] { return this.#session === undefined ? undefined : { rule: this.#session, seal: this.#o.seal }; }
  get hosts(): UpstreamHints["hosts"] { return this.#o.hosts(); }
  get now(): number { return this.#o.clock.now(); }
  /** Counts: asked for once. */
  get turn(): number { return this.#moving.turn(this.#goal); }
}

const queryOf = (target: string): string | undefined => {
  const mark = target.indexOf("?");
  return mark < 0 ? undefined : target.slice(mark + 1);
};
