// Owns the control plane's life without Kubernetes: objects, tokens and the authority are files; conditions go to the log (ADR 0028).
import { stat } from "node:fs/promises";
import type { Clock, Logger } from "@ambit/runtime";
import type { Mesh } from "../collections/graph.ts";
import type { Config } from "../config.ts";
import { recordKeys } from "../jwks/recorder.ts";
import { keysInFolder } from "../jwks/stores.ts";
import { allocateAddresses } from "../plan/allocate-entries.ts";
import { watchFiles } from "../sources/files.ts";
import { authorityOfFolder } from "./authority-folder.ts";
import type { Platform, Writers } from "./platform.ts";
import { reviewByFile } from "./static-tokens.ts";

export function onFiles(o: { config: Config; clock: Clock; log: Logger }): Platform {
  const { config, clock, log } = o;
  const store = keysInFolder(config.rootCaDir);
  return {
    keys: store,
    authority: authorityOfFolder({ folder: config.rootCaDir, trustDomain: config.trustDomain, clock, log, check: async () => {
      // Said before anything is made: a name mistyped must not make a new root.
      if (!(await stat(config.configDir)).isDirectory()) throw new Error(`AMBIT_CONFIG_DIR: ${config.configDir} is not a folder`);
    } }),
    reviewToken: (mesh) => reviewByFile(config.tokensFile, (namespace, name) => mesh.sources.pods.get(`${namespace}/${name}`)?.metadata.uid ?? ""),
    watch: (inbox) => {
      const files = watchFiles({ folder: config.configDir, inbox, complete: allocateAddresses, clock, log: log.child("sources") });
      return { whenSynced: files.whenSynced, pending: files.problems, stop: files.stop };
    },
    writers: (mesh, _authority, keys) => {
      const conditions = logConditions(mesh, log.child("status"));
      const recorder = recordKeys({ keys, store, clock, log: log.child("jwks") });
      return {
        ...conditions,
        start: () => {
          conditions.start();
          recorder.lead(true);
        },
        stop: async () => {
          await recorder.stop();
          await conditions.stop();
        },
      };
    },
    close: () => undefined,
  };
}

/** There is nobody to write a condition to: what is not as written is said once, and again when it changes. */
function logConditions(mesh: Mesh, log: Logger): Writers {
  let unsubscribe: (() => void) | undefined;
  const said = new Map<string, string>();
  const say = (key: string): void => {
    const want = mesh.statuses.get(key);
    const bad = (want?.conditions ?? []).filter((c) => c.status === "False" || c.reason === "UnsupportedValue");
    const text = bad.map((c) => `${c.type}=${c.status} ${c.reason}: ${c.message}`).join("; ");
    if ((said.get(key) ?? "") === text) return;
    if (text === "") said.delete(key);
    else said.set(key, text);
    if (text !== "" && want !== undefined) log.warn("not as written", { kind: want.kind, object: want.namespace === "" ? want.name : `${want.namespace}/${want.name}`, condition: text });
  };
  return {
    start: () => {
      unsubscribe = mesh.statuses.onChange((changes) => { for (const c of changes) say(c.key); });
      for (const key of mesh.statuses.keys()) say(key);
    },
    // Roots are told with every certificate; there is nothing else to write them to.
    rootsChanged: () => undefined,
    stop: async () => unsubscribe?.(),
  };
}
