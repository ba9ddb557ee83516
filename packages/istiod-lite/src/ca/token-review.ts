// Owns the reading of Kubernetes TokenReview answers, and the memory of recent ones: many calls carry the same token.
import { createHash } from "node:crypto";
import { errorText, type Clock } from "@ambit/runtime";
import type { Reviewed } from "./attest.ts";

/** The audience of tokens meant for the control plane. */
export const TOKEN_AUDIENCE = "istio-ca";
/** Bound tokens are about 1 to 2 KiB. */
const TOKEN_MAX_BYTES = 16 * 1024;
/** An accepted token counts this long without asking again: a proxy's start brings one call per identity. */
const REMEMBER_MS = 10_000;
const REMEMBERED_MAX = 1_000;

/** `unavailable`: nobody could answer, as opposed to answered with no. */
export type Review =
  | { readonly ok: true; readonly reviewed: Reviewed }
  | { readonly ok: false; readonly error: string; readonly unavailable: boolean };

/** Asks the API server. Rejecting counts as unavailable. */
export type ReviewToken = (token: string, audience: string) => Promise<Review>;

/** The body to POST to /apis/authentication.k8s.io/v1/tokenreviews. */
export function tokenReviewOf(token: string, audience: string): Record<string, unknown> {
  return { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token, audiences: [audience] } };
}

/** Reads the answered TokenReview object. Only service accounts are known here. */
export function decodeTokenReview(answer: unknown, audience: string): Review {
  const status = record(record(answer)["status"]);
  if (status["authenticated"] !== true) return no(typeof status["error"] === "string" && status["error"] !== "" ? status["error"] : "the token is not authenticated");
  const audiences = status["audiences"];
  if (!Array.isArray(audiences) || !audiences.includes(audience)) return no(`the token is not for audience ${audience}`);
  const user = record(status["user"]);
  const username = typeof user["username"] === "string" ? user["username"] : "";
  const [, namespace, serviceAccount] = /^system:serviceaccount:([a-z0-9.-]{1,253}):([a-z0-9.-]{1,253})$/.exec(username) ?? [];
  if (namespace === undefined || serviceAccount === undefined) return no("the token is not a service account's");
  const extra = record(user["extra"]);
  return {
    ok: true,
    reviewed: {
      namespace, serviceAccount,
      podName: single(extra["authentication.kubernetes.io/pod-name"]), podUid: single(extra["authentication.kubernetes.io/pod-uid"]),
    },
  };
}

/** Reviews each token once at a time and remembers what was accepted for REMEMBER_MS; refusals are never remembered. */
export class TokenGate {
  readonly #review: ReviewToken;
  readonly #clock: Clock;
  readonly #underWay = new Map<string, Promise<Review>>();
  readonly #accepted = new Map<string, { reviewed: Reviewed; until: number }>();

  constructor(review: ReviewToken, clock: Clock) {
    this.#review = review;
    this.#clock = clock;
  }

  /** `authorization` is the metadata value, `Bearer <token>`; a lower-case scheme is refused, as Istio does. */
  check(authorization: string | undefined): Promise<Review> {
    if (authorization === undefined) return Promise.resolve(no("no authorization metadata"));
    if (!authorization.startsWith("Bearer ")) return Promise.resolve(no("the authorization metadata is not a Bearer token"));
    const token = authorization.slice("Bearer ".length);
    if (token === "" || token.length > TOKEN_MAX_BYTES) return Promise.resolve(no(`a token of ${token.length} bytes`));
    const key = createHash("sha256").update(token).digest("base64");
    const known = this.#accepted.get(key);
    if (known !== undefined && known.until > this.#clock.monotonic()) return Promise.resolve({ ok: true, reviewed: known.reviewed });
    const waiting = this.#underWay.get(key);
    if (waiting !== undefined) return waiting;
    const asked = this.#ask(token, key).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, asked);
    return asked;
  }

  async #ask(token: string, key: string): Promise<Review> {
    try {
      const review = await this.#review(token, TOKEN_AUDIENCE);
      if (review.ok) this.#remember(key, review.reviewed);
      return review;
    } catch (error) {
      return { ok: false, error: `token review failed: ${errorText(error)}`, unavailable: true };
    }
  }

  #remember(key: string, reviewed: Reviewed): void {
    this.#accepted.delete(key);
    this.#accepted.set(key, { reviewed, until: this.#clock.monotonic() + REMEMBER_MS });
    const [oldest] = this.#accepted.keys();
    if (this.#accepted.size > REMEMBERED_MAX && oldest !== undefined) this.#accepted.delete(oldest);
  }
}

const no = (error: string): Review => ({ ok: false, error, unavailable: false });
const record = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});
const single = (value: unknown): string | undefined =>
  Array.isArray(value) && value.length === 1 && typeof value[0] === "string" && value[0] !== "" ? value[0] : undefined;
