// Owns reading, applying and deleting single objects of any kind, and whether that changed anything.
import { ifFound, isNotFound, KindFinder, KubeError, type KubeClient, type KubeObject } from "@ambit/kube";
import { UsageError } from "../usage-error.ts";
import { idOf, nameOf, type ObjectId } from "./plan/inventory.ts";

export const FIELD_MANAGER = "ambit";
export type Change = "created" | "changed" | "unchanged";

export class ClusterObjects {
  readonly #client: KubeClient;
  readonly #kinds: KindFinder;

  constructor(client: KubeClient) {
    this.#client = client;
    this.#kinds = new KindFinder(client);
  }

  /** Undefined where the object, or its kind, is not there. */
  get(id: ObjectId): Promise<KubeObject | undefined> {
    return ifFound(this.#kinds.find(id.apiVersion, id.kind).then((kind) => this.#client.get(kind, id.namespace, id.name)));
  }

  /** `live` is what stands; `force` takes fields over that others own. */
  async apply(object: KubeObject, live: KubeObject | undefined, options: { force: boolean; dryRun: boolean }): Promise<Change> {
    const id = idOf(object);
    try {
      const applied = await this.#client.patch(await this.#kinds.find(id.apiVersion, id.kind), id.namespace, id.name, object, { type: "apply", fieldManager: FIELD_MANAGER, ...options });
      if (live === undefined) return "created";
      return (options.dryRun ? content(applied) === content(live) : applied.metadata.resourceVersion === live.metadata.resourceVersion) ? "unchanged" : "changed";
    } catch (error) {
      if (error instanceof KubeError && error.reason === "Conflict") throw new UsageError(`${nameOf(id)}: ${error.message}. --take-over makes these fields ours`, { cause: error });
      throw error;
    }
  }

  /** False where it was gone already. */
  async remove(id: ObjectId): Promise<boolean> {
    try {
      await this.#client.delete(await this.#kinds.find(id.apiVersion, id.kind), id.namespace, id.name, { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }
}

/** What an object says, without what the server keeps about it. */
function content(o: KubeObject): string {
  const { managedFields: _fields, resourceVersion: _version, generation: _generation, ...metadata } = o.metadata as KubeObject["metadata"] & { managedFields?: unknown };
  return sorted({ ...o, metadata });
}
const sorted = (v: unknown): string => JSON.stringify(v, (_key, x: unknown) => (typeof x === "object" && x !== null && !Array.isArray(x) ? Object.fromEntries(Object.entries(x).sort(([a], [b]) => (a < b ? -1 : 1))) : x));
