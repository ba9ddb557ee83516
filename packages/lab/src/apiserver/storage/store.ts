// Owns the objects: buckets of entries under one rising resourceVersion, their recent changes, and who watches them.
import type { JsonObject } from "../json.ts";
import type { ChangeLog, LogRecord } from "./log.ts";

/** Changes kept per bucket for watches that resume; older ones answer 410 and the client lists again. */
export const WINDOW_EVENTS = 4096;

/** One stored state of an object. The object is never changed in place. */
export class Entry {
  readonly key: string;
  readonly object: JsonObject;
  readonly rv: number;
  #texts: Map<string, string> | undefined;

  constructor(key: string, object: JsonObject, rv: number) {
    this.key = key;
    this.object = object;
    this.rv = rv;
  }

  /** The serialised form `form`, made once and shared by every reader. */
  text(form: string, make: () => string): string {
    this.#texts ??= new Map();
    let text = this.#texts.get(form);
    if (text === undefined) {
      text = make();
      this.#texts.set(form, text);
    }
    return text;
  }
}

/** A committed change: what was there before and what is there now (at least one of them). */
export class Change {
  readonly rv: number;
  readonly before: Entry | null;
  readonly after: Entry | null;
  /** Bytes for the wire, made once per form and shared by all watchers. */
  readonly frames = new Map<string, Buffer>();
  #left: Entry | null = null;

  constructor(rv: number, before: Entry | null, after: Entry | null) {
    this.rv = rv;
    this.before = before;
    this.after = after;
  }

  /** What a watcher sees when the object leaves its view: the state before, under this change's version. */
  get left(): Entry | null {
    if (this.#left === null && this.before !== null) {
      this.#left = new Entry(this.before.key, withVersion(this.before.object, this.rv), this.rv);
    }
    return this.#left;
  }
}

type Listener = (change: Change) => void;

interface Bucket {
  readonly entries: Map<string, Entry>;
  /** Keys in order; null when an insertion or removal made it stale. */
  sorted: string[] | null;
  window: Change[];
  /** Changes up to and including this version are no longer in the window. */
  windowFloor: number;
  readonly listeners: Set<Listener>;
}

type Resume = { readonly kind: "ok"; readonly changes: readonly Change[] } | { readonly kind: "gone"; readonly floor: number };

export class Store {
  #rv = 1;
  #log: ChangeLog;
  #floor = 1;
  readonly #buckets = new Map<string, Bucket>();
  readonly #any = new Set<(bucket: string, change: Change) => void>();

  constructor(log: ChangeLog) {
    this.#log = log;
  }

  /** The newest resourceVersion. */
  get rv(): number {
    return this.#rv;
  }

  useLog(log: ChangeLog): void {
    this.#log = log;
  }

  /** Takes a record of the log at start; no one is told. */
  replay(record: LogRecord): void {
    this.#rv = Math.max(this.#rv, record.rv);
    if (record.bucket === "") {
      this.#floor = record.rv;
      return;
    }
    this.#apply(record.bucket, record.key, record.object, record.rv, record.rv > this.#floor);
  }

  get(bucket: string, key: string): Entry | undefined {
    return this.#buckets.get(bucket)?.entries.get(key);
  }

  size(bucket: string): number {
    return this.#buckets.get(bucket)?.entries.size ?? 0;
  }

  /** Entries in key order whose key starts with `prefix` ("ns/" selects a namespace). */
  list(bucketName: string, prefix = ""): Entry[] {
    const bucket = this.#bucket(bucketName);
    bucket.sorted ??= [...bucket.entries.keys()].sort();
    const keys = bucket.sorted;
    const found: Entry[] = [];
    for (let i = prefix === "" ? 0 : lowerBound(keys, prefix); i < keys.length; i++) {
      const key = keys[i] as string;
      if (!key.startsWith(prefix)) break;
      found.push(bucket.entries.get(key) as Entry);
    }
    return found;
  }

