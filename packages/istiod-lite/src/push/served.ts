// Owns one collection as served resources: encoded once per change, versioned by content, announced on the tick.
import { hash } from "node:crypto";
import type { Collection } from "@ambit/collections";
import type { Clock } from "@ambit/runtime";
import type { ResourceSource, ServedResource } from "@ambit/xds";
import type { Ticker } from "./debounce.ts";

export interface ServedOptions<T> {
  readonly typeUrl: string;
  readonly versioned: boolean;
  readonly collection: Collection<T>;
  readonly ticker: Ticker;
  /** Changes of these wait for the shortest gap only. */
  readonly urgent?: boolean;
  readonly encode: (item: T) => Uint8Array;
  /** Other names under which an on-demand client may ask for it. */
  readonly aliases: (item: T) => readonly string[];
  /** Removals of these are announced later than everything else. Default: none. */
  readonly linger?: { readonly clock: Clock; readonly ms: number; readonly applies: (item: T) => boolean };
  /** Names whose asker also gets this item: the services of a workload. */
  readonly joins: (item: T) => readonly string[];
  /** The node it runs on: an on-demand client of that node gets it unasked. Default: none. */
  readonly node?: (item: T) => string;
}

export interface ServedSource extends ResourceSource {
  /** Looks at the next `count` names, in a circle: what is served must be what the collection says. Mends and returns those that are not. */
  audit(count: number): readonly string[];
}

/** Hex digits of SHA-256: 64 bits, as Istio's version has. */
const VERSION_DIGITS = 16;

interface Entry { readonly resource: ServedResource; readonly joins: readonly string[]; readonly lingers: boolean; readonly node: string }
type Listener = (changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void;

/** What it answers is what it announced: changes since the last tick are not visible yet. */
export function serve<T>(o: ServedOptions<T>): ServedSource {
  const entries = new Map<string, Entry>();
  const byAlias = new Map<string, Set<string>>();
  const byJoin = new Map<string, Set<string>>();
  const byNode = new Map<string, Set<string>>();
  const listeners = new Set<Listener>();
  let touched = new Set<string>();
  /** Gone from the collection, not yet for clients. */
  const leaving = new Map<string, "waiting" | "due">();
  let round = bothSides(o.collection, entries);

  const lingers = (name: string): boolean => {
    const { linger } = o;
    if (linger === undefined || entries.get(name)?.lingers !== true || leaving.get(name) === "due") return false;
    if (leaving.has(name)) return true;
    leaving.set(name, "waiting");
    linger.clock.after(linger.ms, () => {
      if (leaving.get(name) !== "waiting") return;
      leaving.set(name, "due");
      touched.add(name);
      o.ticker.touch(o.urgent);
    });
    return true;
  };

  const apply = (name: string): "changed" | "removed" | "same" => {
    const item = o.collection.get(name);
    const old = entries.get(name);
    if (item === undefined && lingers(name)) return "same";
    leaving.delete(name);
    const entry = item === undefined ? undefined : entryOf(o, name, item);
    if (entry !== undefined && old !== undefined && sameEntry(entry, old)) return "same";
    if (entry === undefined && old === undefined) return "same";
    if (old !== undefined) {
      for (const a of old.resource.aliases) drop(byAlias, a, name);
      for (const j of old.joins) drop(byJoin, j, name);
      if (old.node !== "") drop(byNode, old.node, name);
    }
    if (entry === undefined) {
      entries.delete(name);
      return "removed";
    }
    entries.set(name, entry);
    for (const a of entry.resource.aliases) put(byAlias, a, name);
    for (const j of entry.joins) put(byJoin, j, name);
    if (entry.node !== "") put(byNode, entry.node, name);
    return "changed";
  };

  for (const key of o.collection.keys()) apply(key);
  o.collection.onChange((changes) => {
    for (const c of changes) touched.add(c.key);
    o.ticker.touch(o.urgent);
  });
  o.ticker.add(() => {
    const names = touched;
    touched = new Set();
    const changed = new Set<string>();
    const removed = new Set<string>();
    for (const name of names) {
      const outcome = apply(name);
      if (outcome === "changed") changed.add(name);
      if (outcome === "removed") removed.add(name);
    }
    if (changed.size + removed.size > 0) for (const listener of listeners) listener(changed, removed);
  });

  return {
    typeUrl: o.typeUrl,
    versioned: o.versioned,
    *all() { for (const e of entries.values()) yield e.resource; },
    get(nameOrAlias) {
      const exact = entries.has(nameOrAlias) ? [nameOrAlias] : [...(byAlias.get(nameOrAlias) ?? [])];
      const names = new Set(exact);
      for (const name of exact) for (const member of byJoin.get(name) ?? []) names.add(member);
      return [...names].flatMap((n) => entries.get(n)?.resource ?? []);
    },
    onNode: (node) => [...(byNode.get(node) ?? [])],
    audit(count) {
      const wrong: string[] = [];
      for (let i = 0; i < count; i++) {
        const next = round.next();
        if (next.done === true) {
          round = bothSides(o.collection, entries);
          break;
        }
        const name = next.value;
        // What is on its way is not lost.
        if (touched.has(name) || leaving.has(name) || agrees(o, name, entries.get(name))) continue;
        wrong.push(name);
        touched.add(name);
      }
      if (wrong.length > 0) o.ticker.touch(o.urgent);
      return wrong;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function entryOf<T>(o: ServedOptions<T>, name: string, item: T): Entry {
  const bytes = o.encode(item);
  return { resource: { name, version: hash("sha256", bytes, "hex").slice(0, VERSION_DIGITS), bytes, aliases: o.aliases(item) }, joins: o.joins(item), lingers: o.linger?.applies(item) ?? false, node: o.node?.(item) ?? "" };
}

function* bothSides<T>(collection: Collection<T>, entries: ReadonlyMap<string, Entry>): Generator<string> {
  yield* collection.keys();
  for (const name of [...entries.keys()]) if (collection.get(name) === undefined) yield name;
}

function agrees<T>(o: ServedOptions<T>, name: string, entry: Entry | undefined): boolean {
  const item = o.collection.get(name);
  if (item === undefined || entry === undefined) return item === undefined && entry === undefined;
  return sameEntry(entryOf(o, name, item), entry);
}

const sameEntry = (a: Entry, b: Entry): boolean =>
  a.resource.version === b.resource.version && a.lingers === b.lingers && a.node === b.node && a.resource.aliases.join() === b.resource.aliases.join() && a.joins.join() === b.joins.join();

function put(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function drop(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  if (set?.delete(value) === true && set.size === 0) sets.delete(key);
}
