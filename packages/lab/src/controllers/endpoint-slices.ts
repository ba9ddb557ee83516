// Owns running the EndpointSlice plan.
import type { EndpointSlice, Node, Pod, Service } from "@ambit/kube";
import type { ControllerEnv } from "./engine/env.ts";
import { joinKey, keyOf, splitKey } from "./engine/cache.ts";
import { followSelf } from "./follow.ts";
import { isEqual } from "./plan/equal.ts";
import { MANAGED_BY, MANAGER, planEndpointSlices, SERVICE_NAME } from "./plan/endpoint-slices.ts";
import { ENDPOINT_SLICE, NODE, POD, SERVICE } from "./plan/kinds.ts";
import { isSubset } from "./plan/labels.ts";

const WORKERS = 5;

export function runEndpointSlices(env: ControllerEnv): void {
  const services = env.cache<Service>(SERVICE);
  const pods = env.cache<Pod>(POD);
  const nodes = env.cache<Node>(NODE);
  const slices = env.cache<EndpointSlice>(ENDPOINT_SLICE);
  const applier = env.applier("endpoint-slice-controller");
  const queue = env.queue("endpointslice", WORKERS, async (key) => {
    const { namespace = "", name } = splitKey(key);
    const own = slices.in(namespace).filter((s) => isSubset({ [SERVICE_NAME]: name, [MANAGED_BY]: MANAGER }, s.metadata.labels ?? {}));
    const byName = new Map(nodes.all().map((n) => [n.metadata.name, n]));
    return applier.run(planEndpointSlices({ service: services.at(key), pods: pods.in(namespace), nodes: byName, slices: own }));
  });
  followSelf(services, queue);
  pods.listen((change) => {
    const old = change.type === "put" ? change.old : undefined;
    const { object } = change;
    for (const service of services.in(object.metadata.namespace ?? "")) {
      const selector = service.spec.selector ?? {};
      if (Object.keys(selector).length === 0) continue;
      const touched = [object, old].some((p) => p !== undefined && isSubset(selector, p.metadata.labels ?? {}));
      if (touched) queue.add(keyOf(service));
    }
  });
  slices.listen(({ object }) => {
    if (object.metadata.labels?.[MANAGED_BY] !== MANAGER) return;
    queue.add(joinKey(object.metadata.namespace, object.metadata.labels[SERVICE_NAME] ?? ""));
  });
  nodes.listen((change) => {
    const old = change.type === "put" ? change.old : undefined;
    if (old !== undefined && isEqual(old.metadata.labels, change.object.metadata.labels)) return;
    for (const service of services.all()) queue.add(keyOf(service));
  });
}
