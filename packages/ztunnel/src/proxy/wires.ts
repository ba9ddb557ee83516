// Owns what the kernel measures on our TCP connections to other nodes: round trips and segments sent again, by tunnel.
import type { Socket } from "node:net";
import { parseIp, type Identity, type SocketAddress } from "@ambit/core";
import type { Kernel, TcpInfo } from "@ambit/linux";
import type { Clock, Metrics } from "@ambit/runtime";
import type { Negotiated } from "@ambit/transport";

/** Measured at one scrape: the rest has its turn at the next. A scrape must not hold the traffic up. */
const SAMPLED_MAX = 1_000;
/** Same rack to other continent, seconds. */
const RTT_BUCKETS_S: readonly number[] = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5];

export interface Wire {
  /** Uid of the pod whose namespace it is in. */
  readonly pod: string;
  readonly direction: "inbound" | "outbound";
  readonly peer: SocketAddress;
}

/** What a handshake proved: each end has shown its certificate and the key that belongs to it. */
export interface Proof extends Negotiated { readonly local: Identity; readonly peer: Identity }

export interface WireState extends Wire {
  readonly ageMs: number;
  /** Our end; undefined once it closed. */
  readonly local: SocketAddress | undefined;
  /** undefined: the handshake is under way. */
  readonly proof: Proof | undefined;
  /** undefined: it closed this moment. */
  readonly tcp: TcpInfo | undefined;
}

interface Entry { readonly wire: Wire; readonly socket: Socket; readonly begunMs: number; retransmits: number; proof: Proof | undefined }

export class Wires {
  readonly #kernel: Pick<Kernel, "tcpInfo">;
  readonly #clock: Clock;
  readonly #entries = new Set<Entry>();

  constructor(kernel: Pick<Kernel, "tcpInfo">, clock: Clock) {
    this.#kernel = kernel;
    this.#clock = clock;
  }

  /** Until the socket closes. What is returned takes what its handshake proved. */
  add(socket: Socket, wire: Wire): (proof: Proof) => void {
    const entry: Entry = { wire, socket, begunMs: this.#clock.monotonic(), retransmits: 0, proof: undefined };
    this.#entries.add(entry);
    socket.once("close", () => this.#entries.delete(entry));
    return (proof) => { entry.proof = proof; };
  }

  list(pod?: string): WireState[] {
    return [...this.#entries].filter((e) => pod === undefined || e.wire.pod === pod).map((e) => ({ ...e.wire, ageMs: Math.round(this.#clock.monotonic() - e.begunMs), local: localOf(e.socket), proof: e.proof, tcp: this.#kernel.tcpInfo(e.socket) }));
  }

  /** At every scrape. What was sent again after the last scrape of a tunnel's life is not counted. */
  collectInto(metrics: Metrics): void {
    const rtt = metrics.histogram("ambit_tunnel_rtt_seconds", "Round trips of live tunnels, sampled at each scrape.", RTT_BUCKETS_S);
    const again = metrics.counter("ambit_tunnel_retransmits_total", "TCP segments of tunnels that were sent again.");
    metrics.onCollect(() => {
      let sampled = 0;
      for (const entry of this.#entries) {
        if (sampled++ >= SAMPLED_MAX) break;
        // Sampled ones go to the end, so that each has its turn.
        this.#entries.delete(entry);
        this.#entries.add(entry);
        const info = this.#kernel.tcpInfo(entry.socket);
        if (info === undefined) continue;
        const { direction } = entry.wire;
        rtt.with({ direction }).observe(info.rttUs / 1e6);
        again.with({ direction }).inc(info.retransmits - entry.retransmits);
        entry.retransmits = info.retransmits;
      }
    });
  }
}

function localOf({ localAddress, localPort }: Socket): SocketAddress | undefined {
  const ip = localAddress === undefined ? undefined : parseIp(localAddress);
  return ip?.ok !== true || localPort === undefined ? undefined : { ip: ip.value, port: localPort };
}
