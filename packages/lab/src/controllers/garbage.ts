// Owns running the garbage collector: who owns whom, over every kind the API server has.
import { ifFound, type Kind, type KubeObject, type OwnerReference } from "@ambit/kube";
import type { Discovered } from "./discovered.ts";
import type { Cache, Change } from "./engine/cache.ts";
import type { ControllerEnv } from "./engine/env.ts";
import type { WorkQueue } from "./engine/queue.ts";
import { isEqual } from "./plan/equal.ts";
import { FOREGROUND, ORPHAN, planGarbage, type OwnerState } from "./plan/garbage.ts";

const WORKERS = 8;
/** An owner of a kind nobody knows may be a CRD that comes back: look again, delete nothing. */
const UNKNOWN_KIND_RETRY_MS = 60_000;

interface Node { readonly kind: Kind; readonly object: KubeObject }

/** uid → object, and owner uid → uids of its dependents. */
class OwnerGraph {
  readonly nodes = new Map<string, Node>();
  readonly #dependents = new Map<string, Set<string>>();

  put(kind: Kind, object: KubeObject): void {
    const uid = object.metadata.uid ?? "";
    this.remove(uid);
    this.nodes.set(uid, { kind, object });
    for (const ref of object.metadata.ownerReferences ?? []) {
      let set = this.#dependents.get(ref.uid);
      if (set === undefined) this.#dependents.set(ref.uid, (set = new Set()));
      set.add(uid);
    }
  }

  remove(uid: string): void {
    for (const ref of this.nodes.get(uid)?.object.metadata.ownerReferences ?? []) {
      const set = this.#dependents.get(ref.uid);
      if (set?.delete(uid) === true && set.size === 0) this.#dependents.delete(ref.uid);
    }
    this.nodes.delete(uid);
  }

  dependents(uid: string): Node[] {
    return [...(this.#dependents.get(uid) ?? [])].flatMap((id) => this.nodes.get(id) ?? []);
  }
}

export function runGarbageCollector(env: ControllerEnv, discovered: Discovered): void {
  const graph = new OwnerGraph();
  const applier = env.applier("garbage-collector");
  const queue: WorkQueue = env.queue("garbage", WORKERS, async (uid) => {
    const node = graph.nodes.get(uid);
    if (node === undefined) return undefined;
    const live = await read(node.kind, node.object);
    if (live?.metadata.uid !== uid) return undefined;
    const owners: { ref: OwnerReference; state: OwnerState }[] = [];
    for (const ref of live.metadata.ownerReferences ?? []) {
      const state = await stateOf(ref, live);
      if (state === "unknown") return UNKNOWN_KIND_RETRY_MS;
      owners.push({ ref, state });
    }
    const dependents = graph.dependents(uid);
    return applier.run(planGarbage({ kind: node.kind, object: { ...live, kind: node.kind.kind }, owners, dependents }));
  });

  function read(kind: Kind, { metadata }: KubeObject): Promise<KubeObject | undefined> {
    return ifFound(env.client.get(kind, metadata.namespace, metadata.name));
  }

  /** Nothing is deleted on the word of a cache: an owner that seems absent is looked up where the reference says it is. */
  async function stateOf(ref: OwnerReference, of: KubeObject): Promise<OwnerState | "unknown"> {
    const known = graph.nodes.get(ref.uid);
    if (known !== undefined && known.object.metadata.name === ref.name && inReach(known, of)) return aliveState(known.object);
    const kind = discovered.find(ref.apiVersion, ref.kind);
    if (kind === undefined) return "unknown";
    const namespace = kind.namespaced ? of.metadata.namespace : undefined;
    // A cluster-scoped object cannot be owned by one in some namespace: there is nothing to look up (upstream warns too).
    if (kind.namespaced && namespace === undefined) return "unknown";
    const live = await read(kind, { metadata: { name: ref.name, ...(namespace === undefined ? {} : { namespace }) } });
    return live?.metadata.uid === ref.uid ? aliveState(live) : "absent";
  }

  const changed = (kind: Kind, change: Change<KubeObject>): void => {
    const { object } = change;
    const uid = object.metadata.uid ?? "";
    if (change.type === "drop") {
      graph.remove(uid);
      for (const { object: dependent } of graph.dependents(uid)) queue.add(dependent.metadata.uid ?? "");
      wakeOwners(object);
      return;
    }
    graph.put(kind, object);
    const { old } = change;
    const deleting = object.metadata.deletionTimestamp !== undefined;
    const finalizers = object.metadata.finalizers ?? [];
    if (!isEqual(old?.metadata.ownerReferences ?? [], object.metadata.ownerReferences ?? [])) {
      queue.add(uid);
      if (old !== undefined) wakeOwners(old);
    }
    if (!deleting || !(finalizers.includes(FOREGROUND) || finalizers.includes(ORPHAN))) return;
    queue.add(uid);
    if (finalizers.includes(FOREGROUND)) for (const d of graph.dependents(uid)) queue.add(d.object.metadata.uid ?? "");
  };
  const wakeOwners = (object: KubeObject): void => {
    for (const ref of object.metadata.ownerReferences ?? []) {
      const owner = graph.nodes.get(ref.uid);
      if (owner?.object.metadata.deletionTimestamp !== undefined) queue.add(ref.uid);
    }
  };
  discovered.listen({
    appeared: (kind: Kind, cache: Cache) => cache.listen((change) => changed(kind, change)),
    vanished: (kind: Kind, cache: Cache) => { for (const object of cache.all()) changed(kind, { type: "drop", object }); },
  });
}

function aliveState(owner: KubeObject): OwnerState {
  const waiting = owner.metadata.deletionTimestamp !== undefined && (owner.metadata.finalizers ?? []).includes(FOREGROUND);
  return waiting ? "waiting" : "solid";
}

function inReach(owner: Node, of: KubeObject): boolean {
  return !owner.kind.namespaced || owner.object.metadata.namespace === of.metadata.namespace;
}
