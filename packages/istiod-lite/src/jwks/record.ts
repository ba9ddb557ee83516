// Owns how the last good keys of issuers are written down between lives of the control plane: what is kept, how much, and what a stranger's record may say. Pure.
import { isKeySet } from "../collections/waypoint/request-authentication.ts";

/** Keys as an issuer gave them. `goodAt`: epoch milliseconds of the fetch. */
export interface KeptKeys { readonly key: string; readonly jwks: string; readonly goodAt: number }
export type KeptByKey = ReadonlyMap<string, KeptKeys>;

/** Keys of an issuer that was away for longer than this are dropped, and its tokens fail: an issuer that gave up a key may have had its reason. */
export const KEEP_MS = 7 * 24 * 3_600_000;
/** Keys that do not change are written again this often, for their age: what is kept may so end this much before its week. */
const STAMP_EVERY_MS = 6 * 3_600_000;
/** Clocks of replicas differ; a date further ahead is nobody's. */
const SKEW_MS = 10 * 60_000;
/** Octets of the whole record: an object may have 1 MiB, with names and escapes around it. */
const RECORD_MAX = 512 * 1024;
/** Characters of a name: a kind and an address of at most 2,048. */
const NAME_MAX = 2_100;
const ENTRIES_MAX = 1_024;
/** What a verifier reads (RFC 7517 §4, RFC 7518 §6, RFC 8037): a private part that was published by mistake is not published once more. */
const MEMBERS = ["kty", "use", "key_ops", "alg", "kid", "crv", "n", "e", "x", "y"];
const PUBLIC = ["RSA", "EC", "OKP"];

/** The public signing keys of a set and nothing else of it; undefined where there are none, or it is no set. */
export function publicKeySet(text: string): string | undefined {
  if (!isKeySet(text)) return undefined;
  const { keys } = JSON.parse(text) as { keys: readonly unknown[] };
  const kept = keys.flatMap((k) => (typeof k === "object" && k !== null && "kty" in k && PUBLIC.includes(String(k.kty)) ? [Object.fromEntries(Object.entries(k).filter(([name]) => MEMBERS.includes(name)))] : []));
  return kept.length === 0 ? undefined : JSON.stringify({ keys: kept });
}

/** What a record says that may be used now. Whoever wrote it, what is not as we would have written it is left out. */
export function decodeRecord(text: string, now: number): KeptByKey {
  const out = new Map<string, KeptKeys>();
  if (text.length > 2 * RECORD_MAX) return out;
  for (const entry of listOf(text).slice(0, ENTRIES_MAX)) {
    if (typeof entry !== "object" || entry === null) continue;
    const { key, jwks, goodAt } = entry as Partial<Record<keyof KeptKeys, unknown>>;
    if (typeof key !== "string" || key === "" || key.length > NAME_MAX || typeof jwks !== "string" || typeof goodAt !== "number") continue;
    // Not a number, from the future, too old: no.
    if (!(goodAt <= now + SKEW_MS && now - goodAt <= KEEP_MS)) continue;
    const usable = publicKeySet(jwks);
    if (usable !== undefined && !out.has(key)) out.set(key, { key, jwks: usable, goodAt: Math.min(goodAt, now) });
  }
  return out;
}

function listOf(text: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}

export interface RecordPlan {
  readonly text: string;
  /** False: what is there may stay as it is. */
  readonly changed: boolean;
  /** Names whose keys found no room. */
  readonly left: readonly string[];
}

/**
 * What is to be written over `stored`, when we hold `ours` and policies want `wanted`. Of two replicas' keys the later ones stay. Small sets
 * go first: whoever makes a large one leaves himself out, not others.
 */
export function planRecord({ stored, ours, wanted, now }: { stored: string; ours: Iterable<KeptKeys>; wanted: ReadonlySet<string>; now: number }): RecordPlan {
  const before = decodeRecord(stored, now);
  const best = new Map([...before].filter(([key]) => wanted.has(key)));
  for (const o of ours) {
    const jwks = publicKeySet(o.jwks);
    const known = best.get(o.key);
    if (jwks !== undefined && wanted.has(o.key) && (known === undefined || o.goodAt > known.goodAt)) best.set(o.key, { ...o, jwks });
  }
  const kept: KeptKeys[] = [];
  const left: string[] = [];
  let size = 2;
  for (const entry of [...best.values()].sort((a, b) => a.jwks.length - b.jwks.length || (a.key < b.key ? -1 : 1))) {
    // JSON in JSON, and again in the object: a quote may take three characters more.
    const octets = Buffer.byteLength(JSON.stringify(JSON.stringify(entry)));
    if (size + octets > RECORD_MAX || kept.length >= ENTRIES_MAX) left.push(entry.key);
    else { size += octets; kept.push(entry); }
  }
  kept.sort((a, b) => (a.key < b.key ? -1 : 1));
  const same = (e: KeptKeys): boolean => { const old = before.get(e.key); return old?.jwks === e.jwks && e.goodAt - old.goodAt < STAMP_EVERY_MS; };
  const changed = kept.length !== listOf(stored).length || !kept.every(same);
  return { text: JSON.stringify(kept), changed, left };
}
