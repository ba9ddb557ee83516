// Owns the GatewayClasses that this control plane runs: made when missing, their status written; those of others are left alone. Leader only.
import type { Collection } from "@ambit/collections";
import { isAlreadyExists, isNotFound, KINDS, type KubeClient, type KubeObject } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import { classStatus, OUR_CLASSES } from "./class-conditions.ts";
import { statusToApply, type StandingCondition } from "./conditions.ts";
import { createWorker, type Worker } from "./worker.ts";

const MANAGER = "istio.io/gateway-class-controller";
/** The definition may be installed later; nobody tells us of a kind without objects. */
const MISSING_EVERY_MS = 30_000;

export function keepGatewayClasses(o: { client: KubeClient; classes: Collection<KubeObject>; clock: Clock; log: Logger }): Worker & { keys(): string[] } {
  const worker = createWorker({
    name: "gateway classes", clock: o.clock, log: o.log,
    reconcile: async (name) => {
      const object = o.classes.get(name);
      if (object !== undefined) return writeStatus(o, object);
      const ours = OUR_CLASSES.get(name);
      if (ours === undefined) return;
      try {
        await o.client.create(KINDS.gatewayClasses, undefined, { apiVersion: "gateway.networking.k8s.io/v1", kind: "GatewayClass", metadata: { name }, spec: { controllerName: ours.controller, description: ours.description } });
        o.log.info("gateway class made", { name });
      } catch (error) {
        if (isNotFound(error)) o.clock.after(MISSING_EVERY_MS, () => worker.add(name));
        else if (!isAlreadyExists(error)) throw error;
      }
    },
  });
  o.classes.onChange((changes) => { for (const c of changes) worker.add(c.key); });
  return { ...worker, keys: () => [...new Set([...OUR_CLASSES.keys(), ...o.classes.keys()])] };
}

async function writeStatus(o: { client: KubeClient; clock: Clock }, object: KubeObject): Promise<void> {
  const want = classStatus(object);
  if (want === undefined || object.metadata.deletionTimestamp !== undefined) return;
  const standing = object["status"] as { conditions?: StandingCondition[]; supportedFeatures?: { name: string }[] } | undefined;
  const now = new Date(o.clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
  const conditions = statusToApply({ key: "", kind: "services", namespace: "", name: object.metadata.name, manager: MANAGER, owns: ["Accepted"], conditions: [want.accepted], problems: [] }, standing?.conditions ?? [], object.metadata.generation, now);
  const features = (standing?.supportedFeatures ?? []).map((f) => f.name).join() === want.features.join();
  if (conditions === undefined && features) return;
  const status = { ...(conditions ?? { conditions: (standing?.conditions ?? []).filter((c) => c.type === "Accepted") }), supportedFeatures: want.features.map((name) => ({ name })) };
  try {
    await o.client.patch(KINDS.gatewayClasses, undefined, object.metadata.name, { apiVersion: "gateway.networking.k8s.io/v1", kind: "GatewayClass", metadata: { name: object.metadata.name }, status }, { type: "apply", subresource: "status", fieldManager: MANAGER, force: true });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
