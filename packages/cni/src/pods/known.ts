// Owns the agent's live view of the node's pods and of all namespaces, and waiting for that view to catch up.
import { KINDS, Reflector, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import type { Pods } from "../agent-options.ts";

export interface PodListener {
  changed(uid: string): void;
  deleted(uid: string): void;
}

export class KnownPods implements Pods {
  readonly #pods: Reflector<Pod>;
  readonly #namespaces: Reflector<KubeObject>;
  readonly #byUid = new Map<string, Pod>();
  readonly #clock: Clock;
  #listener: PodListener | undefined;
  #waiting: (() => void)[] = [];

  constructor(client: KubeClient, node: string, clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#pods = new Reflector<Pod>(client, KINDS.pods, { fieldSelector: `spec.nodeName=${node}`, log });
    this.#namespaces = new Reflector<KubeObject>(client, KINDS.namespaces, { log });
    const put = (pod: Pod) => {
      const uid = uidOf(pod);
      this.#byUid.set(uid, pod);
      this.#listener?.changed(uid);
      this.#wake();
    };
    this.#pods.handle({
      onAdd: put,
      onUpdate: (pod, old) => {
        // A successor of the same name, between two lists: the old one was deleted without a word.
        if (uidOf(old) !== uidOf(pod)) this.#remove(uidOf(old));
        put(pod);
      },
      onDelete: (pod) => this.#remove(uidOf(pod)),
    });
    const relabelled = (ns: KubeObject) => {
      for (const [uid, pod] of this.#byUid) if (pod.metadata.namespace === ns.metadata.name) this.#listener?.changed(uid);
      this.#wake();
    };
    this.#namespaces.handle({
      onAdd: relabelled,
      onUpdate: (ns, old) => { if (JSON.stringify(ns.metadata.labels) !== JSON.stringify(old.metadata.labels)) relabelled(ns); },
    });
  }

  /** Resolves when everything was listed once. */
  async start(): Promise<void> {
    this.#pods.start();
    this.#namespaces.start();
    await Promise.all([this.#pods.whenSynced(), this.#namespaces.whenSynced()]);
  }

  /** From now on `listener` hears of every change; it hears of every pod that is known first. */
  listen(listener: PodListener): void {
    this.#listener = listener;
    for (const uid of this.#byUid.keys()) listener.changed(uid);
  }

  byUid(uid: string): Pod | undefined { return this.#byUid.get(uid); }
  byName(namespace: string, name: string): Pod | undefined { return this.#pods.get(`${namespace}/${name}`); }
  all(): Iterable<Pod> { return this.#byUid.values(); }
  namespaceLabels(name: string): Readonly<Record<string, string>> { return this.#namespaces.get(name)?.metadata.labels ?? {}; }

  /** Resolves when `test` holds, asked again at every change, or after `limitMs`. */
  async until(test: () => boolean, limitMs: number): Promise<boolean> {
    const deadline = this.#clock.monotonic() + limitMs;
    while (!test()) {
      const left = deadline - this.#clock.monotonic();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(left, resolve, { hold: true });
        this.#waiting.push(() => { timer.cancel(); resolve(); });
      });
    }
    return true;
  }

  async stop(): Promise<void> {
    this.#listener = undefined;
    await Promise.all([this.#pods.stop(), this.#namespaces.stop()]);
  }

  #remove(uid: string): void {
    this.#byUid.delete(uid);
    this.#listener?.deleted(uid);
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

const uidOf = (pod: Pod): string => pod.metadata.uid ?? "";
