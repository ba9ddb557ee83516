// Owns where the record of issuers' keys lies: a ConfigMap beside the mesh's settings, or a file beside the authority's.
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ifFound, isAlreadyExists, isConflict, KINDS, type ConfigMap, type KubeClient } from "@ambit/kube";
import { nameOfRevision } from "../collections/scope.ts";

/** `change` returns undefined where nothing is to be written. */
export interface KeyStore {
  /** "" where there is none. */
  load(): Promise<string>;
  save(change: (stored: string) => string | undefined): Promise<void>;
}

const NAME = "ambit-jwks";
const ENTRY = "keys.json";
/** Two replicas that both believe to lead, for a moment: each retry reads what the other wrote. */
const WRITE_TRIES = 5;

/** Public keys are no secret; but whoever may write this ConfigMap chooses whose tokens count while an issuer is away, as whoever writes ConfigMap istio does. */
export function keysInConfigMap(o: { client: KubeClient; namespace: string; revision: string }): KeyStore {
  const name = nameOfRevision(NAME, o.revision);
  const read = (): Promise<ConfigMap | undefined> => ifFound(o.client.get<ConfigMap>(KINDS.configMaps, o.namespace, name));
  return {
    load: async () => (await read())?.data?.[ENTRY] ?? "",
    save: async (change) => {
      for (let attempt = 1; ; attempt++) {
        const found = await read();
        const text = change(found?.data?.[ENTRY] ?? "");
        if (text === undefined) return;
        try {
          if (found === undefined) await o.client.create(KINDS.configMaps, o.namespace, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: o.namespace, labels: { app: "istiod" } }, data: { [ENTRY]: text } });
          // With the version that was read: somebody else's change in between is a conflict.
          else await o.client.patch(KINDS.configMaps, o.namespace, name, { metadata: { resourceVersion: found.metadata.resourceVersion }, data: { [ENTRY]: text } });
          return;
        } catch (error) {
          if (attempt >= WRITE_TRIES || !(isConflict(error) || isAlreadyExists(error))) throw error;
        }
      }
    },
  };
}

export function keysInFolder(folder: string): KeyStore {
  const file = join(folder, `${NAME}.json`);
  const load = async (): Promise<string> => {
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
      throw error;
    }
  };
  return {
    load,
    save: async (change) => {
      const text = change(await load());
      if (text === undefined) return;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // Whole or not at all, whenever we are killed.
      await writeFile(`${file}.new`, text, { mode: 0o600 });
      await rename(`${file}.new`, file);
    },
  };
}
