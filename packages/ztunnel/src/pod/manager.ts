// Owns the connection to the node agent: hello, requests one at a time and in order, acknowledgements, reconnection, retries.
import { closeSync } from "node:fs";
import { connectSeqpacket, type Channel, type Kernel, type Netns, type Packet } from "@ambit/linux";
import { backoffDelay, errorText, type Backoff, type Clock, type Logger, type Random, type Timer } from "@ambit/runtime";
import type { PodInfo } from "@ambit/proxy/state";
import { NO_PODS, reducePods, settled, type KnownPod, type PodEffect, type PodEvent, type Pods } from "./model/pods.ts";
import { decodeRequest, encodeAck, encodeHello, PACKET_MAX_BYTES } from "./protocol/messages.ts";

/** The agent may be restarting: come back at once, then less often, never slower than its operators' patience. */
const RECONNECT: Backoff = { initialMs: 10, maxMs: 15_000 };
/** A connection that lived this long was a good one: the next failure starts the back-off anew. */
const STABLE_MS = 5_000;
/** A pod that could not be started is tried again this often, until it works or is deleted. */
export const PENDING_RETRY_MS = 5_000;

export interface RunningPod {
  readonly uid: string;
  readonly info: PodInfo;
  /** Ends its listeners and cuts its connections. */
  stop(): void;
}

export interface PodManagerOptions {
  readonly socketPath: string;
  readonly kernel: Pick<Kernel, "adoptNetns">;
  /** Resolves once the pod's listeners are bound: only then is the pod acknowledged. Takes ownership of `netns` if it resolves. */
  readonly start: (uid: string, info: PodInfo, netns: Netns) => Promise<RunningPod>;
  /** Connected, snapshot complete, nothing pending. Called on every change. */
  readonly onSettled: (settled: boolean) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class PodManager {
  readonly #o: PodManagerOptions;
  readonly #proxies = new Map<string, RunningPod>();
  /** Namespaces of pods that are being started or wait for a retry. */
  readonly #waiting = new Map<string, Netns>();
  readonly #retry: Timer;
  #pods: Pods = NO_PODS;
  #channel: Channel | undefined;
  #timer: Timer | undefined;
  #attempt = 0;
  #connectedAt = 0;
  #settled = false;
  #closed = false;
  /** Requests and retries run strictly one after the other. */
  #queue: Promise<void> = Promise.resolve();

  constructor(options: PodManagerOptions) {
    this.#o = options;
    this.#retry = options.clock.every(PENDING_RETRY_MS, () => {
      if (this.#pods.pending.size > 0) this.#enqueue(() => this.#step({ kind: "retry" }));
    });
    this.#connect();
  }

