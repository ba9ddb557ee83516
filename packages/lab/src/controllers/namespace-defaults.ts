// Owns running the plan for what every namespace is given.
import type { ConfigMap, KubeObject } from "@ambit/kube";
import type { ControllerEnv } from "./engine/env.ts";
import { followSelf } from "./follow.ts";
import { CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT } from "./plan/kinds.ts";
import { planNamespaceDefaults, ROOT_CA } from "./plan/namespace-defaults.ts";

const WORKERS = 2;

export function runNamespaceDefaults(env: ControllerEnv, ca: string | undefined): void {
  const namespaces = env.cache<KubeObject>(NAMESPACE);
  const accounts = env.cache<KubeObject>(SERVICE_ACCOUNT);
  const configMaps = env.cache<ConfigMap>(CONFIG_MAP);
  const applier = env.applier("serviceaccount-controller");
  const queue = env.queue("namespace-defaults", WORKERS, async (name) =>
    applier.run(planNamespaceDefaults({
      namespace: namespaces.at(name), account: accounts.get(name, "default"), rootCa: configMaps.get(name, ROOT_CA), ca,
    })));
  followSelf(namespaces, queue);
  accounts.listen(({ type, object }) => { if (type === "drop" && object.metadata.name === "default") queue.add(object.metadata.namespace ?? ""); });
  configMaps.listen(({ object }) => { if (object.metadata.name === ROOT_CA) queue.add(object.metadata.namespace ?? ""); });
}