  buckets(): string[] {
    return [...this.#buckets.keys()];
  }

  /** Stores the object under the next version, which is written into its metadata; the caller hands it over. */
  put(bucket: string, key: string, object: JsonObject): Entry {
    const rv = this.#rv + 1;
    (object["metadata"] as JsonObject)["resourceVersion"] = String(rv);
    this.#log.append({ rv, bucket, key, object });
    this.#rv = rv;
    const change = this.#apply(bucket, key, object, rv, true);
    this.#tell(bucket, change);
    return change.after as Entry;
  }

  /** Removes the object; watchers see its last state under a new version. */
  remove(bucket: string, key: string): void {
    if (this.get(bucket, key) === undefined) return;
    const rv = this.#rv + 1;
    this.#log.append({ rv, bucket, key, object: null });
    this.#rv = rv;
    this.#tell(bucket, this.#apply(bucket, key, null, rv, true));
  }

  /** Changes after `rv`, or gone when they are no longer (or were never) known. */
  since(bucketName: string, rv: number): Resume {
    const bucket = this.#bucket(bucketName);
    if (rv < bucket.windowFloor || rv > this.#rv) return { kind: "gone", floor: bucket.windowFloor };
    let from = bucket.window.length;
    while (from > 0 && (bucket.window[from - 1] as Change).rv > rv) from -= 1;
    return { kind: "ok", changes: bucket.window.slice(from) };
  }

  /** Calls `listener` with each later change of the bucket until the returned function is called. */
  listen(bucketName: string, listener: Listener): () => void {
    const { listeners } = this.#bucket(bucketName);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  listenAll(listener: (bucket: string, change: Change) => void): () => void {
    this.#any.add(listener);
    return () => this.#any.delete(listener);
  }

  /** Rewrites the log to just the present objects. */
  compact(): void {
    this.#log.rewrite(this.#rv, this.#records());
  }

  compactIfDue(): void {
    if (this.#log.due()) this.compact();
  }

  close(): void {
    this.#log.close();
  }

  *#records(): Generator<LogRecord> {
    for (const [name, bucket] of this.#buckets) {
      for (const entry of bucket.entries.values()) yield { rv: entry.rv, bucket: name, key: entry.key, object: entry.object };
    }
  }

  #bucket(name: string): Bucket {
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      bucket = { entries: new Map(), sorted: null, window: [], windowFloor: this.#floor, listeners: new Set() };
      this.#buckets.set(name, bucket);
    }
    return bucket;
  }

  #apply(name: string, key: string, object: JsonObject | null, rv: number, remember: boolean): Change {
    const bucket = this.#bucket(name);
    const before = bucket.entries.get(key) ?? null;
    const after = object === null ? null : new Entry(key, object, rv);
    if (after === null) bucket.entries.delete(key);
    else bucket.entries.set(key, after);
    if ((before === null) !== (after === null)) bucket.sorted = null;
    const change = new Change(rv, before, after);
    if (remember) remind(bucket, change);
    return change;
  }

  #tell(name: string, change: Change): void {
    for (const listener of this.#bucket(name).listeners) listener(change);
    for (const listener of this.#any) listener(name, change);
  }
}

/** Appends to the window; trims in halves so that the cost per change stays constant. */
function remind(bucket: Bucket, change: Change): void {
  bucket.window.push(change);
  if (bucket.window.length < WINDOW_EVENTS * 2) return;
  const dropped = bucket.window.splice(0, bucket.window.length - WINDOW_EVENTS);
  bucket.windowFloor = (dropped[dropped.length - 1] as Change).rv;
}

function withVersion(object: JsonObject, rv: number): JsonObject {
  return { ...object, metadata: { ...(object["metadata"] as JsonObject), resourceVersion: String(rv) } };
}

function lowerBound(keys: readonly string[], wanted: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] as string) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
