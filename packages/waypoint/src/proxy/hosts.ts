// Owns the addresses of endpoints that are known by name only (ServiceEntries resolved by DNS): looked up ahead of need, and again and again.
import { lookup } from "node:dns/promises";
import { parseIp, type Ip } from "@ambit/core";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import type { WaypointState } from "../state/waypoint-state.ts";

/** Names looked up at once and kept: ServiceEntries of one waypoint are dozens. */
export const NAMES_MAX = 1_000;
/** Answers are asked for again so often; the last good ones stay meanwhile, and when DNS fails. */
export const REFRESH_MS = 15_000;

/** Rejects when the name has no answer. */
export type Lookup = (hostname: string) => Promise<readonly Ip[]>;

export const systemLookup: Lookup = async (hostname) => (await lookup(hostname, { all: true })).flatMap(({ address }) => {
  const ip = parseIp(address);
  return ip.ok ? [ip.value] : [];
});

export class Hosts {
  readonly #state: WaypointState;
  readonly #lookup: Lookup;
  readonly #log: Logger;
  readonly #answers = new Map<string, readonly Ip[]>();
  readonly #asking = new Set<string>();
  readonly #failing = new Set<string>();
  readonly #stops: (() => void)[];
  readonly #timer: Timer;

  constructor(o: { readonly state: WaypointState; readonly lookup: Lookup; readonly clock: Clock; readonly log: Logger }) {
    this.#state = o.state;
    this.#lookup = o.lookup;
    this.#log = o.log;
    const look = (): void => this.#look(false);
    this.#stops = [o.state.onConfig(look), o.state.mesh.onApplied(look)];
    this.#timer = o.clock.every(REFRESH_MS, () => this.#look(true));
  }

  /** Names that were answered at least once. */
  get answers(): ReadonlyMap<string, readonly Ip[]> {
    return this.#answers;
  }

  close(): void {
    this.#timer.cancel();
    for (const stop of this.#stops) stop();
  }

  /** `again`: also those that have an answer. */
  #look(again: boolean): void {
    const wanted = this.#wanted();
    for (const name of this.#answers.keys()) if (!wanted.has(name)) this.#answers.delete(name);
    for (const name of wanted) if (again || !this.#answers.has(name)) void this.#ask(name);
  }

  /** Of the services this waypoint has, and of those that its rules name. */
  #wanted(): Set<string> {
    const { config } = this.#state;
    const names = new Set<string>();
    if (config === undefined) return names;
    const view = this.#state.view();
    const services = new Set([...config.services.keys(), ...config.traffic.keys()]);
    for (const routes of config.services.values())
      for (const ports of [routes.producer, ...routes.consumers.values()])
        for (const p of ports.values())
          for (const r of p.routes) for (const b of "backends" in r ? r.backends : r.action.kind === "forward" ? r.action.backends : []) if (b.kind === "service") services.add(b.backend.service);
    for (const key of services)
      for (const { workload } of view.endpoints(key)) {
        if (workload === undefined || workload.addresses.length > 0 || workload.hostname === "" || names.size >= NAMES_MAX) continue;
        names.add(workload.hostname);
      }
    return names;
  }

  async #ask(name: string): Promise<void> {
    if (this.#asking.has(name)) return;
    this.#asking.add(name);
    try {
      const found = await this.#lookup(name);
      if (found.length > 0) this.#answers.set(name, found);
      this.#failing.delete(name);
    } catch (error) {
      // Once for each outage.
      if (!this.#failing.has(name)) this.#log.warn("a name cannot be resolved", { hostname: name, error: errorText(error), kept: this.#answers.get(name)?.length ?? 0 });
      this.#failing.add(name);
    } finally {
      this.#asking.delete(name);
    }
  }
}
