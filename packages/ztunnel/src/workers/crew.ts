// Owns the traffic threads as the main thread sees them: they are told what it learns, asked what they have, and answered what they need.
import { Worker } from "node:worker_threads";
import type { Identity } from "@ambit/core";
import type { CertBundle } from "@ambit/proxy/identity";
import type { PodInfo } from "@ambit/proxy/state";
import type { Netns } from "@ambit/linux";
import { writeLine, type Logger, type MetricsSnapshot } from "@ambit/runtime";
import type { LookupAnswer } from "@ambit/xds";
import type { Config } from "../config.ts";
import type { Push } from "../push-queue.ts";
import type { Live } from "../admin/routes.ts";
import type { ListeningSocket } from "../pod/handover-server.ts";
import { answer, Asking } from "./asking.ts";
import type { FromWorker, PushPart, Questions, Told, ToWorker, WorkerStart } from "./messages.ts";
import { tallyMemory } from "./tunnel-tally.ts";

/** Resources in one message: few enough that sending or receiving one holds a thread for a fraction of a millisecond. */
const PART_RESOURCES = 256;

export interface CrewOptions {
  readonly config: Config;
  /** Each thread guards its event loop. */
  readonly guarded: boolean;
  readonly fetch: (identity: Identity) => Promise<CertBundle>;
  readonly lookup: (name: string) => Promise<LookupAnswer>;
  /** A thread died: the process cannot go on without its share of the connections. */
  readonly onDeath: (error: Error) => void;
  readonly log: Logger;
}

interface Member { readonly worker: Worker; readonly asking: Asking<Questions> }

export class Crew {
  readonly #members: readonly Member[];
  #closing = false;

  constructor(threads: number, o: CrewOptions) {
    const tally = tallyMemory(threads);
    this.#members = Array.from({ length: threads }, (_, index) => this.#hire(index, tally, o));
  }

  #hire(index: number, tally: SharedArrayBuffer, o: CrewOptions): Member {
    const start: WorkerStart = { config: o.config, index, tally, guarded: o.guarded };
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: start, name: `traffic-${index}`, stdout: true });
    // Its lines go the way of our own, which is never held up by who reads them.
    worker.stdout.setEncoding("utf8").on("data", writeLine);
    const post = (m: ToWorker): void => worker.postMessage(m);
    const asking = new Asking<Questions>((m) => worker.postMessage(m));
    worker.on("message", (m: FromWorker) => {
      switch (m.kind) {
        case "certificate": return answer(m.id, async () => bundleOf(await o.fetch(m.ask)), post);
        case "lookup": return answer(m.id, () => o.lookup(m.ask), post);
        case "answer": return asking.answered(m);
        case "tunnel": return this.#members[m.to]?.worker.postMessage(m);
      }
    });
    worker.on("error", o.onDeath);
    worker.on("exit", (code) => { if (!this.#closing) o.onDeath(new Error(`traffic thread ${index} ended with code ${code}`)); });
    return { worker, asking };
  }

  /** A whole push, in parts. The octets are copied: they are views of a message that is much larger. */
  push(typeUrl: string, push: Push): void {
    for (let at = 0; at === 0 || at < push.upserts.length; at += PART_RESOURCES) {
      const part: PushPart = {
        typeUrl, upserts: push.upserts.slice(at, at + PART_RESOURCES).map((u) => ({ name: u.name, bytes: u.bytes.slice() })), removed: at === 0 ? push.removed : [],
        last: at + PART_RESOURCES >= push.upserts.length,
      };
      this.#tell({ kind: "push", part });
    }
  }

  rotated(identity: Identity, bundle: CertBundle): void {
    this.#tell({ kind: "rotated", identity, bundle: bundleOf(bundle) });
  }

  forget(identity: Identity): void {
    this.#tell({ kind: "forget", identity });
  }

  levels(filter: string): void {
    this.#tell({ kind: "levels", filter });
  }

  /** Resolves with what they listen on when every thread does in the pod; if one cannot, none does. A predecessor's sockets are dealt out among them. */
  async start(uid: string, info: PodInfo, netns: Netns, inherited: readonly ListeningSocket[]): Promise<readonly ListeningSocket[]> {
    const hands = dealtOut(inherited, this.#members.length);
    const started = await Promise.allSettled(this.#members.map((m, i) => m.asking.ask("start", { uid, info, netnsFd: netns.fd, inherited: hands[i] ?? [] })));
    const failed = started.find((s) => s.status === "rejected");
    if (failed === undefined) return started.flatMap((s) => (s.status === "fulfilled" ? s.value : []));
    this.stop(uid);
    throw failed.reason;
  }

  stop(uid: string): void {
    this.#tell({ kind: "stop", uid });
  }

  live(): Promise<readonly Live[]> {
    return Promise.all(this.#members.map((m) => m.asking.ask("live", undefined)));
  }

  metrics(): Promise<readonly MetricsSnapshot[]> {
    return Promise.all(this.#members.map((m) => m.asking.ask("metrics", undefined)));
  }

  async drain(deadlineMs: number): Promise<void> {
    await Promise.all(this.#members.map((m) => m.asking.ask("drain", { deadlineMs })));
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#members.map((m) => m.worker.terminate()));
  }

  #tell(m: Told): void {
    for (const { worker } of this.#members) worker.postMessage(m);
  }
}

/** Every socket to one thread, those of each port in turn. */
export function dealtOut(sockets: readonly ListeningSocket[], threads: number): readonly (readonly ListeningSocket[])[] {
  const hands: ListeningSocket[][] = Array.from({ length: threads }, () => []);
  const next = new Map<number, number>();
  for (const socket of sockets) {
    const turn = next.get(socket.at.port) ?? 0;
    next.set(socket.at.port, turn + 1);
    hands[turn % threads]?.push(socket);
  }
  return hands;
}

/** Of a certificate only what TLS needs. */
const bundleOf = (c: CertBundle): CertBundle => ({ chainPem: c.chainPem, keyPem: c.keyPem, rootsPem: c.rootsPem });
