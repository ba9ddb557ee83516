// Owns the ValidatingWebhookConfiguration as it stands: our roots in it, and failing closed once it is proven to work. Leader only.
import { KubeError, Reflector, type Kind, type KubeClient, type KubeObject } from "@ambit/kube";
import { errorText, type Clock, type Logger } from "@ambit/runtime";
import { createWorker } from "../status/worker.ts";

export const WEBHOOKS: Kind = { group: "admissionregistration.k8s.io", version: "v1", plural: "validatingwebhookconfigurations", kind: "ValidatingWebhookConfiguration", namespaced: false };
const PROBED: Kind = { group: "networking.istio.io", version: "v1", plural: "workloadentries", kind: "WorkloadEntry", namespaced: true };
/** After a probe that was not refused: our endpoint may not be in the Service yet. */
const PROBE_EVERY_MS = 5_000;

interface Webhook { readonly name: string; readonly failurePolicy?: string; readonly clientConfig?: { readonly caBundle?: string } }

export interface WebhookWriter {
  lead(leading: boolean): void;
  /** The roots changed. */
  touch(): void;
  stop(): Promise<void>;
}

/**
 * The chart says no failurePolicy, which is Fail (ADR 0037). Where somebody says Ignore, as Istio's chart does, the leader writes the roots, then asks
 * the API server to take something invalid (a dry run), and when that is refused by us, Fail: from then on nothing that is not understood gets in unseen.
 */
export function keepWebhooks(o: { client: KubeClient; namespace: string; rootsPem: () => string; clock: Clock; log: Logger }): WebhookWriter {
  const name = `istio-validator-${o.namespace}`;
  const present = new Reflector(o.client, WEBHOOKS, { labelSelector: "app=istiod", clock: o.clock, log: o.log });
  const worker = createWorker({ name: "webhooks", clock: o.clock, log: o.log, reconcile: () => reconcile() });
  const look = (object: KubeObject): void => { if (object.metadata.name === name) worker.add(name); };
  let leading = false;
  const goOn = (): void => { if (leading && present.synced) worker.resume([name]); };

  const reconcile = async (): Promise<void> => {
    const object = present.get(name);
    const webhooks = (object?.["webhooks"] as readonly Webhook[] | undefined) ?? [];
    if (object === undefined || webhooks.length === 0) return;
    const bundle = Buffer.from(o.rootsPem()).toString("base64");
    if (webhooks.some((w) => w.clientConfig?.caBundle !== bundle)) {
      await patch(object, webhooks.map((_, i) => ({ op: "add", path: `/webhooks/${i}/clientConfig/caBundle`, value: bundle })));
      o.log.info("webhooks trust our roots", { configuration: name });
      return;
    }
    if (webhooks.every((w) => w.failurePolicy === "Fail")) return;
    if (!(await refusesProbe(o.client, o.namespace, webhooks.map((w) => w.name)))) {
      o.clock.after(PROBE_EVERY_MS, () => worker.add(name));
      return;
    }
    await patch(object, webhooks.map((_, i) => ({ op: "add", path: `/webhooks/${i}/failurePolicy`, value: "Fail" })));
    o.log.info("admission works and fails closed from now on", { configuration: name });
  };
  const patch = async (object: KubeObject, operations: readonly object[]): Promise<void> => {
    await o.client.patch(WEBHOOKS, undefined, name, [{ op: "test", path: "/metadata/resourceVersion", value: object.metadata.resourceVersion }, ...operations], { type: "json" });
  };
  present.handle({ onAdd: look, onUpdate: look, onDelete: look });
  void present.start().whenSynced().then(goOn);
  return {
    lead: (now) => {
      leading = now;
      if (now) goOn();
      else worker.pause();
    },
    touch: () => worker.add(name),
    stop: async () => {
      await worker.stop();
      await present.stop();
    },
  };
}

/** The schema takes this object, our rules do not; a dry run stores nothing. */
async function refusesProbe(client: KubeClient, namespace: string, hooks: readonly string[]): Promise<boolean> {
  try {
    await client.request("POST", `/apis/${PROBED.group}/${PROBED.version}/namespaces/${namespace}/${PROBED.plural}`, {
      query: { dryRun: "All" },
      body: { apiVersion: `${PROBED.group}/${PROBED.version}`, kind: PROBED.kind, metadata: { generateName: "ambit-admission-probe-" }, spec: { address: "*not*an*address*" } },
    });
    return false;
  } catch (error) {
    // Anything else (no such kind, no right) proves nothing.
    return error instanceof KubeError && hooks.some((h) => errorText(error).includes(`"${h}" denied`));
  }
}
