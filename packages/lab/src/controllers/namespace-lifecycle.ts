// Owns running the end of namespaces: lists everything of every kind in them, over and over until nothing is left.
import { isNotFound, type KubeObject } from "@ambit/kube";
import type { Discovered } from "./discovered.ts";
import type { ControllerEnv } from "./engine/env.ts";
import { isTerminatingNamespace } from "./plan/namespace-defaults.ts";
import { NAMESPACE } from "./plan/kinds.ts";
import { planNamespaceEnd } from "./plan/namespace-lifecycle.ts";

const WORKERS = 4;
/** Before the first discovery nothing may be called empty. */
const DISCOVERY_RETRY_MS = 200;

export function runNamespaceLifecycle(env: ControllerEnv, discovered: Discovered): void {
  const namespaces = env.cache<KubeObject>(NAMESPACE);
  const applier = env.applier("namespace-controller");
  const queue = env.queue("namespace", WORKERS, async (name) => {
    const namespace = namespaces.at(name);
    if (namespace?.metadata.deletionTimestamp === undefined) return undefined;
    if (!discovered.complete) return DISCOVERY_RETRY_MS;
    const content = [];
    for (const kind of discovered.kinds.filter((k) => k.namespaced)) {
      try {
        content.push({ kind, objects: (await env.client.list(kind, name)).items });
      } catch (error) {
        // Its CRD went away between discovery and now, and everything of it with it.
        if (!isNotFound(error)) throw error;
      }
    }
    return applier.run(planNamespaceEnd({ namespace, content, now: env.clock.now() }));
  });
  namespaces.listen(({ type, object }) => { if (type === "put" && isTerminatingNamespace(object)) queue.add(object.metadata.name); });
  discovered.listen({
    appeared: (_kind, cache) => cache.listen(({ type, object }) => {
      const namespace = object.metadata.namespace;
      if (type !== "drop" || namespace === undefined) return;
      const home = namespaces.at(namespace);
      if (home !== undefined && isTerminatingNamespace(home)) queue.add(namespace);
    }),
    vanished: () => undefined,
  });
}
