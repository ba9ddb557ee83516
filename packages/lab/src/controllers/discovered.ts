// Owns the list of all kinds the API server has, kept current as CRDs come and go.
import { KINDS, type Condition, type Kind, type KubeObject } from "@ambit/kube";
import { errorText } from "@ambit/runtime";
import type { Cache } from "./engine/cache.ts";
import type { ControllerEnv } from "./engine/env.ts";

/** CRDs announce themselves; this only catches what no CRD tells of. */
const REFRESH_MS = 60_000;
const WORKERS = 1;

interface ApiResource { name: string; kind: string; namespaced: boolean; verbs: string[] }
interface ApiGroup { name: string; preferredVersion: { version: string }; versions: { version: string }[] }

export interface DiscoveredKind extends Kind { readonly verbs: readonly string[] }
export interface KindListener { appeared(kind: Kind, cache: Cache): void; vanished(kind: Kind, cache: Cache): void }

export class Discovered {
  readonly #env: ControllerEnv;
  readonly #kinds = new Map<string, { kind: DiscoveredKind; cache: Cache | undefined }>();
  readonly #listeners: KindListener[] = [];
  #complete = false;

  constructor(env: ControllerEnv) {
    this.#env = env;
    const queue = env.queue("discovery", WORKERS, async () => {
      await this.#refresh();
      return REFRESH_MS;
    });
    env.cache<KubeObject>(KINDS.customResourceDefinitions).listen((change) => {
      const before = change.type === "put" ? established(change.old) : undefined;
      if (change.type === "drop" || before !== established(change.object)) queue.add("all");
    });
    queue.add("all");
  }

  /** True after the first complete discovery. */
  get complete(): boolean { return this.#complete; }
  /** Everything that can be deleted. */
  get kinds(): DiscoveredKind[] { return [...this.#kinds.values()].map((k) => k.kind); }

  find(apiVersion: string, kind: string): DiscoveredKind | undefined {
    const group = apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
    return this.kinds.find((k) => k.group === group && k.kind === kind);
  }

  listen(listener: KindListener): void {
    this.#listeners.push(listener);
    for (const { kind, cache } of this.#kinds.values()) if (cache !== undefined) listener.appeared(kind, cache);
  }

  async #refresh(): Promise<void> {
    const { client } = this.#env;
    const { groups } = await client.request<{ groups: ApiGroup[] }>("GET", "/apis");
    const found = new Map<string, DiscoveredKind>();
    // A group that does not answer is an extension's trouble; without it nothing can be said to have vanished.
    let whole = true;
    for (const { group, version } of [{ group: "", version: "v1" }, ...groups.flatMap(versionsOf)]) {
      try {
        const path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
        const { resources } = await client.request<{ resources: ApiResource[] }>("GET", path);
        for (const r of resources) {
          const id = `${group}/${r.name}`;
          const usable = !r.name.includes("/") && ["delete", "list", "watch"].every((verb) => r.verbs.includes(verb));
          if (usable && !found.has(id)) found.set(id, { group, version, plural: r.name, kind: r.kind, namespaced: r.namespaced, verbs: r.verbs });
        }
      } catch (error) {
        whole = false;
        this.#env.log.warn("a group cannot be discovered", { group, version, error: errorText(error) });
      }
    }
    for (const [id, kind] of found) this.#appear(id, kind);
    if (whole) for (const [id, known] of [...this.#kinds]) if (!found.has(id)) await this.#vanish(id, known);
    this.#complete ||= whole;
  }

  #appear(id: string, kind: DiscoveredKind): void {
    const known = this.#kinds.get(id);
    if (known !== undefined && known.kind.version === kind.version) return;
    // Events are many, own nothing and are owned by nothing.
    const watched = !(kind.plural === "events");
    const cache = watched ? this.#env.cache(kind) : undefined;
    this.#kinds.set(id, { kind, cache });
    if (cache !== undefined) for (const listener of this.#listeners) listener.appeared(kind, cache);
  }

  async #vanish(id: string, { kind, cache }: { kind: DiscoveredKind; cache: Cache | undefined }): Promise<void> {
    this.#kinds.delete(id);
    if (cache === undefined) return;
    for (const listener of this.#listeners) listener.vanished(kind, cache);
    await this.#env.forget(kind);
  }
}

/** The preferred version first: a resource is followed in one version only. */
function versionsOf(group: ApiGroup): { group: string; version: string }[] {
  const preferred = group.preferredVersion.version;
  return [preferred, ...group.versions.map((v) => v.version).filter((v) => v !== preferred)].map((version) => ({ group: group.name, version }));
}

function established(crd: KubeObject | undefined): string | undefined {
  const status = crd?.["status"] as { conditions?: Condition[] } | undefined;
  return status?.conditions?.find((c) => c.type === "Established")?.status;
}
