// Owns what a probe's results mean: thresholds, initial state, and when the next try is due.
import type { Probe } from "./pod-spec.ts";

export type ProbeKind = "liveness" | "readiness" | "startup";
export interface ProbeState { readonly ok: boolean; readonly run: number; readonly last: boolean | undefined }

export const timing = (p: Probe) => ({
  initialDelayMs: seconds(p.initialDelaySeconds, 0), periodMs: seconds(p.periodSeconds, 10), timeoutMs: seconds(p.timeoutSeconds, 1),
  successThreshold: Math.max(1, p.successThreshold ?? 1), failureThreshold: Math.max(1, p.failureThreshold ?? 3),
});
const seconds = (value: number | undefined, fallback: number): number => 1000 * Math.max(0, value ?? fallback) || 1000 * fallback;

/** Before its first result a container is alive, but neither ready nor started. */
export const initialProbe = (kind: ProbeKind): ProbeState => ({ ok: kind === "liveness", run: 0, last: undefined });

/** A threshold's worth of equal results in a row turns the state. */
export function stepProbe(state: ProbeState, success: boolean, spec: Probe): ProbeState {
  const run = state.last === success ? state.run + 1 : 1;
  const { successThreshold, failureThreshold } = timing(spec);
  const turned = run >= (success ? successThreshold : failureThreshold);
  return { ok: turned ? success : state.ok, run, last: success };
}

/** True when the container must be killed: liveness or startup failed often enough. */
export const probeKills = (kind: ProbeKind, state: ProbeState, spec: Probe): boolean =>
  kind !== "readiness" && state.last === false && state.run >= timing(spec).failureThreshold;
