// Owns the DNS service inside one pod: what comes in over UDP and TCP is answered from the mesh's state or by the real name servers.
import type { Socket } from "node:net";
import type { Socket as DatagramSocket } from "node:dgram";
import { errorText, type Clock, type Counter, type Logger, type Random } from "@ambit/runtime";
import type { SocketAddress, Workload } from "@ambit/core";
import type { DnsAcceptors } from "../pod/pod-proxy.ts";
import type { StateView } from "@ambit/proxy/state";
import type { Forwarder } from "./forward.ts";
import { planAnswer } from "./plan/answer.ts";
import { decodeQuery, encodeAnswer, encodeFailure, encodeFormatError, RCODE, TYPE_A, TYPE_AAAA, type Question } from "./protocol/message.ts";
import { framed, takeFrame } from "./protocol/relay.ts";

/** Mesh names change rarely and are cheap to ask again (protocol §9.8). */
const TTL_SECONDS = 30;
/** A TCP client that neither asks nor reads is disconnected. */
const TCP_IDLE_MS = 5_000;
/** TCP clients of one pod at once. */
const STREAMS_MAX = 256;
/** Questions of one pod that are being answered; a datagram beyond is dropped, its sender asks again. */
const QUESTIONS_MAX = 1_024;
const TCP_ANSWER_MAX_BYTES = 65_535;

export interface DnsMetrics {
  /** Resolved per question: type, transport and who asks. */
  request(type: string, protocol: "udp" | "tcp", source: Workload | undefined): Counter;
  upstream(type: string, protocol: "udp" | "tcp", source: Workload | undefined): { readonly asked: Counter; readonly failed: Counter; took(seconds: number): void };
}

export interface DnsServerOptions {
  /** `namespace/name` of the pod, for the log. */
  readonly pod: string;
  readonly namespace: string;
  readonly view: () => StateView;
  /** The pod's workload as the control plane described it: for the metrics' labels only. */
  readonly client: () => Workload | undefined;
  /** Resolves when the state is worth asking, in bounded time: a fresh ztunnel knows nothing yet. */
  readonly whenInformed: () => Promise<void>;
  /** Where it listens, see DnsAcceptors. */
  readonly listen: readonly SocketAddress[];
  readonly network: string;
  readonly domain: string;
  readonly preferredNamespace: string | undefined;
  readonly forwarder: Forwarder;
  readonly metrics: DnsMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

const TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [TYPE_A, "A"], [2, "NS"], [5, "CNAME"], [6, "SOA"], [12, "PTR"], [15, "MX"], [16, "TXT"], [TYPE_AAAA, "AAAA"], [33, "SRV"], [35, "NAPTR"], [43, "DS"],
  [48, "DNSKEY"], [64, "SVCB"], [65, "HTTPS"], [255, "ANY"], [257, "CAA"],
]);

export class DnsServer implements DnsAcceptors {
  readonly listen: readonly SocketAddress[];
  readonly #o: DnsServerOptions;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #streams = new Set<Socket>();

  constructor(options: DnsServerOptions) {
    this.#o = options;
    this.listen = options.listen;
  }

