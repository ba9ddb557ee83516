// Owns the status a node reports for a pod: phase, conditions and container statuses, from what is known of its containers.
import type { Condition } from "@ambit/kube";
import { isInitialized, viewOf, type Views } from "./actions.ts";
import { CRASH, retryAt } from "./backoff.ts";
import type { ContainerView, Ended } from "./container-view.ts";
import { qosClass } from "./downward.ts";
import { isSidecar, type ContainerSpec, type NodePod } from "./pod-spec.ts";

export interface StatusFacts {
  readonly nowMs: number;
  readonly hostIP: string;
  readonly podIP: string;
  readonly startedAtMs: number;
  readonly sandboxReady: boolean;
  /** Set when the pod is over, with words when it was not its containers that ended it. */
  readonly terminal: { readonly phase: "Succeeded" | "Failed"; readonly reason?: string; readonly message?: string } | undefined;
}
export type PodStatus = Readonly<Record<string, unknown>> & { readonly phase: string; readonly conditions: readonly Condition[] };

const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

export function podStatus(pod: NodePod, views: Views, facts: StatusFacts): PodStatus {
  const inits = pod.spec.initContainers ?? [];
  const mains = pod.spec.containers;
  const initialized = isInitialized(pod, views);
  const phase = facts.terminal?.phase ?? phaseOf(pod, views, initialized);
  const waitingReason = inits.length > 0 && !initialized ? "PodInitializing" : "ContainerCreating";
  const status = (c: ContainerSpec) => containerStatus(pod, c, viewOf(views, c.name), waitingReason, facts);
  return {
    phase,
    conditions: conditions(pod, views, facts, initialized, phase),
    hostIP: facts.hostIP,
    hostIPs: [{ ip: facts.hostIP }],
    ...(facts.podIP === "" ? {} : { podIP: facts.podIP, podIPs: [{ ip: facts.podIP }] }),
    startTime: time(facts.startedAtMs),
    qosClass: qosClass(pod),
    ...(inits.length > 0 ? { initContainerStatuses: inits.map(status) } : {}),
    containerStatuses: mains.map(status),
    ...(facts.terminal?.reason === undefined ? {} : { reason: facts.terminal.reason }),
    ...(facts.terminal?.message === undefined ? {} : { message: facts.terminal.message }),
  };
}

function phaseOf(pod: NodePod, views: Views, initialized: boolean): string {
  if (!initialized) return "Pending";
  const mains = pod.spec.containers.map((c) => viewOf(views, c.name));
  if (mains.some((v) => v.attempt === 0 && (v.state === "none" || v.state === "starting"))) return "Pending";
  return "Running";
}

function containerStatus(pod: NodePod, c: ContainerSpec, v: ContainerView, waitingReason: string, facts: StatusFacts): Record<string, unknown> {
  const restarts = v.state === "none" ? Math.max(0, v.attempt - (v.last === undefined ? 0 : 1)) : v.attempt;
  let state: Record<string, unknown>;
  let last = v.last;
  const backingOff = v.state === "exited" && v.ended !== undefined && facts.terminal === undefined && retryAt(v.backoff, v.ended.finishedAtMs, CRASH) > facts.nowMs && runsAgain(pod, c, v.ended);
  if (v.state === "running") state = { running: { startedAt: time(v.startedAtMs) } };
  else if (v.blocked !== undefined && v.state !== "starting" && facts.terminal === undefined) {
    state = { waiting: { reason: v.blocked.reason, message: v.blocked.message } };
    last = v.ended ?? last;
  } else if (backingOff) {
    state = { waiting: { reason: "CrashLoopBackOff", message: `back-off ${shortDuration(v.backoff?.delayMs ?? 0)} restarting failed container=${c.name} pod=${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})` } };
    last = v.ended;
  } else if (v.state === "exited" && v.ended !== undefined) state = { terminated: terminated(v.ended) };
  else state = { waiting: { reason: waitingReason } };
  return {
    name: c.name, image: c.image ?? "", imageID: v.imageId, restartCount: restarts,
    ready: isInit(pod, c) && !isSidecar(c) ? v.state === "exited" && v.ended?.exitCode === 0 : v.ready,
    started: v.started,
    state, lastState: last === undefined ? {} : { terminated: terminated(last) },
    ...(v.id === "" ? {} : { containerID: `ambit://${v.id}` }),
  };
}
const isInit = (pod: NodePod, c: ContainerSpec): boolean => (pod.spec.initContainers ?? []).includes(c);

