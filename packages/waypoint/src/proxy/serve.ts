// Owns what becomes of an accepted tunnel stream: HTTP where the port speaks it, TCP otherwise, and the way from one to the other.
import type { Backend } from "@ambit/core";
import type { TunnelRequest } from "@ambit/hbone";
import { errorText, type Timer } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { ConnectionFacts, PortProtocol } from "../facts.ts";
import { serveHttp } from "../http/serve.ts";
import type { HttpOptions, HttpSession, UpstreamChoice, UpstreamEndpoint } from "../http/options.ts";
import { createHttpUpstreams } from "../http/upstream/http-upstreams.ts";
import type { HttpUpstreams } from "../http/upstream/upstreams.ts";
import { choosePortProtocol } from "../plan/tcp.ts";
import { createCall, type Call } from "./call.ts";
import { choiceOf, ClientConnection, refusal, type ClientConnectionOptions } from "./client-connection.ts";
import type { Goal } from "./destinations.ts";
import { peekHello } from "./peek-hello.ts";
import { PlannedEndpoint } from "./planned-endpoint.ts";
import type { TcpProxy } from "./tcp.ts";
import type { Upstreams } from "./upstreams.ts";

/** A client's connection is asked to come anew after so long (GOAWAY, `Connection: close`): what is under way on it is finished. */
export const CONNECTION_AGE_MS = 60_000;
/** So that connections of one moment do not come back at one moment. */
const CONNECTION_AGE_JITTER = 0.25;

export interface ServeOptions extends Omit<ClientConnectionOptions, "upstreams" | "satisfy"> {
  readonly upstreams: Upstreams;
  readonly tcp: TcpProxy;
  readonly satisfy: (call: Call) => HttpOptions["satisfy"];
  /** Pods of this waypoint that take connections. */
  readonly replicas: () => number;
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

class Server implements Serving {
  readonly #o: ServeOptions;
  readonly #upstreams: HttpUpstreams;
  readonly #shared: ClientConnectionOptions;
  readonly #sessions = new Set<HttpSession>();
  readonly call: Call;

  constructor(o: ServeOptions) {
    this.#o = o;
    this.#upstreams = createHttpUpstreams({ clock: o.clock, open: (endpoint, signal) => this.#open(endpoint, signal) });
    this.call = createCall({ upstreams: this.#upstreams, choose: (backend, protocol) => this.#chooseOwn(backend, protocol) });
    this.#shared = { ...o, upstreams: this.#upstreams, satisfy: o.satisfy(this.call) };
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
    const session = serveHttp(stream, facts, protocol, new ClientConnection(this.#shared, facts));
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

  /** For calls of our own: on nobody's behalf, and counted by nobody. */
  #chooseOwn(backend: Backend, protocol: "http1" | "http2"): UpstreamChoice {
    const goal: Goal = { kind: "service", backend };
    const plan = this.#o.destinations.chooseOwn(backend);
    return plan.kind === "endpoint" ? choiceOf(this.#o.destinations.endpoint(goal, plan, protocol, undefined), plan) : refusal(plan);
  }

  async #open(endpoint: UpstreamEndpoint, signal: AbortSignal): Promise<ByteStream> {
    if (!(endpoint instanceof PlannedEndpoint)) throw new Error("defect: an endpoint that was not chosen here");
    const { plan, client } = endpoint;
    // Requests of several clients share the stream, so it is on nobody's behalf; except where the PROXY protocol tells the client, and then it is one's own.
    const by = { source: client, sourceWorkload: undefined, service: plan.service, traceparent: undefined };
    return this.#o.upstreams.open(plan.hop, by, { ...plan.settings, alpn: endpoint.protocol === "http2" ? ["h2"] : ["http/1.1"] }, signal);
  }

  async drain(deadlineMs: number): Promise<void> {
    for (const session of this.#sessions) session.drain();
    await this.#upstreams.drain(deadlineMs);
  }
}

const accepted = (stream: ByteStream) => ({ accept: () => stream, refuse: () => stream.destroy(), signal: new AbortController().signal });
