// Owns Events: one object per (about, reason, message), counted instead of repeated, and never in anybody's way.
import { createHash } from "node:crypto";
import { errorText, type Clock, type Logger } from "@ambit/runtime";
import type { KubeClient, KubeObject } from "@ambit/kube";
import { EVENT } from "../plan/kinds.ts";
import { timestamp } from "../plan/pods.ts";

/** Distinct events remembered for counting; the oldest is forgotten first. */
const REMEMBERED_MAX = 2048;
/** Writes waiting for the API server; beyond this new events are lost, as upstream's recorder does. */
const PENDING_MAX = 1000;
/** kubelet's and upstream's bound on the message field. */
const MESSAGE_MAX_CHARS = 1024;

export interface EventDraft { readonly about: KubeObject; readonly type: "Normal" | "Warning"; readonly reason: string; readonly message: string }

export class EventRecorder {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #counts = new Map<string, { name: string; count: number }>();
  #tail: Promise<void> = Promise.resolve();
  #pending = 0;

  constructor(client: KubeClient, clock: Clock, log: Logger) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
  }

  record(draft: EventDraft, component: string): void {
    if (this.#pending >= PENDING_MAX) return;
    this.#pending++;
    this.#tail = this.#tail.then(() => this.#write(draft, component)).finally(() => this.#pending--);
  }

  /** Resolves when everything recorded so far was tried. */
  flush(): Promise<void> { return this.#tail; }

  async #write({ about, type, reason, message }: EventDraft, component: string): Promise<void> {
    const { metadata } = about;
    const namespace = metadata.namespace ?? "default";
    const time = timestamp(this.#clock.now());
    const text = message.slice(0, MESSAGE_MAX_CHARS);
    const key = createHash("sha256").update([component, about.kind, metadata.uid, type, reason, text].join("\0")).digest("hex").slice(0, 16);
    const known = this.#counts.get(key);
    try {
      if (known !== undefined) {
        await this.#client.patch(EVENT, namespace, known.name, { count: known.count + 1, lastTimestamp: time });
        known.count++;
        return;
      }
      const name = `${metadata.name.slice(0, 200)}.${key}`;
      await this.#client.create(EVENT, namespace, {
        apiVersion: "v1", kind: "Event", metadata: { name, namespace },
        involvedObject: {
          apiVersion: about.apiVersion, kind: about.kind, name: metadata.name, uid: metadata.uid, resourceVersion: metadata.resourceVersion,
          ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
        },
        type, reason, message: text, count: 1, firstTimestamp: time, lastTimestamp: time, eventTime: null,
        source: { component }, reportingComponent: component, reportingInstance: "",
      });
      this.#remember(key, name);
    } catch (error) {
      // After a restart the event may be there already; a namespace that ends takes no events at all.
      this.#counts.delete(key);
      this.#log.debug("event not recorded", { reason, about: `${namespace}/${metadata.name}`, error: errorText(error) });
    }
  }

  #remember(key: string, name: string): void {
    this.#counts.set(key, { name, count: 1 });
    if (this.#counts.size > REMEMBERED_MAX) this.#counts.delete(this.#counts.keys().next().value ?? "");
  }
}
