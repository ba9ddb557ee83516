// Owns what a node does next for one pod: which containers start, which are killed, whether the pod is over, when to look again.
import { CRASH, retryAt } from "./backoff.ts";
import { neverRun, type ContainerView } from "./container-view.ts";
import { isSidecar, type ContainerSpec, type NodePod } from "./pod-spec.ts";

export interface Actions {
  readonly start: readonly ContainerSpec[];
  readonly kill: readonly { readonly name: string; readonly reason: string }[];
  /** Set when no container will ever run again; sidecars still running are in `kill`. */
  readonly finished: "Succeeded" | "Failed" | undefined;
  readonly wakeAtMs: number | undefined;
}
export type Views = ReadonlyMap<string, ContainerView>;

type Restart = "Always" | "OnFailure" | "Never";
export const viewOf = (views: Views, name: string): ContainerView => views.get(name) ?? neverRun(name);
const restartOf = (pod: NodePod): Restart => (pod.spec.restartPolicy === "Never" || pod.spec.restartPolicy === "OnFailure" ? pod.spec.restartPolicy : "Always");
const runsAgain = (restart: Restart, v: ContainerView): boolean => restart === "Always" || (restart === "OnFailure" && v.ended?.exitCode !== 0);

/** True once a main container was ever created: init containers are then never run again. */
export const isInitialized = (pod: NodePod, views: Views): boolean =>
  pod.spec.containers.some((c) => viewOf(views, c.name).state !== "none") ||
  (pod.spec.initContainers ?? []).every((c) => (isSidecar(c) ? viewOf(views, c.name).started : viewOf(views, c.name).ended?.exitCode === 0));

export function planActions(pod: NodePod, views: Views, nowMs: number): Actions {
  const start: ContainerSpec[] = [];
  const kill: { name: string; reason: string }[] = [];
  let wakeAtMs: number | undefined;
  const restart = restartOf(pod);
  const inits = pod.spec.initContainers ?? [];
  const mains = pod.spec.containers;

  /** Starts it now, or notes when that may happen. */
  const tryStart = (c: ContainerSpec) => {
    const v = viewOf(views, c.name);
    const crash = v.state === "exited" && v.ended !== undefined ? retryAt(v.backoff, v.ended.finishedAtMs, CRASH) : 0;
    const at = Math.max(crash, v.blocked?.untilMs ?? 0);
    if (at <= nowMs) start.push(c);
    else wakeAtMs = Math.min(wakeAtMs ?? at, at);
  };

  for (const c of [...inits, ...mains]) {
    const v = viewOf(views, c.name);
    if (v.state === "running" && v.unhealthy !== undefined) kill.push({ name: c.name, reason: `Container ${c.name} failed ${v.unhealthy} probe, will be restarted` });
  }

  const initialized = isInitialized(pod, views);
  const over = mains.every((c) => { const v = viewOf(views, c.name); return v.state === "exited" && !runsAgain(restart, v); });
  if (over) {
    for (const c of inits.filter(isSidecar).reverse()) if (viewOf(views, c.name).state === "running" || viewOf(views, c.name).state === "starting") kill.push({ name: c.name, reason: `Stopping container ${c.name}` });
    return { start: [], kill, finished: mains.some((c) => viewOf(views, c.name).ended?.exitCode !== 0) ? "Failed" : "Succeeded", wakeAtMs: undefined };
  }

  for (const c of inits) {
    const v = viewOf(views, c.name);
    if (isSidecar(c)) {
      if (v.state === "none" || v.state === "exited") tryStart(c);
      if (!initialized && !v.started) return { start, kill, finished: undefined, wakeAtMs };
      continue;
    }
    if (initialized || (v.state === "exited" && v.ended?.exitCode === 0)) continue;
    if (v.state === "exited" && restart === "Never") {
      for (const s of inits) if (isSidecar(s) && viewOf(views, s.name).state === "running") kill.push({ name: s.name, reason: `Stopping container ${s.name}` });
      return { start: [], kill, finished: "Failed", wakeAtMs: undefined };
    }
    if (v.state === "none" || v.state === "exited") tryStart(c);
    return { start, kill, finished: undefined, wakeAtMs };
  }
  for (const c of mains) {
    const v = viewOf(views, c.name);
    if (v.state === "none" || (v.state === "exited" && runsAgain(restart, v))) tryStart(c);
  }
  return { start, kill, finished: undefined, wakeAtMs };
}
