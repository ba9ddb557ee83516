// Owns chance: production randomness and a seeded one for tests and simulations.
import { randomBytes, randomUUID } from "node:crypto";

/** Uniform in [0, 1). */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

/** Random octets are drawn so many at a time: one call of the generator serves a hundred connections. */
const POOL_OCTETS = 4096;
let pool = Buffer.alloc(0);
let drawn = 0;

/** Unpredictable, never the same twice. */
export function randomHex(bytes: number): string {
  if (drawn + bytes > pool.length) {
    pool = randomBytes(Math.max(POOL_OCTETS, bytes));
    drawn = 0;
  }
  return pool.toString("hex", drawn, (drawn += bytes));
}
export const newUuid = (): string => randomUUID();

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
