// Owns ConfigMaps istio-ca-root-cert and, where there is a revocation list, istio-ca-crl in every namespace: made, mended and kept equal
// to the authority's. Leader only.
import type { Collection } from "@ambit/collections";
import { isAlreadyExists, isNotFound, KINDS, KubeError, Reflector, type ConfigMap, type KubeClient, type KubeObject } from "@ambit/kube";
import type { Clock, Logger } from "@ambit/runtime";
import { createWorker } from "./worker.ts";

const ROOTS = { name: "istio-ca-root-cert", key: "root-cert.pem" };
const REVOKED = { name: "istio-ca-crl", key: "ca-crl.pem" };
const LABEL = "istio.io/config";

export interface TrustAnchor {
  lead(leading: boolean): void;
  /** What is to be written has changed. */
  touch(): void;
  stop(): Promise<void>;
}

export function keepTrustAnchor(o: { client: KubeClient; namespaces: Collection<KubeObject>; rootsPem: () => string; crlPem: () => string; clock: Clock; log: Logger }): TrustAnchor {
  // Only ConfigMaps with the label are ours to see.
  const present = new Reflector<ConfigMap>(o.client, KINDS.configMaps, { labelSelector: `${LABEL}=true`, clock: o.clock, log: o.log });
  const worker = createWorker({ name: "trust anchor", clock: o.clock, log: o.log, reconcile: (namespace) => ensure(o, present, namespace) });
  let leading = false;
  const goOn = (): void => { if (leading && present.synced) worker.resume(o.namespaces.keys()); };
  o.namespaces.onChange((changes) => { for (const c of changes) if (c.after !== undefined) worker.add(c.key); });
  const look = (m: ConfigMap): void => { if ((m.metadata.name === ROOTS.name || m.metadata.name === REVOKED.name) && m.metadata.namespace !== undefined) worker.add(m.metadata.namespace); };
  present.handle({ onAdd: look, onUpdate: look, onDelete: look });
  void present.start().whenSynced().then(goOn);
  return {
    lead: (now) => {
      leading = now;
      if (now) goOn();
      else worker.pause();
    },
    touch: () => { for (const namespace of o.namespaces.keys()) worker.add(namespace); },
    stop: async () => {
      await worker.stop();
      await present.stop();
    },
  };
}

interface Wanted { readonly client: KubeClient; readonly namespaces: Collection<KubeObject>; readonly rootsPem: () => string; readonly crlPem: () => string }

async function ensure(o: Wanted, present: Reflector<ConfigMap>, namespace: string): Promise<void> {
  const space = o.namespaces.get(namespace);
  if (space === undefined || space.metadata.deletionTimestamp !== undefined) return;
  await write(o.client, present, namespace, ROOTS, o.rootsPem());
  // As Istio: no list, no ConfigMap. One that is there stays when the list is withdrawn: revoked is revoked.
  if (o.crlPem() !== "") await write(o.client, present, namespace, REVOKED, o.crlPem());
}

async function write(client: KubeClient, present: Reflector<ConfigMap>, namespace: string, { name, key }: typeof ROOTS, pem: string): Promise<void> {
  if (present.get(`${namespace}/${name}`)?.data?.[key] === pem) return;
  const body: ConfigMap = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, labels: { [LABEL]: "true" } }, data: { [key]: pem } };
  try {
    await client.create(KINDS.configMaps, namespace, body);
  } catch (error) {
    // The namespace went away, or is going: nothing left to do.
    if (isNotFound(error) || (error instanceof KubeError && error.status === 403 && error.message.includes("being terminated"))) return;
    if (!isAlreadyExists(error)) throw error;
    await client.patch(KINDS.configMaps, namespace, name, { metadata: { labels: { [LABEL]: "true" } }, data: { [key]: pem } });
  }
}
