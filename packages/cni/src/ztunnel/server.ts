// Owns the agent's side of ZDS: greets ztunnels, sends each the whole snapshot, then what changes; one message in flight.
import { closeSync } from "node:fs";
import { listenSeqpacket, type Channel, type ChannelServer, type Netns } from "@ambit/linux";
import { errorText, withTimeout, type Clock, type Logger, type Metrics } from "@ambit/runtime";
import { decodeAck, decodeHello, encodeAdd, encodeDel, encodeSnapshotSent, type PodIdentity } from "./encode.ts";

export interface EnrolledPod extends PodIdentity { readonly netns: Netns }

export class ZtunnelError extends Error {}

/** Both sides of the real protocol read into buffers of this size. */
const PACKET_MAX_BYTES = 1024;
const HELLO_TIMEOUT_MS = 5_000;
const ACK_TIMEOUT_MS = 5_000;
/** During an upgrade two are connected; more is somebody else's socket use. */
const CONNECTIONS_MAX = 8;

interface Connection {
  readonly id: number;
  readonly channel: Channel;
  inbox: ((bytes: Uint8Array | Error) => void) | undefined;
  queue: Promise<unknown>;
  ready: boolean;
  gone: Error | undefined;
}

export interface ZdsServerOptions {
  readonly path: string;
  /** Every pod that is enrolled now; asked once per connecting ztunnel. */
  readonly snapshot: () => readonly EnrolledPod[];
  /** A pod of the snapshot was taken, or refused with these words. */
  readonly onTaken?: (pod: EnrolledPod, error: string | undefined) => void;
  /** The set of ready ztunnels changed. */
  readonly onConnected: (count: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export class ZdsServer {
  readonly #options: ZdsServerOptions;
  readonly #server: ChannelServer;
  readonly #connections: Connection[] = [];
  #nextId = 1;

  constructor(options: ZdsServerOptions) {
    this.#options = options;
    this.#server = listenSeqpacket(options.path, PACKET_MAX_BYTES, (channel) => this.#accept(channel));
    const connected = options.metrics.gauge("ztunnel_connected", "ztunnels that hold the whole snapshot").with({});
    options.metrics.onCollect(() => connected.set(this.connected));
  }

  get connected(): number {
    return this.#connections.filter((c) => c.ready).length;
  }

  /** Resolves when the latest ztunnel has bound its listeners in the pod. Rejects with its words, or when there is none. */
  async add(pod: EnrolledPod): Promise<void> {
    const latest = this.#connections.filter((c) => c.ready).at(-1);
    if (latest === undefined) throw new ZtunnelError("no ztunnel is connected");
    await this.#send(latest, encodeAdd(pod), [pod.netns.fd]);
  }

  /** Tells every ztunnel that has ever heard of pods from us. Failures end that connection and nothing else. */
  async remove(uid: string): Promise<void> {
    await Promise.allSettled(this.#connections.map((c) => this.#send(c, encodeDel(uid), [])));
  }

  async close(): Promise<void> {
    await this.#server.close();
  }

  #accept(channel: Channel): void {
    const connection: Connection = { id: this.#nextId++, channel, inbox: undefined, queue: Promise.resolve(), ready: false, gone: undefined };
    const { log } = this.#options;
    if (this.#connections.length >= CONNECTIONS_MAX) {
      log.warn("too many ztunnels, connection refused", { limit: CONNECTIONS_MAX });
      channel.close();
      return;
    }
    this.#connections.push(connection);
    channel.setHandler({
      onPacket: (packet) => {
        for (const fd of packet.fds) closeSync(fd);
        const wake = connection.inbox;
        connection.inbox = undefined;
        if (packet.truncated) wake?.(new ZtunnelError(`a message above ${PACKET_MAX_BYTES} bytes`));
        else if (wake !== undefined) wake(packet.data);
        else this.#end(connection, new ZtunnelError("a message that nothing asked for"));
      },
      onEnd: (error) => this.#end(connection, error ?? new ZtunnelError("ztunnel closed the connection")),
    });
    connection.queue = this.#greet(connection).catch((error: unknown) => this.#end(connection, error instanceof Error ? error : new Error(String(error))));
  }

  /** hello, then every enrolled pod, then "that was all": a ztunnel drops what it had and was not told again. */
  async #greet(connection: Connection): Promise<void> {
    const hello = decodeHello(await this.#receive(connection, HELLO_TIMEOUT_MS, "hello"));
    if (!hello.ok) throw new ZtunnelError(hello.error);
    this.#options.log.info("ztunnel connected", { connection: connection.id, version: hello.value });
    const told = new Set<EnrolledPod>();
    // Pods come and go while we speak. One that came meanwhile was handed to an older ztunnel, or to none: it belongs here too.
    for (let next: EnrolledPod | undefined; (next = this.#options.snapshot().find((pod) => !told.has(pod))) !== undefined; ) {
      told.add(next);
      await this.#introduce(connection, next);
    }
    // Ready before the last word: a pod enrolled while it travels is queued behind it, never lost.
    connection.ready = true;
    await this.#exchange(connection, encodeSnapshotSent(), []);
    this.#options.onConnected(this.connected);
  }

  async #introduce(connection: Connection, pod: EnrolledPod): Promise<void> {
    let error: string | undefined;
    try {
      await this.#exchange(connection, encodeAdd(pod), [pod.netns.fd]);
    } catch (cause) {
      // It said why and retries by itself; a broken connection ends the greeting.
      if (connection.gone !== undefined) throw cause;
      error = errorText(cause);
      this.#options.log.warn("ztunnel did not take a pod", { pod: `${pod.namespace}/${pod.name}`, error });
    }
    this.#options.onTaken?.(pod, error);
  }

  #send(connection: Connection, bytes: Uint8Array, fds: readonly number[]): Promise<void> {
    const turn = connection.queue.then(() => this.#exchange(connection, bytes, fds));
    connection.queue = turn.catch(() => undefined);
    return turn;
  }

  async #exchange(connection: Connection, bytes: Uint8Array, fds: readonly number[]): Promise<void> {
    if (connection.gone !== undefined) throw connection.gone;
    const answer = this.#receive(connection, ACK_TIMEOUT_MS, "ack");
    try {
      connection.channel.send(bytes, fds);
    } catch (error) {
      connection.inbox = undefined;
      answer.catch(() => undefined);
      const cause = error instanceof Error ? error : new Error(String(error));
      this.#end(connection, cause);
      throw new ZtunnelError("cannot send to ztunnel", { cause });
    }
    const ack = decodeAck(await answer);
    if (!ack.ok) {
      const error = new ZtunnelError(ack.error);
      this.#end(connection, error);
      throw error;
    }
    if (ack.value !== "") throw new ZtunnelError(`ztunnel says: ${ack.value}`);
  }

  #receive(connection: Connection, limitMs: number, what: string): Promise<Uint8Array> {
    const arrival = new Promise<Uint8Array>((resolve, reject) => {
      if (connection.gone !== undefined) return reject(connection.gone);
      connection.inbox = (value) => (value instanceof Error ? reject(value) : resolve(value));
    });
    return withTimeout(this.#options.clock, limitMs, arrival, () => {
      const error = new ZtunnelError(`no ${what} from ztunnel within ${limitMs / 1000} s`);
      this.#end(connection, error);
      return error;
    });
  }

  #end(connection: Connection, why: Error): void {
    if (connection.gone !== undefined) return;
    connection.gone = why;
    connection.ready = false;
    const at = this.#connections.indexOf(connection);
    if (at >= 0) this.#connections.splice(at, 1);
    connection.inbox?.(why);
    connection.inbox = undefined;
    connection.channel.close();
    this.#options.log.info("ztunnel gone", { connection: connection.id, error: errorText(why) });
    this.#options.onConnected(this.connected);
  }
}