function runsAgain(pod: NodePod, c: ContainerSpec, ended: Ended): boolean {
  if (isSidecar(c)) return true;
  if (isInit(pod, c)) return ended.exitCode !== 0 && pod.spec.restartPolicy !== "Never";
  return pod.spec.restartPolicy === "Never" ? false : pod.spec.restartPolicy === "OnFailure" ? ended.exitCode !== 0 : true;
}

const terminated = (e: Ended): Record<string, unknown> => ({
  exitCode: e.exitCode, reason: e.reason, ...(e.message === "" ? {} : { message: e.message }), startedAt: time(e.startedAtMs), finishedAt: time(e.finishedAtMs), containerID: `ambit://${e.id}`,
  ...(e.exitCode > 128 && e.exitCode <= 192 ? { signal: e.exitCode - 128 } : {}),
});

/** Go's way to write a duration: 10s, 1m20s, 5m0s. */
export function shortDuration(ms: number): string {
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s}s` : `${Math.floor(s / 60)}m${s % 60}s`;
}

const OWN_CONDITIONS = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

function conditions(pod: NodePod, views: Views, facts: StatusFacts, initialized: boolean, phase: string): Condition[] {
  const before = new Map(((pod.status?.["conditions"] ?? []) as readonly Condition[]).map((c) => [c.type, c]));
  const over = phase === "Succeeded" ? "PodCompleted" : phase === "Failed" ? "PodFailed" : undefined;
  const condition = (type: string, status: boolean, reason?: string, message?: string): Condition => {
    const old = before.get(type);
    const text = status ? "True" : "False";
    const lastTransitionTime = old?.status === text && old.lastTransitionTime !== undefined ? old.lastTransitionTime : time(facts.nowMs);
    const why = status && reason !== "PodCompleted" ? {} : { ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) };
    return { type, status: text, lastTransitionTime, ...why };
  };
  const incomplete = (pod.spec.initContainers ?? []).filter((c) => !initialized && (isSidecar(c) ? !viewOf(views, c.name).started : viewOf(views, c.name).ended?.exitCode !== 0)).map((c) => c.name);
  const serving = [...(pod.spec.initContainers ?? []).filter(isSidecar), ...pod.spec.containers];
  const unready = serving.filter((c) => !viewOf(views, c.name).ready).map((c) => c.name);
  const containersReady = over === undefined && unready.length === 0;
  const unreadyMessage = `containers with unready status: [${unready.join(" ")}]`;
  const gates = (pod.spec.readinessGates ?? []).filter((g) => before.get(g.conditionType)?.status !== "True").map((g) => g.conditionType);
  const ready = containersReady && gates.length === 0;
  const readyReason = over ?? (containersReady ? "ReadinessGatesNotReady" : "ContainersNotReady");
  const readyMessage = over !== undefined ? undefined : containersReady ? gates.map((g) => `corresponding condition of pod readiness gate "${g}" does not exist or is not True.`).join(" ") : unreadyMessage;
  return [
    condition("PodReadyToStartContainers", facts.sandboxReady),
    condition("Initialized", initialized || phase === "Succeeded", phase === "Succeeded" ? "PodCompleted" : "ContainersNotInitialized", phase === "Succeeded" ? undefined : `containers with incomplete status: [${incomplete.join(" ")}]`),
    condition("Ready", ready, readyReason, readyMessage),
    condition("ContainersReady", containersReady, over ?? "ContainersNotReady", over === undefined ? unreadyMessage : undefined),
    condition("PodScheduled", true),
  ];
}

/** Conditions of others (readiness gates) stay as they are in the API. */
export const isOwnCondition = (type: string): boolean => OWN_CONDITIONS.includes(type);
