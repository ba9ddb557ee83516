// Owns paged lists: the snapshot a continue token refers to, kept for a while so that pages fit together.
import { randomBytes } from "node:crypto";
import { isObject } from "../json.ts";
import { badRequest } from "../status.ts";
import type { Entry } from "./store.ts";

/** Snapshots only hold references; more concurrent paged lists than this make the oldest answer 410. */
const MAX_SNAPSHOTS = 64;
/** As long as etcd's usual history. */
const SNAPSHOT_LIFE_MS = 5 * 60 * 1000;

interface Snapshot {
  readonly rv: number;
  /** The entries after the pages already sent, in key order. */
  readonly entries: readonly Entry[];
  readonly until: number;
}

interface ContinueToken {
  readonly snapshot: string;
  readonly rv: number;
  /** Key of the last object sent. */
  readonly after: string;
}

export class Pages {
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Keeps the rest of a list and returns the token for it. */
  keep(rv: number, entries: readonly Entry[], after: string): string {
    this.#expire();
    const snapshot = randomBytes(9).toString("base64url");
    this.#snapshots.set(snapshot, { rv, entries, until: this.#now() + SNAPSHOT_LIFE_MS });
    return encodeContinue({ snapshot, rv, after });
  }

  find(token: ContinueToken): Snapshot | undefined {
    this.#expire();
    return this.#snapshots.get(token.snapshot);
  }

  #expire(): void {
    for (const [id, snapshot] of this.#snapshots) {
      const excess = this.#snapshots.size > MAX_SNAPSHOTS;
      if (!excess && snapshot.until > this.#now()) break;
      this.#snapshots.delete(id);
    }
  }
}

export function encodeContinue(token: ContinueToken): string {
  return Buffer.from(JSON.stringify([1, token.snapshot, token.rv, token.after])).toString("base64url");
}

/** Throws 400 for anything this server did not hand out. */
export function decodeContinue(text: string): ContinueToken {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    throw badRequest("continue key is not valid: it is not a token of this server");
  }
  if (Array.isArray(value) && !isObject(value)) {
    const [format, snapshot, rv, after] = value as unknown[];
    if (format === 1 && typeof snapshot === "string" && typeof rv === "number" && typeof after === "string") {
      return { snapshot, rv, after };
    }
  }
  throw badRequest("continue key is not valid: it is not a token of this server");
}
