// Owns running the CronJob plan.
import type { ControllerEnv } from "./engine/env.ts";
import { joinKey } from "./engine/cache.ts";
import { followSelf } from "./follow.ts";
import { controllerOf } from "./plan/claim.ts";
import { planCronJob, type CronJob } from "./plan/cron-job.ts";
import { CRON_JOB, JOB } from "./plan/kinds.ts";
import type { Job } from "./plan/model.ts";

const WORKERS = 1;

export function runCronJobs(env: ControllerEnv): void {
  const crons = env.cache<CronJob>(CRON_JOB);
  const jobs = env.cache<Job>(JOB);
  const applier = env.applier("cronjob-controller");
  const queue = env.queue("cronjob", WORKERS, async (key) => {
    const cron = crons.at(key);
    return cron === undefined ? undefined : applier.run(planCronJob({ cron, jobs: jobs.in(cron.metadata.namespace ?? ""), now: env.clock.now() }));
  });
  followSelf(crons, queue);
  jobs.listen(({ object }) => {
    const ref = controllerOf(object);
    if (ref?.kind === "CronJob") queue.add(joinKey(object.metadata.namespace, ref.name));
  });
}
