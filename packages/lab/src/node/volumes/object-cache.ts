// Owns the ConfigMaps and Secrets that this node's pods refer to: one watch for each, kept while a pod needs it.
import { Reflector, type ConfigMap, type KubeClient, type KubeObject, type Secret, KINDS } from "@ambit/kube";
import type { Logger } from "@ambit/runtime";

export type ObjectKind = "configMaps" | "secrets";

export interface ObjectCache {
  /** Replaces what `owner` needs; `changed` is called when one of them appears, changes or goes. */
  need(owner: string, namespace: string, wanted: { readonly configMaps: readonly string[]; readonly secrets: readonly string[] }, changed: () => void): void;
  release(owner: string): void;
  /** Resolves when the first answer for everything `owner` needs is in. */
  whenKnown(owner: string): Promise<void>;
  configMap(namespace: string, name: string): Readonly<Record<string, Uint8Array>> | undefined;
  secret(namespace: string, name: string): Readonly<Record<string, Uint8Array>> | undefined;
  close(): Promise<void>;
}

interface Entry { readonly reflector: Reflector; readonly owners: Map<string, () => void> }

export function createObjectCache(client: KubeClient, log: Logger): ObjectCache {
  const entries = new Map<string, Entry>();
  const byOwner = new Map<string, Set<string>>();
  const keyOf = (kind: ObjectKind, namespace: string, name: string) => `${kind}/${namespace}/${name}`;

  const watch = (kind: ObjectKind, namespace: string, name: string): Entry => {
    const owners = new Map<string, () => void>();
    const tell = () => { for (const changed of owners.values()) changed(); };
    const reflector = new Reflector(client, KINDS[kind], { namespace, fieldSelector: `metadata.name=${name}`, log }).handle({ onAdd: tell, onUpdate: tell, onDelete: tell }).start();
    return { reflector, owners };
  };
  const drop = (key: string, owner: string) => {
    const entry = entries.get(key);
    entry?.owners.delete(owner);
    if (entry === undefined || entry.owners.size > 0) return;
    entries.delete(key);
    void entry.reflector.stop();
  };
  const find = (kind: ObjectKind, namespace: string, name: string): KubeObject | undefined => entries.get(keyOf(kind, namespace, name))?.reflector.get(`${namespace}/${name}`);

  return {
    need(owner, namespace, wanted, changed) {
      const keys = new Set<string>();
      for (const kind of ["configMaps", "secrets"] as const) {
        for (const name of wanted[kind]) {
          const key = keyOf(kind, namespace, name);
          keys.add(key);
          let entry = entries.get(key);
          if (entry === undefined) entries.set(key, (entry = watch(kind, namespace, name)));
          entry.owners.set(owner, changed);
        }
      }
      for (const old of byOwner.get(owner) ?? []) if (!keys.has(old)) drop(old, owner);
      byOwner.set(owner, keys);
    },
    release(owner) {
      for (const key of byOwner.get(owner) ?? []) drop(key, owner);
      byOwner.delete(owner);
    },
    async whenKnown(owner) {
      for (const key of byOwner.get(owner) ?? []) await entries.get(key)?.reflector.whenSynced();
    },
    configMap(namespace, name) {
      const o = find("configMaps", namespace, name) as ConfigMap | undefined;
      if (o === undefined) return undefined;
      const out: Record<string, Uint8Array> = {};
      for (const [k, v] of Object.entries(o.data ?? {})) out[k] = Buffer.from(v, "utf8");
      for (const [k, v] of Object.entries(o.binaryData ?? {})) out[k] = Buffer.from(v, "base64");
      return out;
    },
    secret(namespace, name) {
      const o = find("secrets", namespace, name) as Secret | undefined;
      return o === undefined ? undefined : Object.fromEntries(Object.entries(o.data ?? {}).map(([k, v]) => [k, Buffer.from(v, "base64")]));
    },
    async close() {
      await Promise.all([...entries.values()].map((e) => e.reflector.stop()));
    },
  };
}
