// Owns running the Endpoints plan.
import type { Pod, Service } from "@ambit/kube";
import { keyOf, splitKey } from "./engine/cache.ts";
import type { ControllerEnv } from "./engine/env.ts";
import { followSelf } from "./follow.ts";
import { planEndpoints, type Endpoints } from "./plan/endpoints.ts";
import { ENDPOINTS, POD, SERVICE } from "./plan/kinds.ts";
import { isSubset } from "./plan/labels.ts";

const WORKERS = 2;

export function runEndpoints(env: ControllerEnv): void {
  const services = env.cache<Service>(SERVICE);
  const pods = env.cache<Pod>(POD);
  const endpoints = env.cache<Endpoints>(ENDPOINTS);
  const applier = env.applier("endpoint-controller");
  const queue = env.queue("endpoint", WORKERS, async (key) => applier.run(planEndpoints({ service: services.at(key), pods: pods.in(splitKey(key).namespace ?? ""), endpoints: endpoints.at(key) })));
  followSelf(services, queue);
  followSelf(endpoints, queue);
  pods.listen((change) => {
    const old = change.type === "put" ? change.old : undefined;
    for (const service of services.in(change.object.metadata.namespace ?? "")) {
      const selector = service.spec.selector ?? {};
      if (Object.keys(selector).length === 0) continue;
      if ([change.object, old].some((p) => p !== undefined && isSubset(selector, p.metadata.labels ?? {}))) queue.add(keyOf(service));
    }
  });
}
