// Owns which endpoints of one destination are ejected for failing again and again (Envoy's consecutive-errors detectors, as Istio sets them up).
import { httpStatusOf, type OutlierDetection } from "@ambit/core";
import type { AttemptOutcome } from "../http/options.ts";

/** Milliseconds: no ejection is longer, however often it happened, unless its base is. */
const EJECTION_MAX_MS = 300_000;

interface Host {
  errors5xx: number;
  gatewayErrors: number;
  localErrors: number;
  /** How many base times the last ejection lasted; goes down by one in each interval that the host stays in. */
  multiplier: number;
  /** undefined: not ejected. */
  ejectedUntil: number | undefined;
}

/** What an outcome says of the endpoint; undefined: nothing (our own limits, a client that left). */
export type Judgement = { readonly kind: "local-error" } | { readonly kind: "answer"; readonly status: number } | undefined;

export function judgeOutcome({ result }: Pick<AttemptOutcome, "result">): Judgement {
  switch (result.kind) {
    case "answered": return { kind: "answer", status: result.grpcStatus === undefined ? result.status : httpStatusOf(result.grpcStatus) };
    case "connect": case "reset": case "timeout": return { kind: "local-error" };
    case "overflow": case "abandoned": return undefined;
  }
}

/** Of one destination. All times are epoch milliseconds and are given in; call `sweep` once an interval. */
export class OutlierDetector {
  readonly #hosts = new Map<string, Host>();
  #settings: OutlierDetection;

  constructor(settings: OutlierDetection) {
    this.#settings = settings;
  }

  /** New settings hold from now on; what is ejected stays so until its time. */
  configure(settings: OutlierDetection): void {
    this.#settings = settings;
  }

  isEjected(uid: string): boolean {
    return this.#hosts.get(uid)?.ejectedUntil !== undefined;
  }

  /** Returns until when the endpoint is now ejected; undefined: it is not, or was already. `members`: of the destination in all. */
  record(uid: string, judgement: Judgement, members: number, now: number): number | undefined {
    if (judgement === undefined) return undefined;
    const host = this.#hosts.get(uid) ?? { errors5xx: 0, gatewayErrors: 0, localErrors: 0, multiplier: 0, ejectedUntil: undefined };
    this.#hosts.set(uid, host);
    if (host.ejectedUntil !== undefined) return undefined;
    return this.#count(host, judgement) && this.#mayEject(members) ? this.#eject(host, now) : undefined;
  }

  /** Ends ejections whose time is over, and forgives a little. */
  sweep(now: number): void {
    for (const host of this.#hosts.values()) {
      if (host.ejectedUntil === undefined) host.multiplier = Math.max(0, host.multiplier - 1);
      else if (now >= host.ejectedUntil) Object.assign(host, { ejectedUntil: undefined, errors5xx: 0, gatewayErrors: 0, localErrors: 0 });
    }
  }

  /** Endpoints that are gone are forgotten, so that this never grows beyond the members. */
  retain(isMember: (uid: string) => boolean): void {
    for (const uid of this.#hosts.keys()) if (!isMember(uid)) this.#hosts.delete(uid);
  }

  /** Counts; true: one of the thresholds is reached. Whether the host answered and what it answered are counted apart only if told to. */
  #count(host: Host, judgement: Exclude<Judgement, undefined>): boolean {
    const { splitLocalOrigin, consecutiveLocalOrigin, consecutive5xx, consecutiveGatewayErrors, errorStatuses } = this.#settings;
    if (judgement.kind === "local-error" && splitLocalOrigin) return reached(++host.localErrors, consecutiveLocalOrigin);
    const local = judgement.kind === "local-error";
    const status = local ? 503 : judgement.status;
    const isError = local || (errorStatuses === undefined ? status >= 500 : errorStatuses.includes(status));
    const isGatewayError = local || status === 502 || status === 503 || status === 504;
    if (!local) host.localErrors = 0;
    host.errors5xx = isError ? host.errors5xx + 1 : 0;
    host.gatewayErrors = isGatewayError ? host.gatewayErrors + 1 : 0;
    return (isError && reached(host.errors5xx, consecutive5xx)) || (isGatewayError && reached(host.gatewayErrors, consecutiveGatewayErrors));
  }

  /** One may always go, unless none ever may. */
  #mayEject(members: number): boolean {
    const { maxEjectionPercent } = this.#settings;
    const ejected = [...this.#hosts.values()].filter((h) => h.ejectedUntil !== undefined).length;
    return maxEjectionPercent > 0 && (ejected * 100) / Math.max(members, 1) < maxEjectionPercent;
  }

  #eject(host: Host, now: number): number {
    host.multiplier++;
    const { baseEjectionMs } = this.#settings;
    host.ejectedUntil = now + Math.min(baseEjectionMs * host.multiplier, Math.max(EJECTION_MAX_MS, baseEjectionMs));
    return host.ejectedUntil;
  }
}

const reached = (count: number, threshold: number): boolean => threshold > 0 && count >= threshold;
