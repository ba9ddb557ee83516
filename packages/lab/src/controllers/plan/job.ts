// Owns the Job decision: how many pods to run, when it is over and how, and when it is removed.
import type { Condition, Pod } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf } from "./action.ts";
import { claim } from "./claim.ts";
import { isEqual } from "./equal.ts";
import { JOB, POD } from "./kinds.ts";
import type { ContainerStatus, Job } from "./model.ts";
import { conditionOf, createdAt, instant, isActive, isFinished, isReady, isTerminating, timestamp } from "./pods.ts";
import { podFromTemplate } from "./template.ts";

/** Upstream's pod failure back-off: 10 s doubling to 6 minutes. */
const BACKOFF_FIRST_MS = 10_000;
const BACKOFF_MAX_MS = 360_000;
/** One step of a large Job: upstream's bound on creations per sync. */
const CREATE_MAX = 500;
const INDEX = "batch.kubernetes.io/job-completion-index";

export interface JobFacts { readonly job: Job; readonly pods: readonly Pod[]; readonly now: number }

export function planJob({ job, pods, now }: JobFacts): Plan {
  if (job.spec.podFailurePolicy !== undefined && job.spec.podFailurePolicy !== null) {
    return planOf([{ do: "event", about: job, type: "Warning", reason: "PodFailurePolicyUnsupported", message: "spec.podFailurePolicy is not supported by the lab; the Job is not started" }]);
  }
  const over = finishedAt(job);
  if (over !== undefined) return planAfter(job, over, now);
  if (job.metadata.deletionTimestamp !== undefined) return planOf([]);
  const { mine, actions } = claim({ kind: JOB, object: job, selector: job.spec.selector }, POD, pods);
  const tally = countPods(job, mine);
  const verdict = judge(job, tally, now);
  const status = nextStatus(job, tally, verdict, now);
  const steps: Action[] = [...actions];
  if (verdict.kind === "run") steps.push(...moves(job, tally, now));
  else steps.push(...tally.active.map((object): Action => ({ do: "delete", kind: POD, object, owner: job })));
  if (!isEqual(status, job.status)) steps.push({ do: "replace", kind: JOB, object: { ...job, status }, subresource: "status" });
  steps.push(...announce(job, verdict));
  return planOf(steps, verdict.againInMs);
}

interface Tally {
  readonly active: readonly Pod[];
  readonly terminating: number;
  readonly succeeded: readonly Pod[];
  readonly failed: readonly Pod[];
  /** Distinct for Indexed, all for NonIndexed. */
  readonly completions: number;
  readonly restarts: number;
}

const isIndexed = (job: Job): boolean => job.spec.completionMode === "Indexed";
const indexOf = (pod: Pod): number => Number(pod.metadata.annotations?.[INDEX] ?? "-1");

function countPods(job: Job, mine: readonly Pod[]): Tally {
  const succeeded = mine.filter((p) => p.status?.phase === "Succeeded");
  // A pod deleted from outside before it ended counts as failed once its end is certain.
  const failed = mine.filter((p) => p.status?.phase === "Failed");
  const active = mine.filter(isActive);
  const restarts = job.spec.template.spec.restartPolicy === "OnFailure"
    ? active.reduce((sum, p) => sum + ((p.status?.["containerStatuses"] ?? []) as ContainerStatus[]).reduce((n, c) => n + (c.restartCount ?? 0), 0), 0) : 0;
  return {
    active, succeeded, failed, restarts, terminating: mine.filter((p) => isTerminating(p) && !isFinished(p)).length,
    completions: isIndexed(job) ? new Set(succeeded.map(indexOf)).size : succeeded.length,
  };
}

type Verdict =
  | { readonly kind: "run"; readonly againInMs?: number }
  | { readonly kind: "suspended" | "complete"; readonly againInMs?: undefined }
  | { readonly kind: "failed"; readonly reason: string; readonly message: string; readonly againInMs?: undefined };