  get running(): readonly RunningPod[] {
    return [...this.#proxies.values()];
  }

  /** Pods that could not be started (yet). */
  get pending(): readonly { readonly uid: string; readonly info: PodInfo }[] {
    return [...this.#pods.pending].map(([uid, pod]) => ({ uid, info: pod.info }));
  }

  /** Stops listening to the agent; the pods' proxies go on. */
  close(): void {
    this.#closed = true;
    this.#retry.cancel();
    this.#timer?.cancel();
    this.#channel?.close();
    for (const netns of this.#waiting.values()) netns[Symbol.dispose]();
    this.#waiting.clear();
  }

  stopAll(): void {
    for (const proxy of this.#proxies.values()) proxy.stop();
    this.#proxies.clear();
  }

  #connect(): void {
    if (this.#closed) return;
    try {
      const channel = connectSeqpacket(this.#o.socketPath, PACKET_MAX_BYTES);
      this.#channel = channel;
      channel.setHandler({
        onPacket: (packet) => this.#onPacket(channel, packet),
        onEnd: (error) => this.#lost(channel, error === undefined ? "the agent closed the connection" : errorText(error)),
      });
      this.#connectedAt = this.#o.clock.monotonic();
      this.#enqueue(() => this.#step({ kind: "connected" }));
      channel.send(encodeHello());
      this.#o.log.info("node agent connected", { path: this.#o.socketPath });
    } catch (error) {
      if (this.#channel === undefined) this.#later(errorText(error));
      else this.#lost(this.#channel, errorText(error));
    }
  }

  #lost(channel: Channel, why: string): void {
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    channel.close();
    if (this.#o.clock.monotonic() - this.#connectedAt > STABLE_MS) this.#attempt = 0;
    this.#enqueue(() => this.#step({ kind: "disconnected" }));
    this.#later(why);
  }

  #later(why: string): void {
    if (this.#closed) return;
    const delayMs = backoffDelay(RECONNECT, this.#attempt++, this.#o.random);
    // The first attempts race with the agent's own start: not worth a line each.
    this.#o.log[this.#attempt > 8 ? "warn" : "info"]("node agent is not connected", { error: why, retry_ms: Math.round(delayMs) });
    this.#timer = this.#o.clock.after(delayMs, () => this.#connect(), { hold: true });
  }

  #onPacket(channel: Channel, packet: Packet): void {
    const decoded = decodeRequest({ data: packet.data, descriptors: packet.fds.length, truncated: packet.truncated });
    if (!decoded.ok) {
      for (const fd of packet.fds) closeSync(fd);
      return this.#violated(channel, decoded.error);
    }
    const request = decoded.value;
    const [fd] = packet.fds;
    const netns = fd === undefined ? undefined : this.#o.kernel.adoptNetns(fd);
    this.#enqueue(async () => {
      if (this.#channel !== channel) return netns?.[Symbol.dispose]();
      if (request.kind === "add" && netns !== undefined) {
        const same = this.#pods.running.get(request.uid)?.inode === netns.inode;
        this.#waiting.get(request.uid)?.[Symbol.dispose]();
        this.#waiting.delete(request.uid);
        if (same) netns[Symbol.dispose]();
        else this.#waiting.set(request.uid, netns);
      }
      await this.#step({ kind: "request", request, ...(netns === undefined ? {} : { inode: netns.inode }) });
    });
  }

  #enqueue(work: () => Promise<void> | void): void {
    this.#queue = this.#queue.then(work).catch((error: unknown) => this.#o.log.error("defect: the pod protocol failed", { error: errorText(error) }));
  }

  async #step(event: PodEvent): Promise<void> {
    const { pods, effects } = reducePods(this.#pods, event);
    this.#pods = pods;
    for (const effect of effects) await this.#perform(effect);
    const now = settled(this.#pods);
    if (now !== this.#settled) this.#o.onSettled((this.#settled = now));
  }

  #perform(effect: PodEffect): Promise<void> | void {
    switch (effect.kind) {
      case "start": return this.#start(effect.uid, effect.pod, effect.answer);
      case "stop":
        this.#o.log.info("pod proxy stopped", { pod: effect.uid });
        this.#proxies.get(effect.uid)?.stop();
        return void this.#proxies.delete(effect.uid);
      case "forget":
        this.#waiting.get(effect.uid)?.[Symbol.dispose]();
        return void this.#waiting.delete(effect.uid);
      case "ack": return this.#answer("");
      case "nack": return this.#answer(effect.error);
      case "violation": return this.#channel === undefined ? undefined : this.#violated(this.#channel, effect.what);
    }
  }

  async #start(uid: string, pod: KnownPod, answer: boolean): Promise<void> {
    const netns = this.#waiting.get(uid);
    if (netns === undefined) return;
    try {
      this.#proxies.set(uid, await this.#o.start(uid, pod.info, netns));
      this.#waiting.delete(uid);
      await this.#step({ kind: "started", uid, pod, answer });
    } catch (error) {
      this.#o.log.warn("pod proxy cannot start", { pod: uid, name: `${pod.info.namespace}/${pod.info.name}`, error: errorText(error), retry_ms: PENDING_RETRY_MS });
      await this.#step({ kind: "start-failed", uid, pod, error: errorText(error), answer });
    }
  }

  #answer(error: string): void {
    const channel = this.#channel;
    if (channel === undefined) return;
    try {
      channel.send(encodeAck(error));
    } catch (cause) {
      this.#lost(channel, `cannot acknowledge: ${errorText(cause)}`);
    }
  }

  /** The connection ends; the pods' proxies go on, and the next snapshot puts the books right. */
  #violated(channel: Channel, what: string): void {
    this.#o.log.error("node agent broke the protocol", { error: what });
    this.#lost(channel, what);
  }
}
