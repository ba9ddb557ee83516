// Owns the decision how long to wait before the next stream.

/** First wait: short, because a control plane that restarts or ends a connection on purpose is back at once. */
export const RECONNECT_INITIAL_MS = 10;
/** Longest wait: a recovered control plane is found again within this. */
export const RECONNECT_MAX_MS = 15_000;
const FACTOR = 2;
/** Share of the wait that is random, so that a restarted control plane is not met by all nodes at once. */
const JITTER = 0.2;

/** gRPC codes that say nothing against the server: the next wait starts from the shortest again. */
const HARMLESS: ReadonlySet<number> = new Set([1 /* CANCELLED */, 2 /* UNKNOWN */, 4 /* DEADLINE_EXCEEDED */]);

export interface StreamEnd {
  /** A response was received on this stream. */
  readonly served: boolean;
  /** gRPC status; 0 for a clean end. */
  readonly code: number;
}

/**
 * The wait before the next stream and the attempt count to remember. A stream that served something resets the wait; one that
 * ended cleanly after serving is replaced at once; anything else doubles the wait up to the cap.
 */
export function planReconnect(end: StreamEnd, attempt: number, random: () => number): { delayMs: number; attempt: number } {
  if (end.served && end.code === 0) return { delayMs: 0, attempt: 0 };
  const from = end.served || HARMLESS.has(end.code) ? 0 : attempt;
  const base = Math.min(RECONNECT_MAX_MS, RECONNECT_INITIAL_MS * FACTOR ** Math.min(from, 30));
  return { delayMs: Math.min(RECONNECT_MAX_MS, Math.round(base * (1 - JITTER + 2 * JITTER * random()))), attempt: from + 1 };
}