function judge(job: Job, tally: Tally, now: number): Verdict {
  const { completions, backoffLimit = 6, activeDeadlineSeconds, suspend } = job.spec;
  if (completions !== undefined && completions !== null ? tally.completions >= completions : tally.completions > 0 && tally.active.length === 0) return { kind: "complete" };
  if (tally.failed.length + tally.restarts > backoffLimit) {
    return { kind: "failed", reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" };
  }
  const started = instant(job.status?.startTime);
  const deadline = activeDeadlineSeconds === undefined || started === undefined ? undefined : started + activeDeadlineSeconds * 1000;
  if (suspend === true) return { kind: "suspended" };
  if (deadline !== undefined && now >= deadline) return { kind: "failed", reason: "DeadlineExceeded", message: "Job was active longer than specified deadline" };
  const waits = [deadline === undefined ? undefined : deadline - now, backoffLeft(tally, now)].filter((ms) => ms !== undefined && ms > 0) as number[];
  return { kind: "run", ...(waits.length === 0 ? {} : { againInMs: Math.min(...waits) }) };
}

function endOf(pod: Pod): number {
  const statuses = (pod.status?.["containerStatuses"] ?? []) as ContainerStatus[];
  return Math.max(...statuses.map((s) => instant(s.state?.terminated?.finishedAt) ?? 0), createdAt(pod));
}

/** Milliseconds until a new pod may follow the failures since the last success. */
function backoffLeft(tally: Tally, now: number): number {
  const lastGood = Math.max(0, ...tally.succeeded.map(endOf));
  const bad = tally.failed.filter((p) => endOf(p) > lastGood);
  if (bad.length === 0) return 0;
  const delay = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (bad.length - 1));
  return Math.max(0, Math.max(...bad.map(endOf)) + delay - now);
}

function moves(job: Job, tally: Tally, now: number): Action[] {
  const parallelism = job.spec.parallelism ?? 1;
  const completions = job.spec.completions ?? undefined;
  // Without completions the first success ends the recruiting.
  const left = completions === undefined ? (tally.completions > 0 ? tally.active.length : parallelism) : completions - tally.completions;
  const wanted = Math.min(parallelism, left);
  const surplus = tally.active.length - wanted;
  if (surplus > 0) {
    const youngest = [...tally.active].sort((a, b) => Number(isReady(a)) - Number(isReady(b)) || createdAt(b) - createdAt(a));
    return youngest.slice(0, surplus).map((object) => ({ do: "delete", kind: POD, object, owner: job }));
  }
  const missing = Math.min(-surplus - tally.terminating, CREATE_MAX);
  if (missing <= 0 || backoffLeft(tally, now) > 0) return [];
  if (!isIndexed(job)) return Array.from({ length: missing }, () => ({ do: "create", kind: POD, object: podFromTemplate(JOB, job, job.spec.template), owner: job }));
  const taken = new Set([...tally.active, ...tally.succeeded].map(indexOf));
  const free = Array.from({ length: completions ?? 0 }, (_, i) => i).filter((i) => !taken.has(i));
  return free.slice(0, missing).map((index) => ({ do: "create", kind: POD, object: indexedPod(job, index), owner: job }));
}

function indexedPod(job: Job, index: number): ReturnType<typeof podFromTemplate> {
  const env = { name: "JOB_COMPLETION_INDEX", value: String(index) };
  const { spec } = job.spec.template;
  const withIndex = <T extends object>(c: T): T => ({ ...c, env: [...((c as { env?: object[] }).env ?? []), env] });
  const pod = podFromTemplate(JOB, job, job.spec.template, {
    labels: { [INDEX]: String(index) }, annotations: { [INDEX]: String(index) },
    spec: {
      hostname: `${job.metadata.name}-${index}`.slice(0, 63), containers: spec.containers.map(withIndex),
      ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(withIndex) }),
    },
  });
  return { ...pod, metadata: { ...pod.metadata, generateName: `${job.metadata.name.slice(0, 50)}-${index}-` } };
}

