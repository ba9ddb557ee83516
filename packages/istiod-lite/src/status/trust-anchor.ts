// Owns ConfigMap istio-ca-root-cert in every namespace: made, mended and kept equal to the authority's roots. Leader only.
import type { Collection } from "@ambit/collections";
import { isAlreadyExists, isNotFound, KINDS, KubeError, Reflector, type ConfigMap, type KubeClient, type KubeObject } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import { createWorker } from "./worker.ts";

const NAME = "istio-ca-root-cert";
const KEY = "root-cert.pem";
const LABEL = "istio.io/config";

export interface TrustAnchor {
  lead(leading: boolean): void;
  stop(): Promise<void>;
}

export function keepTrustAnchor(o: { client: KubeClient; namespaces: Collection<KubeObject>; rootsPem: () => string; clock: Clock; log: Logger }): TrustAnchor {
  // Only ConfigMaps with the label are ours to see.
  const present = new Reflector<ConfigMap>(o.client, KINDS.configMaps, { labelSelector: `${LABEL}=true`, clock: o.clock, log: o.log });
  const worker = createWorker({ name: "trust anchor", clock: o.clock, log: o.log, reconcile: (namespace) => ensure(o, present, namespace) });
  let leading = false;
  const goOn = (): void => { if (leading && present.synced) worker.resume(o.namespaces.keys()); };
  o.namespaces.onChange((changes) => { for (const c of changes) if (c.after !== undefined) worker.add(c.key); });
  const look = (m: ConfigMap): void => { if (m.metadata.name === NAME && m.metadata.namespace !== undefined) worker.add(m.metadata.namespace); };
  present.handle({ onAdd: look, onUpdate: look, onDelete: look });
  void present.start().whenSynced().then(goOn);
  return {
    lead: (now) => {
      leading = now;
      if (now) goOn();
      else worker.pause();
    },
    stop: async () => {
      await worker.stop();
      await present.stop();
    },
  };
}

async function ensure(o: { client: KubeClient; namespaces: Collection<KubeObject>; rootsPem: () => string }, present: Reflector<ConfigMap>, namespace: string): Promise<void> {
  const space = o.namespaces.get(namespace);
  if (space === undefined || space.metadata.deletionTimestamp !== undefined) return;
  const rootsPem = o.rootsPem();
  if (present.get(`${namespace}/${NAME}`)?.data?.[KEY] === rootsPem) return;
  const body: ConfigMap = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: NAME, namespace, labels: { [LABEL]: "true" } }, data: { [KEY]: rootsPem } };
  try {
    await o.client.create(KINDS.configMaps, namespace, body);
  } catch (error) {
    // The namespace went away, or is going: nothing left to do.
    if (isNotFound(error) || (error instanceof KubeError && error.status === 403 && error.message.includes("being terminated"))) return;
    if (!isAlreadyExists(error)) throw error;
    await o.client.patch(KINDS.configMaps, namespace, NAME, { metadata: { labels: { [LABEL]: "true" } }, data: { [KEY]: rootsPem } });
  }
}
