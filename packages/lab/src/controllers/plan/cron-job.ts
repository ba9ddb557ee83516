// Owns the CronJob decision: whether a Job is due, what becomes of those that still run, and which old ones go.
import type { KubeObject } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf } from "./action.ts";
import { controllerOf, ownerReference } from "./claim.ts";
import { nextAfter, parseSchedule, type Schedule } from "./cron.ts";
import { isEqual } from "./equal.ts";
import { apiVersionOf, CRON_JOB, JOB } from "./kinds.ts";
import { finishedAt } from "./job.ts";
import type { Job } from "./model.ts";
import { createdAt, instant, timestamp } from "./pods.ts";

/** The first look back: most schedules have a start within it, none more than sixty. */
const FIRST_WINDOW_MS = 3_600_000;
const SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp";

export interface CronJob extends KubeObject {
  spec: {
    schedule: string; timeZone?: string; suspend?: boolean; concurrencyPolicy?: string; startingDeadlineSeconds?: number;
    successfulJobsHistoryLimit?: number; failedJobsHistoryLimit?: number;
    jobTemplate: { metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> }; spec: Job["spec"] };
  };
  status?: { active?: { apiVersion: string; kind: string; name: string; namespace?: string; uid?: string }[]; lastScheduleTime?: string; lastSuccessfulTime?: string };
}

export interface CronFacts { readonly cron: CronJob; readonly jobs: readonly Job[]; readonly now: number }

export function planCronJob({ cron, jobs, now }: CronFacts): Plan {
  const mine = jobs.filter((j) => controllerOf(j)?.uid === cron.metadata.uid);
  const running = mine.filter((j) => finishedAt(j) === undefined);
  const steps: Action[] = trim(cron, mine);
  const due = cron.metadata.deletionTimestamp === undefined && cron.spec.suspend !== true ? findDue(cron, now) : undefined;
  const start = due?.at === undefined ? undefined : startAction(cron, mine, running, due.at);
  if (due?.problem !== undefined) steps.push({ do: "event", about: cron, type: "Warning", reason: "UnparseableSchedule", message: due.problem });
  if (start !== undefined) steps.push(...start.actions);
  const scheduled = start?.counts === true && due?.at !== undefined ? timestamp(due.at) : cron.status?.lastScheduleTime;
  const succeeded = mine.filter((j) => j.status?.completionTime !== undefined).map((j) => j.status?.completionTime ?? "").sort().at(-1) ?? cron.status?.lastSuccessfulTime;
  const status = {
    ...(running.length === 0 ? {} : { active: running.map(({ metadata: m }) => ({ apiVersion: apiVersionOf(JOB), kind: "Job", name: m.name, namespace: m.namespace ?? "", uid: m.uid ?? "" })) }),
    ...(scheduled === undefined ? {} : { lastScheduleTime: scheduled }), ...(succeeded === undefined ? {} : { lastSuccessfulTime: succeeded }),
  };
  if (!isEqual(status, cron.status ?? {})) steps.push({ do: "replace", kind: CRON_JOB, object: { ...cron, status }, subresource: "status" });
  return planOf(steps, due?.againInMs);
}

interface Due { readonly at?: number; readonly againInMs?: number; readonly problem?: string }

/** The latest start that is due and not past its deadline. Earlier missed ones are not made up for. */
function findDue(cron: CronJob, now: number): Due {
  const schedule = parseSchedule(cron.spec.schedule);
  if ("problem" in schedule) return { problem: `invalid schedule: ${schedule.problem}` };
  try {
    return latestDue(cron, schedule, now);
  } catch (error) {
    return { problem: `invalid timeZone "${cron.spec.timeZone}": ${error instanceof Error ? error.message : String(error)}` };
  }
}

function latestDue(cron: CronJob, schedule: Schedule, now: number): Due {
  const { timeZone, startingDeadlineSeconds: deadline } = cron.spec;
  const last = instant(cron.status?.lastScheduleTime) ?? createdAt(cron);
  const from = deadline === undefined ? last : Math.max(last, now - deadline * 1000);
  let at: number | undefined;
  // From the present backwards in growing steps: after a long silence the latest missed start is found without the others.
  for (let window = FIRST_WINDOW_MS; at === undefined; window *= 2) {
    const start = Math.max(from, now - window);
    for (let next = nextAfter(schedule, start, timeZone); next !== undefined && next <= now; next = nextAfter(schedule, next, timeZone)) at = next;
    if (start === from) break;
  }
  const upcoming = nextAfter(schedule, now, timeZone);
  return { ...(at === undefined ? {} : { at }), ...(upcoming === undefined ? {} : { againInMs: upcoming - now }) };
}

/** `counts`: the start is done with, even if no Job came of it. */
function startAction(cron: CronJob, mine: readonly Job[], running: readonly Job[], at: number): { actions: Action[]; counts: boolean } {
  // Named after its minute: however often this is planned, one Job comes of it.
  const name = `${cron.metadata.name.slice(0, 52)}-${Math.floor(at / 60_000)}`;
  if (mine.some((j) => j.metadata.name === name)) return { actions: [], counts: true };
  if (cron.spec.concurrencyPolicy === "Forbid" && running.length > 0) {
    return { actions: [{ do: "event", about: cron, type: "Normal", reason: "JobAlreadyActive", message: "Not starting job because prior execution is running and concurrency policy is Forbid" }], counts: false };
  }
  const replaced: Action[] = cron.spec.concurrencyPolicy === "Replace" ? running.map((object) => ({ do: "delete", kind: JOB, object, propagation: "Background", owner: cron })) : [];
  const { metadata = {}, spec } = cron.spec.jobTemplate;
  const object = {
    apiVersion: apiVersionOf(JOB), kind: JOB.kind, spec,
    metadata: {
      name, ...(cron.metadata.namespace === undefined ? {} : { namespace: cron.metadata.namespace }), ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
      annotations: { ...metadata.annotations, [SCHEDULED_AT]: timestamp(at) }, ownerReferences: [ownerReference(CRON_JOB, cron)],
    },
  };
  return { actions: [...replaced, { do: "create", kind: JOB, object, owner: cron }], counts: true };
}

function trim(cron: CronJob, mine: readonly Job[]): Action[] {
  const ended = (type: string): Job[] => mine.filter((j) => (j.status?.conditions ?? []).some((c) => c.type === type && c.status === "True") && j.metadata.deletionTimestamp === undefined)
    .sort((a, b) => createdAt(a) - createdAt(b));
  const surplus = (jobs: Job[], limit: number): Job[] => jobs.slice(0, Math.max(0, jobs.length - limit));
  return [...surplus(ended("Complete"), cron.spec.successfulJobsHistoryLimit ?? 3), ...surplus(ended("Failed"), cron.spec.failedJobsHistoryLimit ?? 1)]
    .map((object) => ({ do: "delete", kind: JOB, object, propagation: "Background", owner: cron }));
}
