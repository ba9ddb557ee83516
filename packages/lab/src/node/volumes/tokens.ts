// Owns the service account tokens of one pod's projected volumes: asked for, and renewed at 80 % of their life.
import { KINDS, pathOf, type KubeClient } from "@ambit/kube";
import { backoffDelay, errorText, systemRandom, type Clock, type Logger, type Timer } from "@ambit/runtime";
import { refreshTokenAt } from "../plan/volume-files.ts";
import type { NodePod } from "../plan/pod-spec.ts";

const DEFAULT_LIFE_S = 3600;
const RETRY = { initialMs: 500, maxMs: 30_000 };

interface Held { readonly token: string; readonly refreshAtMs: number }

/** Tokens by volume name and source index. */
export class PodTokens {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #pod: NodePod;
  readonly #changed: () => void;
  readonly #held = new Map<string, Held>();
  readonly #timers = new Map<string, Timer>();
  #closed = false;

  constructor(client: KubeClient, clock: Clock, log: Logger, pod: NodePod, changed: () => void) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#pod = pod;
    this.#changed = changed;
  }

  get(volume: string, index: number): string | undefined {
    return this.#held.get(`${volume}/${index}`)?.token;
  }

  /** Asks for every token that is not held. Throws when the API server refuses the first one. */
  async ensure(): Promise<void> {
    const jobs: Promise<void>[] = [];
    for (const v of this.#pod.spec.volumes ?? []) {
      for (const [i, s] of (v.projected?.sources ?? []).entries()) {
        const key = `${v.name}/${i}`;
        if (s.serviceAccountToken !== undefined && !this.#held.has(key)) jobs.push(this.#ask(key, s.serviceAccountToken, 0));
      }
    }
    await Promise.all(jobs);
  }

  close(): void {
    this.#closed = true;
    for (const t of this.#timers.values()) t.cancel();
  }

  async #ask(key: string, want: { audience?: string; expirationSeconds?: number }, attempt: number): Promise<void> {
    const { metadata, spec } = this.#pod;
    const path = pathOf(KINDS.serviceAccounts, metadata.namespace, spec.serviceAccountName ?? "default", "token");
    const issued = this.#clock.now();
    const answer = await this.#client.request<{ status?: { token?: unknown; expirationTimestamp?: unknown } }>("POST", path, { body: {
      apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest",
      spec: {
        ...(want.audience === undefined || want.audience === "" ? {} : { audiences: [want.audience] }), expirationSeconds: want.expirationSeconds ?? DEFAULT_LIFE_S,
        boundObjectRef: { apiVersion: "v1", kind: "Pod", name: metadata.name, uid: metadata.uid },
      },
    } });
    const token = answer.status?.token;
    const expires = Date.parse(String(answer.status?.expirationTimestamp ?? ""));
    if (typeof token !== "string" || Number.isNaN(expires)) throw new Error("the API server's TokenRequest answer has no token");
    if (this.#closed) return;
    this.#held.set(key, { token, refreshAtMs: refreshTokenAt(issued, expires) });
    this.#schedule(key, want, refreshTokenAt(issued, expires) - this.#clock.now(), attempt);
  }

  #schedule(key: string, want: { audience?: string; expirationSeconds?: number }, delayMs: number, attempt: number): void {
    this.#timers.get(key)?.cancel();
    this.#timers.set(key, this.#clock.after(delayMs, () => {
      this.#ask(key, want, 0).then(this.#changed, (error: unknown) => {
        if (this.#closed) return;
        this.#log.warn("cannot renew a token", { pod: this.#pod.metadata.name, error: errorText(error) });
        this.#schedule(key, want, backoffDelay(RETRY, attempt, systemRandom), attempt + 1);
      });
    }));
  }
}
