// Owns the decisions about one certificate's life: when to ask, when to ask again, what is still usable. Pure.

/** First retry; the usual failure is a pod that the control plane has not seen yet. */
export const RETRY_INITIAL_MS = 500;
/** A CA that is down is asked by every identity of every node: not more often than this. */
export const RETRY_MAX_MS = 150_000;
const RETRY_FACTOR = 2;
const RETRY_JITTER = 0.2;
/** A connection that waits brings a retry forward, but never closer to the last failure than this. */
export const HURRY_MIN_MS = 1_000;
/** Part of the life by which renewals are spread around its midpoint, so that certificates of one start do not renew together. */
const RENEW_JITTER = 0.05;
/** A certificate already past its midpoint when it arrives is not renewed in a circle. */
const RENEW_MIN_MS = 1_000;

/** Epoch milliseconds. */
export interface Life {
  readonly notBefore: number;
  readonly notAfter: number;
}

export type CertState =
  /** Nothing yet; a request should go out. */
  | { readonly kind: "wanted" }
  | { readonly kind: "requesting"; readonly life: Life | undefined; readonly attempt: number; readonly error: string | undefined }
  | { readonly kind: "valid"; readonly life: Life; readonly renewAt: number }
  /** The last request failed; `life` is the certificate that still serves, if any. */
  | { readonly kind: "failing"; readonly life: Life | undefined; readonly attempt: number; readonly failedAt: number; readonly retryAt: number; readonly error: string };

export const WANTED: CertState = { kind: "wanted" };

/** A request goes out. */
export function requested(state: CertState): CertState {
  return { kind: "requesting", life: lifeOf(state), attempt: attemptOf(state), error: errorOf(state) };
}

export function issued(life: Life, now: number, random: () => number): CertState {
  const length = life.notAfter - life.notBefore;
  const middle = life.notBefore + length / 2 + (random() - 0.5) * 2 * RENEW_JITTER * length;
  return { kind: "valid", life, renewAt: Math.max(now + RENEW_MIN_MS, Math.round(middle)) };
}

/** The old certificate stays; the retry comes no later than its end. */
export function failed(state: CertState, error: string, now: number, random: () => number): CertState {
  const attempt = attemptOf(state) + 1;
  const base = Math.min(RETRY_MAX_MS, RETRY_INITIAL_MS * RETRY_FACTOR ** Math.min(attempt - 1, 30));
  const delay = Math.min(RETRY_MAX_MS, Math.round(base * (1 - RETRY_JITTER + 2 * RETRY_JITTER * random())));
  const life = lifeOf(state);
  const retryAt = life !== undefined && life.notAfter > now ? Math.min(now + delay, life.notAfter) : now + delay;
  return { kind: "failing", life, attempt, failedAt: now, retryAt, error };
}

/** Somebody waits for it now. */
export function hurried(state: CertState): CertState {
  if (state.kind !== "failing") return state;
  return { ...state, retryAt: Math.min(state.retryAt, state.failedAt + HURRY_MIN_MS) };
}

export function usable(state: CertState, now: number): boolean {
  const life = lifeOf(state);
  return life !== undefined && now < life.notAfter;
}

/** When the next request is due, epoch milliseconds; undefined while one is under way. */
export function dueAt(state: CertState): number | undefined {
  switch (state.kind) {
    case "wanted":
      return 0;
    case "requesting":
      return undefined;
    case "valid":
      return state.renewAt;
    case "failing":
      return state.retryAt;
  }
}

export type Priority = "realtime" | "warmup" | "background";
const RANK: Readonly<Record<Priority, number>> = { realtime: 0, warmup: 1, background: 2 };

export interface Queued {
  readonly priority: Priority;
  readonly dueAt: number;
}

/** Waiting connections first, then new pods, then renewals; within each the longest due. */
export const byUrgency = (a: Queued, b: Queued): number => RANK[a.priority] - RANK[b.priority] || a.dueAt - b.dueAt;

/** The more urgent of two. */
export const atLeast = (a: Priority, b: Priority): Priority => (RANK[a] <= RANK[b] ? a : b);

const lifeOf = (state: CertState): Life | undefined => (state.kind === "wanted" ? undefined : state.life);
const attemptOf = (state: CertState): number => (state.kind === "failing" || state.kind === "requesting" ? state.attempt : 0);
/** What the last request said, until one succeeds. */
export const errorOf = (state: CertState): string | undefined => (state.kind === "failing" || state.kind === "requesting" ? state.error : undefined);
