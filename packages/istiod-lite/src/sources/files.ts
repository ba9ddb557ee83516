// Owns a folder of YAML files as the source of objects: watched, several documents a file, errors with file and line, last good kept.
import { readdirSync, readFileSync, statSync, watch, type FSWatcher } from "node:fs";
import { join, relative } from "node:path";
import { structuralEqual } from "@ambit/collections";
import { objectKey, readDocuments, type KubeObject, type ManifestDocument, type ManifestProblem } from "@ambit/kube";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import { admit, nameOf, type SourceName } from "../collections/admit.ts";
import { placed, sourceOf } from "../collections/kinds.ts";
import type { Inbox } from "./inbox.ts";

/** Editors and deployments write files in several steps: this long after the last one the folder is read. */
const SETTLE_MS = 50;
/** Notifications are lost on some file systems and when folders are exchanged: the folder is looked at anyway. */
const LOOK_EVERY_MS = 10_000;
/** A larger file is no configuration. */
const FILE_MAX_BYTES = 16 * 1024 * 1024;
const FILES_MAX = 10_000;
const FOLDERS_DEEP_MAX = 16;

export interface FileSources {
  /** Resolves when everything in the folder has been understood once: a mesh must not start without a policy that has a typo. */
  whenSynced(): Promise<void>;
  /** `file:line: why` of everything that is not understood now. */
  problems(): string[];
  /** Reads what changed now; watching does it by itself. */
  look(): void;
  stop(): void;
}

interface Read { readonly stamp: string; readonly documents: readonly ManifestDocument[]; readonly problems: readonly ManifestProblem[] }
interface Entry { readonly source: SourceName; readonly object: KubeObject }
interface Held extends Entry { readonly key: string; readonly where: string }

/** What a controller of the cluster would write on these objects, by the same keys; pure. */
export type Complete = (objects: ReadonlyMap<string, Entry>) => ReadonlyMap<string, KubeObject>;

/** Reads the folder once before it returns; throws when there is no such folder, because an empty mesh is not what was asked for. */
export function watchFiles(o: { folder: string; inbox: Inbox; complete: Complete; clock: Clock; log: Logger }): FileSources {
  const { folder, log } = o;
  if (!statSync(folder).isDirectory()) throw new Error(`${folder} is not a folder`);
  const files = new Map<string, Read>();
  let complaints = new Map<string, string>();
  let held = new Map<string, Held>();
  let waiters: (() => void)[] = [];
  let synced = false;
  let settling: Timer | undefined;

  const look = (): void => {
    let present: Map<string, string>;
    try {
      present = listFiles(folder);
    } catch (error) {
      log.warn("the folder cannot be read, the last good state stays", { folder, error: errorText(error) });
      return;
    }
    let touched = false;
    for (const [file, stamp] of present) {
      const before = files.get(file);
      if (before?.stamp === stamp) continue;
      touched = true;
      const { documents, problems } = readFile(join(folder, file), file);
      // A file with a mistake in it says nothing: what it said before stands.
      files.set(file, { stamp, problems, documents: problems.length > 0 ? (before?.documents ?? []) : documents });
    }
    for (const file of [...files.keys()]) if (!present.has(file)) touched = files.delete(file);
    if (touched || !synced) apply();
  };

  const apply = (): void => {
    const next = new Map<string, Held>();
    const found = new Map<string, string>();
    const complain = (at: string, message: string): void => void found.set(at, found.has(at) ? `${found.get(at)}; ${message}` : message);
    for (const file of [...files.keys()].sort()) {
      for (const p of files.get(file)?.problems ?? []) complain(`${p.file}:${p.line}`, p.message);
      for (const d of files.get(file)?.documents ?? []) place(d, next, held, complain);
    }
    const completed = o.complete(next);
    for (const [id, h] of next) {
      const object = completed.get(id) ?? h.object;
      next.set(id, { ...h, object });
      if (!structuralEqual(held.get(id)?.object, object)) o.inbox.put(h.source, object);
    }
    for (const [id, h] of held) if (!next.has(id)) o.inbox.remove(h.source, h.key);
    held = next;
    // Once for each new reason; the way back is silent.
    for (const [at, message] of found) if (complaints.get(at) !== message) log.warn("not understood, the last good state stays", { at, error: message });
    complaints = found;
    if (found.size > 0 || synced) return;
    synced = true;
    const all = waiters;
    waiters = [];
    for (const wake of all) wake();
  };

  look();
  const regular = o.clock.every(LOOK_EVERY_MS, look);
  const watcher = startWatch(folder, log, () => {
    settling?.cancel();
    settling = o.clock.after(SETTLE_MS, look);
  });
  return {
    look,
    problems: () => [...complaints].map(([at, message]) => `${at}: ${message}`).sort(),
    whenSynced: () => (synced ? Promise.resolve() : new Promise((resolve) => waiters.push(resolve))),
    stop: () => {
      watcher?.close();
      regular.cancel();
      settling?.cancel();
    },
  };
}

