// Owns where trust in the control plane comes from: a file that may change, the system's roots, or PEM given directly.
import { watch, type FSWatcher } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock, Timer } from "@ambit/runtime";

export const SYSTEM_ROOTS = "SYSTEM";
/** A volume is swapped in several steps; look once they are over. */
const SETTLE_MS = 200;
/** A root bundle is some kilobytes; anything near this is a mistake. */
const ROOTS_MAX_BYTES = 4 * 1024 * 1024;

export interface Roots {
  /** PEM, or null for the system's. Throws an error that names the file when it is missing or holds no certificate. */
  read(): Promise<Buffer | null>;
  /** Runs when the file's content differs from what `read` gave last. */
  onChange(listener: () => void): () => void;
  close(): void;
}

/** `source`: a path, `SYSTEM`, or text with a PEM certificate in it. */
export function createRoots(source: string, clock: Clock): Roots {
  if (source === SYSTEM_ROOTS) return fixed(null);
  if (source.includes("-----BEGIN CERTIFICATE-----")) return fixed(Buffer.from(source));
  return new FileRoots(source, clock);
}

function fixed(pem: Buffer | null): Roots {
  return { read: () => Promise.resolve(pem), onChange: () => () => undefined, close: () => undefined };
}

class FileRoots implements Roots {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  #last: string | undefined;
  #watcher: FSWatcher | undefined;
  #settle: Timer | undefined;
  #closed = false;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  async read(): Promise<Buffer> {
    this.#watch();
    const pem = await readFile(this.#path).catch((cause: unknown) => {
      throw new Error(`cannot read the root certificates ${this.#path}`, { cause });
    });
    if (pem.length > ROOTS_MAX_BYTES) throw new Error(`the root certificates ${this.#path} are larger than ${ROOTS_MAX_BYTES} bytes`);
    if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new Error(`no PEM certificate in ${this.#path}`);
    this.#last = pem.toString("latin1");
    return pem;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    this.#settle?.cancel();
    this.#watcher?.close();
  }

  /** The folder is watched, not the file: volumes are replaced by renaming. Without a watch the next connection still reads anew. */
  #watch(): void {
    if (this.#watcher !== undefined || this.#closed) return;
    try {
      this.#watcher = watch(dirname(this.#path), { persistent: false }, () => {
        this.#settle?.cancel();
        this.#settle = this.#clock.after(SETTLE_MS, () => void this.#compare());
      });
      this.#watcher.on("error", () => {
        this.#watcher?.close();
        this.#watcher = undefined;
      });
    } catch {
      this.#watcher = undefined;
    }
  }

  async #compare(): Promise<void> {
    const now = await readFile(this.#path, "latin1").catch(() => undefined);
    if (this.#closed || now === undefined || this.#last === undefined || now === this.#last) return;
    for (const listener of this.#listeners) listener();
  }
}
