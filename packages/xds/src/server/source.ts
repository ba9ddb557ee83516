// Owns the seam between the server and what it serves: one source per resource type, and the shared table kept from it.
import type { Identity } from "@ambit/core";
import { SetChecksum } from "../protocol/checksum.ts";
import type { Truth } from "../protocol/delta-server.ts";
import { encodeResourceField } from "../wire/encode.ts";

export interface ServedResource {
  readonly name: string;
  /** Stable for equal content; ignored when the source is not versioned. */
  readonly version: string;
  /** The encoded resource message (the value of the Any). */
  readonly bytes: Uint8Array;
  readonly aliases: readonly string[];
}

export interface ResourceSource {
  readonly typeUrl: string;
  /** False: resources go out without a version and are sent again in full on every reconnect (Authorization). */
  readonly versioned: boolean;
  /** Who may have which resource; absent: every authenticated client all of them. Where it is present there is no wildcard. */
  permits?(name: string, identity: Identity): boolean;
  all(): Iterable<ServedResource>;
  /** What answers an on-demand request: maybe several (a service and its workloads), maybe none. */
  get(nameOrAlias: string): readonly ServedResource[];
  /** Names of the resources that belong to a node; absent: none do. */
  onNode?(node: string): readonly string[];
  /** Already debounced; the source must answer with the new state when the listener runs. Returns the unsubscribe function. */
  onChange(listener: (changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void): () => void;
}

interface Entry {
  readonly resource: ServedResource;
  field?: Buffer;
  fieldWithAliases?: Buffer;
}

/** Name, version, Any header and lengths around the body: what a resource costs beyond its bytes, roughly. */
const OVERHEAD_BYTES = 128;

/** A table as one client may see it. */
export function permitted(table: ResourceTable, identity: Identity): Truth {
  const permits = table.source.permits?.bind(table.source);
  if (permits === undefined) return table;
  const may = (name: string): boolean => permits(name, identity);
  return {
    names: () => [...table.names()].filter(may),
    versionOf: (name) => (may(name) ? table.versionOf(name) : undefined),
    sizeOf: (name) => table.sizeOf(name),
    resolve: (name) => table.resolve(name).filter(may),
    onNode: (node) => table.onNode(node).filter(may),
    // It is of everything, which nobody sees here.
    checksum: () => undefined,
  };
}

/** What one source holds now, shared by all streams: every resource is encoded at most once per version (twice with aliases). */
export class ResourceTable implements Truth {
  readonly source: ResourceSource;
  readonly #entries = new Map<string, Entry>();
  readonly #checksum = new SetChecksum();
  #sequence = 1;
  readonly #listeners = new Set<(names: ReadonlySet<string>) => void>();
  readonly #unsubscribe: () => void;

  constructor(source: ResourceSource) {
    this.source = source;
    for (const resource of source.all()) this.#put(resource.name, resource);
    this.#unsubscribe = source.onChange((changed, removed) => this.#update(changed, removed));
  }

  /** Grows with every change: the version of the whole, for the books. */
  get version(): string {
    return String(this.#sequence);
  }

  get size(): number {
    return this.#entries.size;
  }

  names(): Iterable<string> {
    return this.#entries.keys();
  }

  versionOf(name: string): string | undefined {
    return this.#entries.get(name)?.resource.version;
  }

  sizeOf(name: string): number {
    const r = this.#entries.get(name)?.resource;
    return r === undefined ? 0 : r.bytes.length + r.name.length + OVERHEAD_BYTES;
  }

  resolve(nameOrAlias: string): readonly string[] {
    return this.source.get(nameOrAlias).filter((r) => this.#entries.has(r.name)).map((r) => r.name);
  }

  onNode(node: string): readonly string[] {
    return this.source.onNode?.(node).filter((n) => this.#entries.has(n)) ?? [];
  }

  checksum(): string | undefined {
    return this.source.versioned ? this.#checksum.text : undefined;
  }

  /** The encoded response field of a resource that exists. */
  field(name: string, withAliases: boolean): Buffer {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new Error(`defect: no resource ${name} in the table of ${this.source.typeUrl}`);
    const key = withAliases && entry.resource.aliases.length > 0 ? "fieldWithAliases" : "field";
    const version = this.source.versioned ? entry.resource.version : "";
    const aliases = key === "field" ? [] : entry.resource.aliases;
    return (entry[key] ??= encodeResourceField({ ...entry.resource, version, aliases }, this.source.typeUrl));
  }

  /** Runs after each change of the table, with every name touched. */
  onChange(listener: (names: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#unsubscribe();
    this.#listeners.clear();
  }

  #put(name: string, resource: ServedResource | undefined): void {
    const old = this.#entries.get(name)?.resource;
    if (old !== undefined) this.#checksum.toggle(name, old.version);
    if (resource === undefined) this.#entries.delete(name);
    else {
      this.#entries.set(name, { resource });
      this.#checksum.toggle(name, resource.version);
    }
  }

  #update(changed: ReadonlySet<string>, removed: ReadonlySet<string>): void {
    const touched = new Set<string>();
    for (const name of changed) {
      touched.add(name);
      const resource = this.source.get(name).find((r) => r.name === name);
      this.#put(name, resource);
    }
    for (const name of removed) {
      touched.add(name);
      this.#put(name, undefined);
    }
    if (touched.size === 0) return;
    this.#sequence++;
    for (const listener of this.#listeners) listener(touched);
  }
}
