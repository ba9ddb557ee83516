// Owns the composition: every controller of the lab over one set of caches.
import type { ClientConfig } from "@ambit/kube";
import { systemClock, systemRandom, type Bound, type Clock, type Logger, type Random } from "@ambit/runtime";
import { runCronJobs } from "./cron-jobs.ts";
import { runDaemonSets } from "./daemon-sets.ts";
import { runDisruptionBudgets } from "./disruption-budgets.ts";
import { Discovered } from "./discovered.ts";
import { ControllerEnv } from "./engine/env.ts";
import { runEndpointSlices } from "./endpoint-slices.ts";
import { runEndpoints } from "./endpoints.ts";
import { runGarbageCollector } from "./garbage.ts";
import { runJobs } from "./jobs.ts";
import { runNamespaceDefaults } from "./namespace-defaults.ts";
import { runNamespaceLifecycle } from "./namespace-lifecycle.ts";
import { runNodeLifecycle } from "./node-lifecycle.ts";
import { runDeployments, runReplicaSets } from "./replica-sets.ts";
import { runScheduler } from "./scheduler.ts";
import { runStatefulSets } from "./stateful-sets.ts";

export interface ControllersOptions {
  readonly config: ClientConfig;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Resolves once every cache is filled and the controllers work. Needs an identity that may do everything. */
export async function startControllers({ config, log, clock = systemClock, random = systemRandom }: ControllersOptions): Promise<Bound> {
  const env = new ControllerEnv({ config, clock, random, log });
  runNamespaceDefaults(env, config.ca);
  runScheduler(env);
  runReplicaSets(env);
  runDeployments(env);
  runDaemonSets(env);
  runStatefulSets(env);
  runJobs(env);
  runCronJobs(env);
  runEndpointSlices(env);
  runEndpoints(env);
  runNodeLifecycle(env);
  runDisruptionBudgets(env);
  const discovered = new Discovered(env);
  runGarbageCollector(env, discovered);
  runNamespaceLifecycle(env, discovered);
  await env.start();
  log.info("controllers ready");
  return { drain: () => env.stop() };
}
