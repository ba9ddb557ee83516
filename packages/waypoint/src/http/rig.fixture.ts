// Owns what the tests of serving HTTP share: a listener that serves through a plan of the test's own, upstreams on loopback, and the end of everything.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import type { Identity, Ip, Service, SocketAddress } from "@ambit/core";
import { systemClock } from "@ambit/runtime";
import { fromSocket, type ByteStream } from "@ambit/transport";
import type { ConnectionFacts, PortProtocol, RequestFacts } from "../facts.ts";
import type { RequestPlan } from "../plan/request-plan.ts";
import type { AttemptOutcome, ForwardPlan, HttpOptions, HttpSession, RequestRecord, Served, UpstreamEndpoint } from "./options.ts";
import { serveHttp } from "./serve.ts";
import { createHttpUpstreams } from "./upstream/http-upstreams.ts";
import type { HttpUpstreams } from "./upstream/upstreams.ts";

const identity: Identity = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "client" };
export const address = (port: number): SocketAddress => ({ ip: "127.0.0.1" as Ip, port });
const service: Service = {
  name: "web", namespace: "shop", hostname: "web.shop.svc.cluster.local", vips: [], subjectAltNames: [], waypoint: undefined, weightedWaypoints: [], loadBalancing: undefined,
  ipFamilies: "automatic", canonical: true, visibility: "public", ports: new Map(),
};
export const connectionFacts: ConnectionFacts = { id: "c1", peer: identity, source: address(40_000), sourceWorkload: undefined, destination: { kind: "service", service }, address: address(80) };

export const POOL: UpstreamEndpoint["pool"] = { maxConnections: undefined, connectTimeoutMs: 2000, maxPendingRequests: undefined, maxRequests: undefined, maxRequestsPerConnection: undefined,
  maxRetries: undefined, idleTimeoutMs: 60_000, upgradeToHttp2: undefined };

export const endpointAt = (port: number, more: Partial<UpstreamEndpoint> = {}): UpstreamEndpoint => ({
  key: `${port}/${more.protocol ?? "http1"}`, protocol: "http1", scheme: "http", cluster: "outbound|80||web", address: address(port), workload: undefined, service, pool: POOL,
  retryBudget: undefined, ...more,
});

/** Everything passes as it is. */
export function forwardPlan(facts: RequestFacts, more: Partial<ForwardPlan> = {}): ForwardPlan {
  return {
    kind: "forward", origin: undefined, to: { kind: "service", backend: { service: "shop/web.shop.svc.cluster.local", port: 80, subset: undefined } },
    head: { method: facts.method, authority: facts.authority, target: facts.target, fields: facts.fields }, answer: [], cors: undefined,
    timeouts: { requestMs: undefined, attemptMs: undefined, deadline: false }, retry: { retries: 0, on: [], statuses: [], backoffMs: 1, backoffMaxMs: 5 }, mirrors: [], delayMs: 0, session: undefined,
    remarks: [], because: [], ...more,
  };
}

export interface RigOptions extends Partial<Omit<HttpOptions, "upstreams" | "plan">> {
  readonly plan?: (facts: RequestFacts) => RequestPlan;
  readonly endpoint?: () => UpstreamEndpoint;
  readonly open?: (endpoint: UpstreamEndpoint, signal: AbortSignal) => Promise<ByteStream>;
  readonly protocol?: PortProtocol;
}

export class Rig {
  readonly records: RequestRecord[] = [];
  readonly outcomes: AttemptOutcome[] = [];
  readonly sessions = new Set<HttpSession>();
  readonly served: Served[] = [];
  readonly upstreams: HttpUpstreams;
  readonly options: HttpOptions;
  opened = 0;
  port = 0;
  readonly #protocol: PortProtocol;
  readonly #sockets = new Set<net.Socket>();
  readonly #serving = new Set<net.Socket>();
  #octetsRead = 0;
  readonly #listeners: net.Server[] = [];
  #waits: { readonly met: () => boolean; readonly resolve: () => void }[] = [];

  constructor(o: RigOptions = {}) {
    this.#protocol = o.protocol ?? "http1";
    this.upstreams = createHttpUpstreams({ clock: systemClock, open: (endpoint, signal) => { this.opened++; return (o.open ?? ((e) => this.dial(e.address.port)))(endpoint, signal); } });
    this.options = {
      clock: systemClock, random: () => 0.5, upstreams: this.upstreams, plan: o.plan ?? forwardPlan, satisfy: async (_need, facts) => facts,
      choose: () => ({ kind: "endpoint", endpoint: (o.endpoint ?? (() => endpointAt(1)))(), answer: [] }), retryable: () => false,
      onOutcome: (outcome) => { this.outcomes.push(outcome); this.#check(); }, onRequest: (record) => { this.records.push(record); this.#check(); }, ...without(o),
    };
  }

  async start(): Promise<this> {
    this.port = await this.listen((socket) => {
      this.#serving.add(socket);
      socket.on("close", () => { this.#serving.delete(socket); this.#octetsRead += socket.bytesRead; });
      const session = serveHttp(fromSocket(socket), connectionFacts, this.#protocol, this.options);
      this.sessions.add(session);
      void session.done.then((served) => {
        this.sessions.delete(session);
        this.served.push(served);
        this.#check();
      });
    });
    return this;
  }

  async listen(onSocket: (socket: net.Socket) => void): Promise<number> {
    const listener = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.#track(socket);
      onSocket(socket);
    });
    this.#listeners.push(listener);
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    return (listener.address() as net.AddressInfo).port;
  }

  async dial(port: number): Promise<ByteStream> {
    const socket = this.socket(port);
    await once(socket, "connect");
    return fromSocket(socket);
  }

  /** A client of the test's own. */
  socket(port = this.port): net.Socket {
    const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    this.#track(socket);
    return socket;
  }

  /** What clients sent and we have read. */
  get octetsRead(): number { return [...this.#serving].reduce((sum, socket) => sum + socket.bytesRead, this.#octetsRead); }

  until(met: (rig: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waits.push({ met: () => met(this), resolve });
      this.#check();
    });
  }

  async end(): Promise<void> {
    for (const session of this.sessions) session.destroy(new Error("test over"));
    const drained = this.upstreams.drain(0);
    for (const socket of this.#sockets) socket.destroy();
    await drained;
    await Promise.all(this.#listeners.map((l) => new Promise((resolve) => l.close(resolve))));
  }

  #track(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => { this.#sockets.delete(socket); this.#check(); });
    socket.on("error", () => {});
  }

  #check(): void {
    const met = this.#waits.filter((w) => w.met());
    this.#waits = this.#waits.filter((w) => !met.includes(w));
    for (const wait of met) wait.resolve();
  }
}

function without(o: RigOptions): Partial<HttpOptions> {
  const { plan: _plan, endpoint: _endpoint, open: _open, protocol: _protocol, ...rest } = o;
  return rest;
}

/** What a socket receives until it matches, or until its end. */
export async function received(socket: net.Socket, until?: RegExp): Promise<string> {
  let text = "";
  for await (const piece of socket) {
    text += (piece as Buffer).toString("latin1");
    if (until?.test(text) === true) break;
  }
  return text;
}

/** What `met` waits for at most. */
const WAIT_MS = 4000;

/** Waits until it is so; fails rather than spin for ever. */
export async function met(what: () => boolean): Promise<void> {
  for (const end = Date.now() + WAIT_MS; !what(); await new Promise((resolve) => setTimeout(resolve, 1))) assert.ok(Date.now() < end, `never: ${what.toString()}`);
}
