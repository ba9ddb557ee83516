// Owns the keys of issuers: fetched when a policy first wants them, refreshed, kept while an issuer is away (also over our own restarts),
// forgotten with the last policy.
import type { Collection, Source } from "@ambit/collections";
import { backoffDelay, errorText, type Clock, type Logger, type Random, type Timer } from "@ambit/runtime";
import { isKeySet, type FetchedKeys, type WantedKeys } from "../collections/waypoint/request-authentication.ts";
import { decodeRecord, KEEP_MS, type KeptByKey, type KeptKeys } from "./record.ts";

/** Istio's: often enough for a rotation that keeps the old key for an hour. */
const REFRESH_MS = 20 * 60_000;
/** After failures; the first ones may be a service that is only starting. */
const BACKOFF = { initialMs: 1_000, maxMs: 60 * 60_000 };
/** Fetches under way at once. */
const CONCURRENCY = 8;
/** Sources of keys that are followed; those beyond, by name, wait. A mesh has a handful of issuers. */
const FOLLOWED_MAX = 1_024;

interface Followed {
  wanted: WantedKeys;
  timer: Timer | undefined;
  failures: number;
  /** Asked for by us, with whatever outcome. */
  asked: boolean;
  good: KeptKeys | undefined;
}

/** A control plane that starts waits so long for keys before it serves: without them it would tell waypoints, which have them, that there are none. */
const FIRST_MS = 5_000;

/** Keys that fail are looked up in the record at most this often: another replica may have had more luck. */
const RECALL_EVERY_MS = 10_000;

