// Owns the file of revocation lists: read at the start, again when it changes, the last good content kept.
import { watch, type FSWatcher } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import { parseCrls, type Crl } from "./crl.ts";

/** A volume is swapped in several steps; look once they are over. */
const SETTLE_MS = 200;
/** A watch can miss a swap: a revocation is in force after this time at the latest. */
export const POLL_MS = 30_000;

export interface CrlFile {
  readonly current: readonly Crl[];
  onChange(listener: () => void): () => void;
  close(): void;
}

export interface CrlFileOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A file that is missing revokes nothing until it comes. Rejects when it is there and is no list: starting without it would fail open. */
export async function openCrlFile(o: CrlFileOptions): Promise<CrlFile> {
  const file = new WatchedFile(o);
  const problem = await file.read();
  if (problem !== undefined) throw new Error(problem);
  file.watch();
  return file;
}

class WatchedFile implements CrlFile {
  readonly #o: CrlFileOptions;
  readonly #listeners = new Set<() => void>();
  #crls: readonly Crl[] = [];
  #content: string | undefined;
  #watcher: FSWatcher | undefined;
  #settle: Timer | undefined;
  #poll: Timer | undefined;
  #closed = false;

  constructor(o: CrlFileOptions) {
    this.#o = o;
  }

  get current(): readonly Crl[] {
    return this.#crls;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    this.#settle?.cancel();
    this.#poll?.cancel();
    this.#listeners.clear();
  }

  /** Why the content cannot be used; undefined when it is in force (or nothing is there). */
  async read(): Promise<string | undefined> {
    const { path, log } = this.#o;
    let bytes: Buffer;
    try {
      bytes = await readFile(path);
    } catch (error) {
      if (!isMissing(error)) return `cannot read the revocation lists ${path}: ${errorText(error)}`;
      if (this.#content === undefined) log.warn("no revocation lists (yet)", { path });
      this.#content ??= "";
      return undefined;
    }
    const content = bytes.toString("latin1");
    if (content === this.#content || this.#closed) return undefined;
    const parsed = parseCrls(bytes);
    if (!parsed.ok) return `the revocation lists ${path} cannot be used: ${parsed.error}`;
    this.#content = content;
    this.#crls = parsed.value;
    log.info("revocation lists in force", { path, lists: parsed.value.length, certificates: parsed.value.reduce((n, c) => n + c.serials.size, 0) });
    for (const listener of this.#listeners) listener();
    return undefined;
  }

  /** The folder is watched, not the file: volumes are replaced by renaming. */
  watch(): void {
    const again = (): void => void this.read().then((problem) => {
      if (problem !== undefined && !this.#closed) this.#o.log.error("revocation lists stay as they were", { error: problem });
    });
    this.#poll = this.#o.clock.every(POLL_MS, again);
    try {
      this.#watcher = watch(dirname(this.#o.path), { persistent: false }, () => {
        this.#settle?.cancel();
        this.#settle = this.#o.clock.after(SETTLE_MS, again);
      });
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch (error) {
      this.#o.log.warn("revocation lists are polled only", { error: errorText(error) });
    }
  }
}

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
