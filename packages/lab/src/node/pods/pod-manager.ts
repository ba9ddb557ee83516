// Owns the set of pods on this node: a worker for each, by uid, and the remains of those the API no longer knows.
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KINDS, Reflector, type Pod } from "@ambit/kube";
import type { NodePod } from "../plan/pod-spec.ts";
import type { NodePorts } from "./context.ts";
import { PodWorker } from "./pod-worker.ts";
import { readPodRecord } from "./sandbox.ts";

export class PodManager {
  readonly #ports: NodePorts;
  readonly #reflector: Reflector<Pod>;
  readonly #workers = new Map<string, PodWorker>();
  #listeners: (() => void)[] = [];

  constructor(ports: NodePorts, reflector: Reflector<Pod>) {
    this.#ports = ports;
    this.#reflector = reflector;
  }

  static reflector(ports: Pick<NodePorts, "client" | "log" | "nodeName">): Reflector<Pod> {
    return new Reflector<Pod>(ports.client, KINDS.pods, { fieldSelector: `spec.nodeName=${ports.nodeName}`, log: ports.log });
  }

  start(): void {
    this.#reflector.handle({
      onAdd: (pod) => this.#seen(pod), onUpdate: (pod) => this.#seen(pod),
      onDelete: (pod) => this.#workers.get(pod.metadata.uid ?? "")?.removed(),
      onSynced: () => this.#collectRemains(),
    }).start();
  }

  workers(): PodWorker[] { return [...this.#workers.values()]; }
  find(namespace: string, name: string): PodWorker | undefined {
    const all = this.workers().filter((w) => w.pod.metadata.namespace === namespace && w.pod.metadata.name === name);
    return all.find((w) => w.pod.metadata.deletionTimestamp === undefined) ?? all[0];
  }
  imagesChanged(): void { for (const w of this.#workers.values()) w.imagesChanged(); }
  servicesChanged(): void { for (const w of this.#workers.values()) w.wake(); }
  /** Called after any pod came, changed or went. */
  onChange(listener: () => void): void { this.#listeners.push(listener); }

  async close(): Promise<void> {
    await this.#reflector.stop();
    await Promise.all(this.workers().map((w) => w.close()));
  }

  #seen(pod: Pod): void {
    const uid = pod.metadata.uid ?? "";
    const known = this.#workers.get(uid);
    if (known !== undefined) known.update(pod as unknown as NodePod); // the same JSON, read more narrowly
    else this.#add(pod as unknown as NodePod).wake();
    for (const l of this.#listeners) l();
  }

  #add(pod: NodePod): PodWorker {
    const worker: PodWorker = new PodWorker(this.#ports, pod, () => {
      if (this.#workers.get(worker.uid) === worker) this.#workers.delete(worker.uid);
      for (const l of this.#listeners) l();
    });
    this.#workers.set(worker.uid, worker);
    return worker;
  }

  /** Pods that were deleted while no kubelet ran. */
  #collectRemains(): void {
    for (const uid of readdirSync(this.#ports.root.pods)) {
      if (uid.startsWith(".") || this.#workers.has(uid)) continue;
      const record = readPodRecord(join(this.#ports.root.pods, uid));
      if (record === undefined) rmSync(join(this.#ports.root.pods, uid), { recursive: true, force: true });
      else this.#add(record.pod).removed();
    }
  }
}
