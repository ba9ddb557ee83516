// Owns the xDS server: who may open a stream, how many, and the fan-out of changes to all of them.
import { status, type Metadata, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Identity } from "@ambit/core";
import { errorText, withTimeout, type Clock, type Logger, type Metrics, type Timer } from "@ambit/runtime";
import { deltaMethod } from "../wire/method.ts";
import { ClientStream, type ClientStatus, type DeltaCall, type StreamHooks } from "./stream.ts";
import { ResourceTable, type ResourceSource } from "./source.ts";

export interface XdsBounds {
  /** Streams open at once, introduced or not. */
  readonly streamsMax: number;
  /** Resources per response. */
  readonly chunkResources: number;
  /** Bytes of resources per response; well under the 4 MiB that many gRPC clients accept. */
  readonly chunkBytes: number;
  /** A stream whose first request does not come within this is ended. */
  readonly firstRequestMs: number;
  /** Authentication (a token review at the API server) may take this long. */
  readonly authenticateMs: number;
  /** Each stream is told what it must hold this often, all of them spread over the time. */
  readonly auditMs: number;
  /** A client that comes back keeps what is not known here for this long: longer than one replica lags behind another, shorter than a dead endpoint may be found. */
  readonly doubtMs: number;
}

/** One proxy per node and some waypoints; chunks of 500 decode in a few milliseconds at the other end. */
export const DEFAULT_XDS_BOUNDS: XdsBounds = {
  streamsMax: 4_096, chunkResources: 500, chunkBytes: 2 * 1024 * 1024, firstRequestMs: 30_000, authenticateMs: 10_000, auditMs: 30_000, doubtMs: 1_500,
};

/** In this many steps an audit goes round all streams. */
const AUDIT_STEPS = 30;

/** `unavailable`: the question could not be answered now (the client should retry), as opposed to answered with no. */
export type Authenticated = { readonly identity: Identity } | { readonly error: string; readonly unavailable?: boolean };

export interface XdsServerOptions {
  /** In push order: what others refer to (policies) before what refers to it (workloads). */
  readonly sources: readonly ResourceSource[];
  /** The error text goes to the log; the client sees a constant. */
  authenticate(metadata: Metadata): Promise<Authenticated>;
  /** False while caches are not synced: streams are refused as Unavailable. Default: always. */
  readonly ready?: () => boolean;
  /** False while what is served may be old (the API server is away): returning clients then keep what is not known here. Default: always. */
  readonly fresh?: () => boolean;
  readonly log: Logger;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly bounds?: Partial<XdsBounds>;
  /** Shown to clients as control_plane.identifier. */
  readonly controlPlane?: string;
}

export interface XdsServer {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
  /** Connected proxies, sorted by id. */
  clients(): ClientStatus[];
  /** Ends every stream cleanly and refuses new ones. */
  close(): void;
}

export function createXdsServer(o: XdsServerOptions): XdsServer {
  return new Registry(o).server();
}

class Registry {
  readonly #o: XdsServerOptions;
  readonly #bounds: XdsBounds;
  readonly #tables: readonly ResourceTable[];
  readonly #streams = new Set<ClientStream>();
  readonly #hooks: StreamHooks;
  readonly #auditing: Timer;
  #auditStep = 0;
  #pending = 0;
  #closed = false;

