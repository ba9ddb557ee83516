// Owns chance: production randomness and a seeded one for tests and simulations.
import { randomBytes } from "node:crypto";

/** Uniform in [0, 1). */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

/** Random octets are drawn so many at a time: one call of the generator serves a hundred connections. */
const POOL_OCTETS = 4096;
let pool = Buffer.alloc(0);
let drawn = 0;

/** Where `octets` fresh ones begin in the pool. */
function draw(octets: number): number {
  if (drawn + octets > pool.length) {
    pool = randomBytes(Math.max(POOL_OCTETS, octets));
    drawn = 0;
  }
  const at = drawn;
  drawn += octets;
  return at;
}

/** Unpredictable, never the same twice. */
export function randomHex(bytes: number): string {
  const at = draw(bytes);
  return pool.toString("hex", at, at + bytes);
}

const UUID_OCTETS = 16;
/** Where the text of each octet begins: hyphens are between them (RFC 9562 §4). */
const UUID_AT = Uint8Array.of(0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34);
const DIGITS = Buffer.from("0123456789abcdef");
const uuidText = Buffer.alloc(36, "-");

/** Version 4. Written as octets and made text once: every request without an id gets one, and node's own is joined of twenty pieces. */
export function newUuid(): string {
  const from = draw(UUID_OCTETS);
  pool[from + 6] = ((pool[from + 6] ?? 0) & 0x0f) | 0x40;
  pool[from + 8] = ((pool[from + 8] ?? 0) & 0x3f) | 0x80;
  for (let i = 0; i < UUID_OCTETS; i++) {
    const octet = pool[from + i] ?? 0;
    const at = UUID_AT[i] ?? 0;
    uuidText[at] = DIGITS[octet >>> 4] ?? 0;
    uuidText[at + 1] = DIGITS[octet & 15] ?? 0;
  }
  return uuidText.toString("latin1");
}

/** mulberry32: small, seedable, good enough to drive tests; never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface Backoff {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor?: number;
  /** Share of the delay that is random, 0..1. Default 0.2. */
  readonly jitter?: number;
}

/** Delay before attempt `attempt` (0 = first retry), in milliseconds. */
export function backoffDelay(policy: Backoff, attempt: number, random: Random): number {
  const base = Math.min(policy.maxMs, policy.initialMs * (policy.factor ?? 2) ** Math.min(attempt, 60));
  const jitter = policy.jitter ?? 0.2;
  return Math.min(policy.maxMs, base * (1 - jitter + 2 * jitter * random()));
}