function nextStatus(job: Job, tally: Tally, verdict: Verdict, now: number): NonNullable<Job["status"]> {
  const before = job.status ?? {};
  const time = timestamp(now);
  let conditions = [...(before.conditions ?? [])];
  const say = (type: string, status: "True" | "False", reason: string, message: string): void => {
    const old = conditionOf(conditions, type);
    if (old?.status === status) return;
    const next: Condition & { lastProbeTime: string } = { type, status, reason, message, lastProbeTime: time, lastTransitionTime: time };
    conditions = [...conditions.filter((c) => c.type !== type), next];
  };
  const stopped = verdict.kind === "suspended";
  if (stopped) say("Suspended", "True", "JobSuspended", "Job suspended");
  else if (conditionOf(conditions, "Suspended") !== undefined) say("Suspended", "False", "JobResumed", "Job resumed");
  if (verdict.kind === "complete") {
    say("SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods");
    say("Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods");
  }
  if (verdict.kind === "failed") {
    say("FailureTarget", "True", verdict.reason, verdict.message);
    say("Failed", "True", verdict.reason, verdict.message);
  }
  const over = verdict.kind === "complete" || verdict.kind === "failed" || stopped;
  const { startTime, completionTime: _, active: _active, ready: _ready, succeeded: _s, failed: _f, completedIndexes: _c, ...rest } = before;
  const count = (key: string, n: number): object => (n === 0 ? {} : { [key]: n });
  return {
    ...rest, ...count("active", over ? 0 : tally.active.length), ready: over ? 0 : tally.active.filter(isReady).length, terminating: tally.terminating,
    ...count("succeeded", tally.completions), ...count("failed", tally.failed.length + (verdict.kind === "failed" ? tally.active.length : 0)), uncountedTerminatedPods: {},
    ...(isIndexed(job) ? { completedIndexes: intervals(tally.succeeded.map(indexOf)) } : {}),
    ...(stopped ? {} : { startTime: startTime ?? time }),
    ...(verdict.kind === "complete" ? { completionTime: time } : {}),
    ...(conditions.length === 0 ? {} : { conditions }),
  };
}

/** `1,3-5` */
export function intervals(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const parts: [number, number][] = [];
  for (const n of sorted) {
    const last = parts.at(-1);
    if (last?.[1] === n - 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([a, b]) => (a === b ? String(a) : `${a}-${b}`)).join(",");
}

function announce(job: Job, verdict: Verdict): Action[] {
  const event = (type: "Normal" | "Warning", reason: string, message: string): Action[] => [{ do: "event", about: job, type, reason, message }];
  switch (verdict.kind) {
    case "complete": return event("Normal", "Completed", "Job completed");
    case "failed": return event("Warning", verdict.reason, verdict.message);
    case "suspended": return conditionOf(job.status?.conditions, "Suspended")?.status === "True" ? [] : event("Normal", "Suspended", "Job suspended");
    case "run": return [];
  }
}

/** When it completed or failed; undefined while it runs. */
export function finishedAt(job: Job): number | undefined {
  const end = (job.status?.conditions ?? []).find((c) => (c.type === "Complete" || c.type === "Failed") && c.status === "True");
  return end === undefined ? undefined : (instant(end.lastTransitionTime) ?? 0);
}

function planAfter(job: Job, over: number, now: number): Plan {
  const ttl = job.spec.ttlSecondsAfterFinished;
  if (ttl === undefined || ttl === null || job.metadata.deletionTimestamp !== undefined) return planOf([]);
  const left = over + ttl * 1000 - now;
  return left > 0 ? planOf([], left) : planOf([{ do: "delete", kind: JOB, object: job, propagation: "Foreground" }]);
}