  constructor(o: XdsServerOptions) {
    this.#o = o;
    this.#bounds = { ...DEFAULT_XDS_BOUNDS, ...o.bounds };
    this.#tables = o.sources.map((s) => new ResourceTable(s));
    for (const table of this.#tables)
      table.onChange((names) => {
        for (const stream of this.#streams) stream.changed(table, names);
      });
    this.#hooks = this.#makeHooks();
    this.#auditing = o.clock.every(this.#bounds.auditMs / AUDIT_STEPS, () => this.#audit());
  }

  /** A few streams at a time, so that a thousand of them are not written to in one turn. */
  #audit(): void {
    this.#auditStep = (this.#auditStep + 1) % AUDIT_STEPS;
    let i = 0;
    for (const stream of this.#streams) if (i++ % AUDIT_STEPS === this.#auditStep) stream.audit();
  }

  server(): XdsServer {
    return {
      definition: { deltaAggregatedResources: deltaMethod },
      implementation: { deltaAggregatedResources: (call: DeltaCall) => this.#accept(call) },
      clients: () => [...this.#streams].flatMap((s) => s.status() ?? []).sort((a, b) => (a.proxyId < b.proxyId ? -1 : 1)),
      close: () => {
        this.#closed = true;
        this.#auditing.cancel();
        for (const stream of this.#streams) stream.end(status.OK, "the server is closing");
        for (const table of this.#tables) table.close();
      },
    };
  }

  #accept(call: DeltaCall): void {
    // Set before anything can go wrong: an unheard stream error would be the process's.
    call.on("error", () => undefined);
    if (this.#closed || this.#o.ready?.() === false) return refuse(call, status.UNAVAILABLE, "the control plane is not ready");
    if (this.#streams.size + this.#pending >= this.#bounds.streamsMax) {
      this.#o.log.warn("stream refused: too many", { max: this.#bounds.streamsMax, peer: call.getPeer() });
      return refuse(call, status.RESOURCE_EXHAUSTED, `more than ${this.#bounds.streamsMax} streams`);
    }
    this.#pending++;
    void this.#authenticate(call).then((identity) => {
      this.#pending--;
      if (identity !== undefined && !call.cancelled) this.#serve(call, identity);
    });
  }

  async #authenticate(call: DeltaCall): Promise<Identity | undefined> {
    const { clock, log } = this.#o;
    const limit = this.#bounds.authenticateMs;
    let answer: Authenticated;
    try {
      answer = await withTimeout(clock, limit, this.#o.authenticate(call.metadata), () => new Error(`no answer within ${limit} ms`));
    } catch (error) {
      answer = { error: errorText(error), unavailable: true };
    }
    if ("identity" in answer) return answer.identity;
    log.warn("stream not authenticated", { peer: call.getPeer(), error: answer.error });
    if (answer.unavailable === true) refuse(call, status.UNAVAILABLE, "authentication is not available");
    else refuse(call, status.UNAUTHENTICATED, "authentication failure");
    return undefined;
  }

  #serve(call: DeltaCall, identity: Identity): void {
    const { clock } = this.#o;
    const stream = new ClientStream({ call, identity, tables: this.#tables, hooks: this.#hooks, clock });
    this.#streams.add(stream);
    const timer = clock.after(this.#bounds.firstRequestMs, () => {
      if (!stream.introduced) stream.end(status.DEADLINE_EXCEEDED, `no request within ${this.#bounds.firstRequestMs} ms`);
    });
    const leave = () => {
      timer.cancel();
      stream.gone();
      if (this.#streams.delete(stream)) this.#connected.set(this.#streams.size);
    };
    call.on("data", (req) => stream.request(req));
    call.on("end", () => {
      stream.end(status.OK, "");
      leave();
    });
    for (const event of ["cancelled", "close", "error"]) call.on(event, leave);
    this.#connected.set(this.#streams.size);
    if (this.#closed) stream.end(status.OK, "");
  }

  get #connected() {
    return this.#o.metrics.gauge("pilot_xds", "Open xDS streams.").with({});
  }

  #makeHooks(): StreamHooks {
    const { metrics, log } = this.#o;
    const pushes = metrics.counter("pilot_xds_pushes", "Responses sent, by resource type.");
    const sent = metrics.counter("pilot_xds_resources", "Resources sent, by resource type and kind of change.");
    const rejects = metrics.counter("pilot_total_xds_rejects", "Responses that a proxy refused, by resource type.");
    return {
      log,
      limits: { resources: this.#bounds.chunkResources, bytes: this.#bounds.chunkBytes },
      controlPlane: this.#o.controlPlane ?? "ambit-istiod-lite",
      doubtMs: this.#bounds.doubtMs,
      fresh: () => this.#o.fresh?.() ?? true,
      pushed: (type, resources, removed) => {
        pushes.with({ type }).inc();
        sent.with({ type, change: "upsert" }).inc(resources);
        sent.with({ type, change: "remove" }).inc(removed);
      },
      rejected: (type) => rejects.with({ type }).inc(),
    };
  }
}

function refuse(call: DeltaCall, code: status, details: string): void {
  call.emit("error", Object.assign(new Error(details), { code, details }));
}