  /** undefined: what came is not worth an answer. Never rejects. */
  async answer(query: Uint8Array, protocol: "udp" | "tcp"): Promise<Uint8Array | undefined> {
    const decoded = decodeQuery(query);
    if (!decoded.ok) {
      this.#o.log.debug("dns", { pod: this.#o.pod, outcome: "malformed", because: decoded.error });
      return encodeFormatError(query);
    }
    const q = decoded.value;
    const type = q.kind === "question" ? (TYPE_NAMES.get(q.type) ?? `TYPE${q.type}`) : "other";
    const note = (outcome: string, because: string): void =>
      this.#o.log.debug("dns", { pod: this.#o.pod, ...(q.kind === "question" ? { name: q.name } : {}), type, protocol, outcome, because });
    if (this.#o.client() === undefined) await this.#o.whenInformed();
    // Types are the pod's to choose: those without a name share one series.
    const label = type.startsWith("TYPE") ? "other" : type;
    this.#o.metrics.request(label, protocol, this.#o.client()).inc();
    const plan = q.kind === "question" ? this.#plan(q) : { kind: "forward" as const, because: q.because };
    note(plan.kind, plan.because);
    switch (plan.kind) {
      case "refuse":
        return encodeFailure(q, RCODE.refused);
      case "answer": {
        if (q.kind !== "question") return undefined;
        return encodeAnswer(q, { ips: shuffled(plan.ips, this.#o.random), alias: plan.alias, ttlSeconds: TTL_SECONDS }, protocol === "udp" ? q.udpMax : TCP_ANSWER_MAX_BYTES);
      }
      case "forward": {
        const upstream = this.#o.metrics.upstream(label, protocol, this.#o.client());
        const began = this.#o.clock.monotonic();
        upstream.asked.inc();
        try {
          return await this.#o.forwarder.ask(query, protocol);
        } catch (error) {
          upstream.failed.inc();
          note("failed", errorText(error));
          return encodeFailure(q, RCODE.serverFailure);
        } finally {
          upstream.took((this.#o.clock.monotonic() - began) / 1000);
        }
      }
    }
  }

  #plan(q: Question): ReturnType<typeof planAnswer> {
    const { namespace, network, domain, preferredNamespace } = this.#o;
    return planAnswer(this.#o.view(), { name: q.name, type: q.type, namespace, network, domain, preferredNamespace });
  }

  datagrams(socket: DatagramSocket): void {
    let open = true;
    socket.on("close", () => { open = false; });
    socket.on("error", (error) => this.#o.log.warn("dns socket failed", { pod: this.#o.pod, error: errorText(error) }));
    socket.on("message", (query, from) => {
      if (this.#underWay.size >= QUESTIONS_MAX) return;
      void this.#track(this.answer(query, "udp").then((reply) => {
        // The client may be gone, a resolver asks again; our own socket may be closed by now.
        if (reply === undefined || !open) return;
        // Node sends in a later step: answered is what has left.
        return new Promise<void>((sent) => socket.send(reply, from.port, from.address, () => sent()));
      }));
    });
  }

  stream(socket: Socket): void {
    if (this.#streams.size >= STREAMS_MAX) return void socket.destroy();
    this.#streams.add(socket);
    socket.on("close", () => this.#streams.delete(socket));
    socket.on("error", () => socket.destroy());
    this.#serveStream(socket).catch((error: unknown) => {
      this.#o.log.debug("dns client lost", { pod: this.#o.pod, error: errorText(error) });
      socket.destroy();
    });
  }

  /** Questions of one connection are answered one after the other; nothing more is read meanwhile. */
  async #serveStream(socket: Socket): Promise<void> {
    let answering = false;
    socket.setTimeout(TCP_IDLE_MS, () => { if (!answering) socket.destroy(); });
    let buffer: Buffer = Buffer.alloc(0);
    // `destroyOnReturn`: a client may end its half first and still wants its answers.
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      buffer = Buffer.concat([buffer, chunk]);
      for (let frame = takeFrame(buffer); frame !== undefined; frame = takeFrame(buffer)) {
        buffer = frame.rest;
        answering = true;
        const reply = await this.#track(this.answer(frame.message, "tcp"));
        answering = false;
        if (reply === undefined) return void socket.destroy();
        if (!socket.write(framed(reply))) await room(socket);
        if (socket.destroyed) return;
      }
    }
    socket.end();
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const noted = work.catch((error: unknown) => this.#o.log.error("defect: a dns question failed in an unforeseen way", { pod: this.#o.pod, error: errorText(error) }));
    this.#underWay.add(noted);
    void noted.then(() => this.#underWay.delete(noted));
    return work;
  }

  /** Resolves once every question that is under way now was answered; TCP clients are disconnected then. */
  async settle(): Promise<void> {
    await Promise.allSettled([...this.#underWay]);
    for (const socket of this.#streams) socket.end();
  }

  /** At once. */
  close(): void {
    for (const socket of this.#streams) socket.destroy();
  }
}

/** Resolves when the socket takes more, or is gone. */
function room(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => { socket.off("drain", done).off("close", done); resolve(); };
    socket.on("drain", done).on("close", done);
    if (socket.destroyed) done();
  });
}

/** Clients take the first address: without this every client of a headless service would have the same. */
function shuffled<T>(items: readonly T[], random: Random): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const [a, b] = [out[i], out[j]];
    if (a !== undefined && b !== undefined) { out[i] = b; out[j] = a; }
  }
  return out;
}
