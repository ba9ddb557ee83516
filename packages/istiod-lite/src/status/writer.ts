// Owns the writing of conditions: what the graph wants, compared with what stands, applied by one field manager each. Leader only.
import type { Collection } from "@ambit/collections";
import { isConflict, isNotFound, KINDS, type Kind, type KubeClient, type KubeObject } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import type { DesiredParent, DesiredStatus, StandingCondition, StatusKind } from "./conditions.ts";
import { keysOf, STATUS_KINDS, statusToApply } from "./conditions.ts";
import { parentsToApply, type StatusList } from "./parents.ts";
import { createWorker, type Worker } from "./worker.ts";

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly desired: Collection<DesiredStatus>;
  /** Objects as last seen. */
  readonly objects: Readonly<Record<StatusKind, Collection<KubeObject>>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Watches the desired conditions; `resume` with all keys when leadership begins, `pause` when it ends. */
export function createStatusWriter(o: StatusWriterOptions): Worker & { keys(): string[] } {
  const worker = createWorker({ name: "status", clock: o.clock, log: o.log, reconcile: (key) => write(o, key) });
  o.desired.onChange((changes) => { for (const c of changes) if (c.after !== undefined) worker.add(c.key); });
  // A new generation, or a condition that someone else took away.
  for (const kind of STATUS_KINDS)
    o.objects[kind].onChange((changes) => {
      for (const { after } of changes)
        if (after !== undefined) for (const key of keysOf(kind, after.metadata.namespace ?? "", after.metadata.name)) worker.add(key);
    });
  return { ...worker, keys: () => o.desired.keys() };
}

async function write(o: StatusWriterOptions, key: string): Promise<void> {
  const want = o.desired.get(key);
  const object = want === undefined ? undefined : o.objects[want.kind].get(`${want.namespace}/${want.name}`);
  if (want === undefined || object === undefined || object.metadata.deletionTimestamp !== undefined) return;
  if (want.parents !== undefined) return writeEntries(o, want, "parents", want.parents, object);
  if (want.ancestors !== undefined) return writeEntries(o, want, "ancestors", want.ancestors, object);
  const status = statusToApply(want, standingOn(object), object.metadata.generation, timestamp(o.clock));
  if (status === undefined) return;
  const kind: Kind = KINDS[want.kind];
  const body = {
    apiVersion: object.apiVersion ?? (kind.group === "" ? kind.version : `${kind.group}/${kind.version}`), kind: kind.kind,
    // A uid keeps a successor of the same name from getting its predecessor's conditions.
    metadata: { name: want.name, namespace: want.namespace, ...(object.metadata.uid === undefined ? {} : { uid: object.metadata.uid }) },
    status,
  };
  const version = (object.apiVersion ?? "").split("/").at(-1) ?? kind.version;
  try {
    await o.client.patch({ ...kind, version }, want.namespace, want.name, body, { type: "apply", subresource: "status", fieldManager: want.manager, force: true });
    o.log.debug("conditions written", { key, conditions: want.conditions.map((c) => `${c.type}=${c.status}`).join() });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** A list that belongs to many: written whole, on the version that was read, or not at all (then again later). */
async function writeEntries(o: StatusWriterOptions, want: DesiredStatus, list: StatusList, wanted: readonly DesiredParent[], object: KubeObject): Promise<void> {
  const status = record(object["status"]);
  const standing = Array.isArray(status[list]) ? status[list].map(record) : [];
  const entries = parentsToApply(wanted, standing, object.metadata.generation, timestamp(o.clock), list);
  if (entries === undefined) return;
  const version = (object.apiVersion ?? "").split("/").at(-1) ?? KINDS[want.kind].version;
  const { uid, resourceVersion } = object.metadata;
  const metadata = { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
  try {
    await o.client.patch({ ...KINDS[want.kind], version }, want.namespace, want.name, { metadata, status: { [list]: entries } }, { type: "merge", subresource: "status", fieldManager: want.manager });
    o.log.debug("parents written", { key: want.key, entries: entries.length });
  } catch (error) {
    // Somebody wrote in between: the new object is on its way here, and brings this key along.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

const timestamp = (clock: Clock): string => new Date(clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
const record = (v: unknown): Record<string, unknown> => (typeof v === "object" && v !== null ? (v as Record<string, unknown>) : {});

function standingOn(object: KubeObject): StandingCondition[] {
  const status = object["status"];
  const conditions = typeof status === "object" && status !== null ? (status as Record<string, unknown>)["conditions"] : undefined;
  return Array.isArray(conditions) ? conditions.filter((c): c is StandingCondition => typeof c === "object" && c !== null) : [];
}
