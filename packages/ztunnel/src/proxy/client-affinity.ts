// Owns where the clients of one pod's network namespace went lately, for services that keep their clients at one endpoint.
import type { Ip, ServiceKey, WorkloadUid } from "@ambit/core";
import type { Clock } from "@ambit/runtime";

/** Services times addresses of one pod; the one that was used longest ago goes first, and is then chosen anew, most often the same. */
export const KEPT_MAX = 4096;

export class ClientAffinity {
  readonly #clock: Clock;
  readonly #kept = new Map<string, { readonly workload: WorkloadUid; readonly until: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(client: Ip): { get(service: ServiceKey): WorkloadUid | undefined } {
    return {
      get: (service) => {
        const kept = this.#kept.get(`${client}|${service}`);
        return kept !== undefined && kept.until > this.#clock.monotonic() ? kept.workload : undefined;
      },
    };
  }

  /** Every connection starts the idle time anew. */
  keep(client: Ip, service: ServiceKey, workload: WorkloadUid, idleMs: number): void {
    const key = `${client}|${service}`;
    this.#kept.delete(key);
    this.#kept.set(key, { workload, until: this.#clock.monotonic() + idleMs });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT_MAX && oldest !== undefined) this.#kept.delete(oldest);
  }
}