function startWatch(folder: string, log: Logger, onEvent: () => void): FSWatcher | undefined {
  const lost = (error: unknown): void => log.warn("the folder is not watched, only looked at regularly", { folder, every_ms: LOOK_EVERY_MS, error: errorText(error) });
  try {
    return watch(folder, { recursive: true }, onEvent).on("error", lost);
  } catch (error) {
    lost(error);
    return undefined;
  }
}

/** One document into the next state; what is refused leaves the object that stands. The first place of an object wins. */
function place(d: ManifestDocument, next: Map<string, Held>, held: ReadonlyMap<string, Held>, complain: (at: string, message: string) => void): void {
  const source = sourceOf(d.object);
  // Files hold more than the mesh reads: Deployments, ConfigMaps of others.
  if (source === undefined) return;
  const admitted = admit(source, placed(d.object, source));
  const object = admitted.ok ? admitted.value : placed(d.object, source);
  const key = objectKey(object);
  const id = `${source} ${key}`;
  const first = next.get(id);
  if (first !== undefined) return complain(`${d.file}:${d.line}`, `${nameOf(object)} is also at ${first.where}, which counts`);
  if (admitted.ok) {
    next.set(id, { source, key, object, where: `${d.file}:${d.line}` });
    return;
  }
  for (const p of admitted.error) complain(`${d.file}:${d.lineOf(p.path)}`, `${nameOf(object)}: ${p.path} ${p.message}`);
  const standing = held.get(id);
  if (standing !== undefined) next.set(id, standing);
}

function readFile(path: string, file: string): ReturnType<typeof readDocuments> {
  try {
    return readDocuments(readFileSync(path, "utf8"), file);
  } catch (error) {
    return { documents: [], problems: [{ file, line: 1, message: errorText(error) }] };
  }
}

/** Relative path → what changes when its content does. Hidden names are skipped, as mounted ConfigMaps hide their versions. */
function listFiles(folder: string): Map<string, string> {
  const out = new Map<string, string>();
  const visit = (at: string, depth: number): void => {
    for (const name of readdirSync(at).sort()) {
      if (name.startsWith(".")) continue;
      const path = join(at, name);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat === undefined) continue;
      if (stat.isDirectory()) {
        if (depth < FOLDERS_DEEP_MAX) visit(path, depth + 1);
        continue;
      }
      if (!stat.isFile() || !/\.(ya?ml|json)$/.test(name)) continue;
      if (stat.size > FILE_MAX_BYTES) throw new Error(`${path} has ${stat.size} bytes, at most ${FILE_MAX_BYTES} are read`);
      if (out.size >= FILES_MAX) throw new Error(`${folder} has more than ${FILES_MAX} files`);
      out.set(relative(folder, path), `${stat.mtimeMs} ${stat.size} ${stat.ino}`);
    }
  };
  visit(folder, 0);
  return out;
}