export interface KeyKeeper {
  /** Reads what was good in an earlier life, or for another replica. Never rejects; before objects come in, so that nobody is told that there are no keys. */
  recall(): Promise<void>;
  /** The last good keys of what is wanted. */
  good(): readonly KeptKeys[];
  wanted(): ReadonlySet<string>;
  /** Keys came, were confirmed, or are not wanted any more. Returns how to end it. */
  onGood(listener: () => void): () => void;
  /** Everything that is wanted now was asked for once, whatever came of it, or `FIRST_MS` are over. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * `fetch` downloads one document; the keeper bounds it in time. `record` reads what is written of good keys ("": nothing). Never on the path of
 * a push: what is there is pushed, what comes later is a change.
 */
export function keepKeys(o: {
  wanted: Collection<WantedKeys>; fetched: Source<FetchedKeys>; fetch: (uri: string, signal: AbortSignal) => Promise<string>; record: () => Promise<string>;
  clock: Clock; random: Random; log: Logger;
}): KeyKeeper {
  const followed = new Map<string, Followed>();
  const queue = new Set<string>();
  const running = new Map<string, { abort: AbortController; done: Promise<void> }>();
  let stopped = false;
  let recorded: KeptByKey = new Map();
  let recalledAt: number | undefined;
  const listeners = new Set<() => void>();
  const tell = (): void => { for (const l of listeners) l(); };

  let waiters: { readonly keys: Set<string>; readonly resolve: () => void }[] = [];
  const answered = (key: string): void => {
    for (const w of waiters) if (w.keys.delete(key) && w.keys.size === 0) w.resolve();
    waiters = waiters.filter((w) => w.keys.size > 0);
  };

  const pump = (): void => {
    for (const key of queue) {
      if (stopped || running.size >= CONCURRENCY) return;
      if (running.has(key)) continue;
      queue.delete(key);
      const f = followed.get(key);
      if (f === undefined) continue;
      const abort = new AbortController();
      running.set(key, { abort, done: once(f, abort).finally(() => { running.delete(key); answered(key); pump(); }) });
    }
  };
  const once = async (f: Followed, abort: AbortController): Promise<void> => {
    const { key, timeoutMs } = f.wanted;
    const limit = o.clock.after(timeoutMs, () => abort.abort(new Error(`no answer within ${timeoutMs} ms`)));
    try {
      const jwks = await download(f.wanted, abort.signal);
      if (followed.get(key) !== f) return;
      f.failures = 0;
      f.asked = true;
      f.good = { key, jwks, goodAt: o.clock.now() };
      o.fetched.set({ key, jwks, error: undefined });
      later(f, REFRESH_MS);
      tell();
    } catch (error) {
      if (followed.get(key) !== f) return;
      f.asked = true;
      const text = errorText(error);
      await recall();
      if (followed.get(key) !== f) return;
      adopt(f);
      const expired = f.good === undefined || o.clock.now() - f.good.goodAt > KEEP_MS;
      if (expired) o.fetched.set({ key, jwks: undefined, error: text });
      const delay = backoffDelay(BACKOFF, f.failures++, o.random);
      o.log.warn("keys not fetched, will try again", { keys: key, error: text, retry_ms: Math.round(delay), using: expired ? "none" : "the last good ones" });
      later(f, delay);
    } finally {
      limit.cancel();
    }
  };
  const recall = async (): Promise<void> => {
    const now = o.clock.now();
    if (recalledAt !== undefined && now - recalledAt < RECALL_EVERY_MS) return;
    recalledAt = now;
    try {
      recorded = decodeRecord(await o.record(), o.clock.now());
    } catch (error) {
      o.log.warn("the record of issuers' keys cannot be read", { error: errorText(error) });
    }
  };
  /** Keys of the record, where they are later than ours. */
  const adopt = (f: Followed): void => {
    const kept = recorded.get(f.wanted.key);
    if (kept === undefined || kept.goodAt <= (f.good?.goodAt ?? Number.NEGATIVE_INFINITY) || o.clock.now() - kept.goodAt > KEEP_MS) return;
    f.good = kept;
    o.fetched.set({ key: kept.key, jwks: kept.jwks, error: undefined });
  };
  const download = async (w: WantedKeys, signal: AbortSignal): Promise<string> => {
    const text = await o.fetch(w.discovery ? discovered(await o.fetch(w.uri, signal)) : w.uri, signal);
    if (!isKeySet(text)) throw new Error("the answer is no JSON Web Key Set");
    return text;
  };
  const later = (f: Followed, ms: number): void => {
    f.timer = o.clock.after(ms, () => { queue.add(f.wanted.key); pump(); });
  };
  const follow = (): void => {
    if (stopped) return;
    const wanted = new Map(o.wanted.list().slice(0, FOLLOWED_MAX).map((w) => [w.key, w]));
    let forgotten = false;
    for (const [key, f] of followed) {
      if (wanted.has(key)) continue;
      forgotten = true;
      f.timer?.cancel();
      followed.delete(key);
      queue.delete(key);
      running.get(key)?.abort.abort(new Error("nobody wants it any more"));
      o.fetched.delete(key);
    }
    for (const [key, w] of wanted) {
      const known = followed.get(key);
      if (known !== undefined) { known.wanted = w; continue; }
      const f: Followed = { wanted: w, timer: undefined, failures: 0, asked: false, good: undefined };
      followed.set(key, f);
      adopt(f);
      queue.add(key);
    }
    if (forgotten) tell();
    pump();
  };
  const unwatch = o.wanted.onChange(follow);
  follow();
  return {
    recall,
    good: () => [...followed.values()].flatMap((f) => f.good ?? []),
    wanted: () => new Set(followed.keys()),
    onGood: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    settled: () => new Promise((resolve) => {
      const keys = new Set([...followed.values()].filter((f) => !f.asked).map((f) => f.wanted.key));
      if (keys.size === 0) return resolve();
      const limit = o.clock.after(FIRST_MS, () => { o.log.warn("not all keys of issuers came in time", { missing: [...keys].join() }); resolve(); });
      waiters.push({ keys, resolve: () => { limit.cancel(); resolve(); } });
    }),
    stop: async () => {
      stopped = true;
      for (const w of waiters) w.resolve();
      unwatch();
      for (const f of followed.values()) f.timer?.cancel();
      followed.clear();
      for (const r of running.values()) r.abort.abort(new Error("stopping"));
      await Promise.all([...running.values()].map((r) => r.done));
    },
  };
}

/** OpenID Connect Discovery §4: where the keys are. */
function discovered(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("the discovery document is not JSON");
  }
  const uri = typeof value === "object" && value !== null && "jwks_uri" in value ? value.jwks_uri : undefined;
  if (typeof uri !== "string" || !/^https?:\/\//i.test(uri)) throw new Error("the discovery document names no jwks_uri");
  return uri;
}
