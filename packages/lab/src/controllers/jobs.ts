// Owns running the Job plan.
import type { KubeObject, Pod } from "@ambit/kube";
import type { ControllerEnv } from "./engine/env.ts";
import { followOwners, followSelf } from "./follow.ts";
import { JOB, POD } from "./plan/kinds.ts";
import { planJob } from "./plan/job.ts";
import type { Job, LabelSelector } from "./plan/model.ts";
import type { Cache } from "./engine/cache.ts";

const WORKERS = 4;

export function runJobs(env: ControllerEnv): void {
  const jobs = env.cache<Job>(JOB);
  const pods = env.cache<Pod>(POD);
  const applier = env.applier("job-controller");
  const queue = env.queue("job", WORKERS, async (key) => {
    const job = jobs.at(key);
    return job === undefined ? undefined : applier.run(planJob({ job, pods: pods.in(job.metadata.namespace ?? ""), now: env.clock.now() }));
  });
  followSelf(jobs, queue);
  // A Job's selector is filled in by the API server before it is stored.
  followOwners(pods, jobs as Cache as Cache<KubeObject & { spec: { selector: LabelSelector } }>, "Job", queue);
}
