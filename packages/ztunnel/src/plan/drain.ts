// Decides which connections of a draining proxy end now: spread over the window, those first that are idle the longest.

export interface DrainFacts {
  /** Since draining began. */
  readonly elapsedMs: number;
  /** After this everything ends. */
  readonly windowMs: number;
  /** Connections that were ended, or ended by themselves, since draining began. */
  readonly gone: number;
  /** Of every connection that is open: for how long no byte of it moved. */
  readonly idleMs: readonly number[];
}

/** Fractions of the window. Until the first everybody may end by themselves: most connections are short. */
const FIRST_CUT = 0.2;
/** From here on also those that move bytes are ended. */
const BUSY_TOO = 0.8;
/** Everything was told to end by here; the rest of the window is for the last bytes. */
const LAST_CUT = 0.95;
/** Silent for this long (or for this part of a short window): between requests rather than within one. */
const IDLE_MIN_MS = 1_000;
const IDLE_MIN_PART = 0.05;

/** Indexes into `idleMs`, in the order in which they should end. */
export function planDrainCuts(f: DrainFacts): readonly number[] {
  const at = f.elapsedMs / f.windowMs;
  const due = Math.min(1, Math.max(0, (at - FIRST_CUT) / (LAST_CUT - FIRST_CUT)));
  const wanted = Math.ceil(due * (f.gone + f.idleMs.length)) - f.gone;
  if (wanted <= 0) return [];
  const idleEnough = at >= BUSY_TOO ? 0 : Math.min(IDLE_MIN_MS, IDLE_MIN_PART * f.windowMs);
  return f.idleMs.map((idleMs, index) => ({ idleMs, index })).filter((c) => c.idleMs >= idleEnough).sort((a, b) => b.idleMs - a.idleMs).slice(0, wanted).map((c) => c.index);
}
