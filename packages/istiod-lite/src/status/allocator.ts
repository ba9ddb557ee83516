// Owns the writing of allocated addresses to ServiceEntry.status.addresses. Leader only; a changed status in between is looked at again.
import type { Collection } from "@ambit/collections";
import { isNotFound, KINDS, type KubeClient, type KubeObject } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import { allocatableHosts, wantsAllocation, type EntryInfo } from "../collections/service-entries.ts";
import { allocate, type Allocated } from "../plan/allocate.ts";
import { createWorker, type Worker } from "./worker.ts";

export interface AllocatorOptions {
  readonly client: KubeClient;
  readonly entries: Collection<EntryInfo>;
  readonly objects: Collection<KubeObject>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The plan is made once per change of the entries, however many of them are written after it. */
export function createAllocator(o: AllocatorOptions): Worker & { keys(): string[] } {
  let plan: Map<string, readonly Allocated[]> | undefined;
  const planned = (): Map<string, readonly Allocated[]> => (plan ??= allocate(o.entries.list().map((e) => ({
    key: e.key, created: e.owner.created, chosen: e.spec?.addresses ?? [],
    hosts: e.spec !== undefined && wantsAllocation(e.spec, e.labels) ? allocatableHosts(e.spec) : [],
    current: standing(o.objects.get(e.key)),
  }))));
  const worker = createWorker({ name: "addresses", clock: o.clock, log: o.log, reconcile: (key) => write(o, key, planned().get(key)) });
  o.objects.onChange((changes) => {
    plan = undefined;
    // An address that one entry gives up or chooses may concern any other.
    if (changes.length > 0) for (const key of o.entries.keys()) if (differs(standing(o.objects.get(key)), planned().get(key) ?? [])) worker.add(key);
  });
  return { ...worker, keys: () => o.entries.keys() };
}

async function write(o: AllocatorOptions, key: string, want: readonly Allocated[] | undefined): Promise<void> {
  const object = o.objects.get(key);
  const entry = o.entries.get(key);
  // A refused entry keeps what it has: it may be back in a moment.
  if (object === undefined || want === undefined || entry?.spec === undefined || object.metadata.deletionTimestamp !== undefined) return;
  const now = standing(object);
  if (!differs(now, want)) return;
  const status = object["status"];
  const hasStatus = typeof status === "object" && status !== null;
  const hasAddresses = hasStatus && (status as { addresses?: unknown }).addresses !== undefined;
  const addresses = want.map(({ host, value }) => ({ value, host }));
  // The test keeps two writers from overwriting each other: the loser looks again at what the winner wrote.
  const patch = [
    { op: "test", path: "/metadata/resourceVersion", value: object.metadata.resourceVersion },
    ...(hasStatus ? [] : [{ op: "add", path: "/status", value: {} }]),
    { op: hasAddresses ? "replace" : "add", path: "/status/addresses", value: addresses },
  ];
  try {
    await o.client.patch(KINDS.serviceEntries, entry.owner.namespace, entry.owner.name, patch, { type: "json", subresource: "status" });
    o.log.info("addresses allocated", { entry: key, addresses: want.map((a) => a.value).join() });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function standing(object: KubeObject | undefined): Allocated[] {
  const status = object?.["status"] as { addresses?: unknown } | null | undefined;
  return (Array.isArray(status?.addresses) ? (status.addresses as Partial<Allocated>[]) : []).map((a) => ({ host: String(a?.host ?? ""), value: String(a?.value ?? "") }));
}

const differs = (a: readonly Allocated[], b: readonly Allocated[]): boolean =>
  a.length !== b.length || a.some((x, i) => x.host !== b[i]?.host || x.value !== b[i]?.value);
