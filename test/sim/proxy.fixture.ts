// Owns the proxies of the simulations and the wires to them: the client's half of delta xDS as ztunnel runs it, over streams with latency that are cut.
import { EventEmitter } from "node:events";
import { Metadata } from "@grpc/grpc-js";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, decodeDeltaResponse, DeltaClient, planReconnect, proxyNode, type DeltaRequest, type XdsServer } from "@ambit/xds/testing";
import type { SimClock } from "./clock.fixture.ts";

export const TYPES = [ADDRESS_TYPE, AUTHORIZATION_TYPE];

export interface Held { readonly version: string; readonly bytes: Uint8Array }

export interface ProxyHooks {
  /** A replica to try; undefined: nobody answers. */
  connect(self: SimProxy): XdsServer | undefined;
  random(): number;
  latency(): number;
  /** True: this response never arrives. */
  lose(): boolean;
  onRemoved(typeUrl: string, name: string): void;
  onUpsert(typeUrl: string, name: string, held: Held): void;
}

export class SimProxy {
  readonly name: string;
  readonly state = new Map(TYPES.map((t) => [t, new Map<string, Held>()]));
  streams = 0;
  repairs = 0;
  readonly #clock: SimClock;
  readonly #hooks: ProxyHooks;
  readonly #machine = new DeltaClient(TYPES.map((typeUrl) => ({ typeUrl, onDemand: false })));
  #wire: Wire | undefined;
  #served = false;
  #attempt = 0;

  constructor(name: string, clock: SimClock, hooks: ProxyHooks) {
    this.name = name;
    this.#clock = clock;
    this.#hooks = hooks;
    this.#connect();
  }

  get ready(): boolean { return this.#machine.ready; }
  get connected(): boolean { return this.#wire !== undefined && this.#served; }

  /** The network between it and its replica breaks. */
  cut(): void {
    this.#wire?.end(14);
  }

  #connect(): void {
    const server = this.#hooks.connect(this);
    this.#served = false;
    const wire = new Wire(this.#clock, this.#hooks, { message: (b) => this.#message(wire, b), ended: (code) => this.#ended(wire, code) });
    this.#wire = wire;
    this.streams++;
    if (server === undefined) return wire.end(14);
    wire.attach(server);
    const node = proxyNode({ role: "ztunnel", ip: "10.0.0.1", podName: this.name, podNamespace: "istio-system", nodeName: this.name });
    for (const request of this.#machine.open(node)) wire.send(request);
  }

  #message(wire: Wire, bytes: Uint8Array): void {
    if (wire !== this.#wire) return;
    this.#served = true;
    const response = decodeDeltaResponse(bytes);
    const state = this.state.get(response.typeUrl);
    for (const r of response.resources) {
      const held = { version: r.version, bytes: r.bytes };
      state?.set(r.name, held);
      this.#hooks.onUpsert(response.typeUrl, r.name, held);
    }
    for (const name of response.removed) if (state?.delete(name) === true) this.#hooks.onRemoved(response.typeUrl, name);
    const { reply, lost } = this.#machine.settle(response, []);
    wire.send(reply);
    if (!lost) return;
    this.repairs++;
    wire.end(1);
  }

  #ended(wire: Wire, code: number): void {
    if (wire !== this.#wire) return;
    this.#machine.close();
    const plan = planReconnect({ served: this.#served, code }, this.#attempt, () => this.#hooks.random());
    this.#attempt = plan.attempt;
    this.#clock.after(plan.delayMs, () => this.#connect());
  }
}

/** One stream: both directions keep their order, each message takes its time. */
class Wire {
  readonly #clock: SimClock;
  readonly #hooks: ProxyHooks;
  readonly #client: { message(bytes: Uint8Array): void; ended(code: number): void };
  #call: EventEmitter | undefined;
  #over = false;
  #toServerAt = 0;
  #toClientAt = 0;

  constructor(clock: SimClock, hooks: ProxyHooks, client: { message(bytes: Uint8Array): void; ended(code: number): void }) {
    this.#clock = clock;
    this.#hooks = hooks;
    this.#client = client;
  }

  attach(server: XdsServer): void {
    const call = Object.assign(new EventEmitter(), {
      metadata: new Metadata(), cancelled: false, getPeer: () => "sim",
      write: (bytes: Uint8Array, taken: () => void) => {
        const lost = this.#hooks.lose();
        this.#toClientAt = this.#later(this.#toClientAt, () => {
          taken();
          if (!lost) this.#client.message(bytes);
        });
      },
      end: () => this.end(0),
    });
    // The server ends a stream with an error by emitting it.
    call.on("error", (error: { code?: number }) => this.end(error.code ?? 2));
    this.#call = call;
    const accept = server.implementation["deltaAggregatedResources"] as (call: object) => void;
    accept(call);
  }

  send(request: DeltaRequest): void {
    this.#toServerAt = this.#later(this.#toServerAt, () => this.#call?.emit("data", request));
  }

  /** Both ends hear of it; the client later. */
  end(code: number): void {
    if (this.#over) return;
    this.#over = true;
    const call = this.#call;
    this.#call = undefined;
    this.#clock.after(this.#hooks.latency(), () => {
      call?.emit("cancelled");
      this.#client.ended(code);
    });
  }

  #later(notBefore: number, run: () => void): number {
    const at = Math.max(notBefore, this.#clock.now() + this.#hooks.latency());
    this.#clock.after(at - this.#clock.now(), () => { if (!this.#over) run(); });
    return at;
  }
}
