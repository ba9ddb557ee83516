// Owns putting the mesh into a cluster: CRDs, cluster add-ons of the lab, and the mesh's own manifests, then waiting for it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { applyManifests, KINDS, parseManifests, Reflector, type KubeClient, type KubeObject } from "@ambit/kube";
import { systemClock, withTimeout } from "@ambit/runtime";
import { UsageError } from "./usage-error.ts";

const MANIFESTS = join(import.meta.dirname, "../../../manifests");
const READY_TIMEOUT_MS = 90_000;
export const FIELD_MANAGER = "ambit";

/** Every YAML file in the named folders of manifests/, in name order; CRDs and namespaces are applied first anyway. */
export function readManifests(...folders: string[]): KubeObject[] {
  return folders.flatMap((folder) =>
    readdirSync(join(MANIFESTS, folder)).filter((f) => f.endsWith(".yaml")).sort()
      .flatMap((f) => parseManifests(readFileSync(join(MANIFESTS, folder, f), "utf8"), join("manifests", folder, f))));
}

export async function installMesh(client: KubeClient, onStep: (text: string) => void): Promise<void> {
  onStep("installing CRDs, cluster DNS and the mesh");
  await applyManifests(client, readManifests("crds/gateway-api", "crds/istio", "lab", "."), { fieldManager: FIELD_MANAGER });
}

export interface Rollout { readonly name: string; readonly ready: number; readonly wanted: number }

/** What must be ready before the mesh is: Deployments and DaemonSets of the system namespaces. */
export async function meshReady(client: KubeClient, onProgress: (rollouts: Rollout[]) => void): Promise<void> {
  const deployments = new Reflector(client, KINDS.deployments);
  const daemonSets = new Reflector(client, KINDS.daemonSets);
  let last: Rollout[] = [];
  try {
    const done = new Promise<void>((resolve) => {
      const look = () => {
        if (!deployments.synced || !daemonSets.synced) return;
        last = [...deployments.items(), ...daemonSets.items()].filter((o) => SYSTEM.includes(o.metadata.namespace ?? "")).map(rolloutOf);
        onProgress(last);
        if (last.length > 0 && last.every((r) => r.wanted > 0 && r.ready >= r.wanted)) resolve();
      };
      for (const r of [deployments, daemonSets]) r.handle({ onAdd: look, onUpdate: look, onDelete: look, onSynced: look }).start();
    });
    await withTimeout(systemClock, READY_TIMEOUT_MS, done, () => {
      const waiting = last.filter((r) => r.wanted === 0 || r.ready < r.wanted).map((r) => `${r.name} ${r.ready}/${r.wanted}`);
      return new UsageError(`the mesh is not ready after ${READY_TIMEOUT_MS / 1000} s; still waiting for ${waiting.join(", ") || "its first objects"}`);
    });
  } finally {
    await Promise.all([deployments.stop(), daemonSets.stop()]);
  }
}

export const SYSTEM = ["kube-system", "istio-system"];

function rolloutOf(o: KubeObject): Rollout {
  const spec = o["spec"] as { replicas?: number };
  const status = (o["status"] ?? {}) as { observedGeneration?: number; readyReplicas?: number; numberReady?: number; desiredNumberScheduled?: number; updatedReplicas?: number; updatedNumberScheduled?: number };
  const current = (status.observedGeneration ?? 0) >= (o.metadata.generation ?? 0);
  const deployment = o.kind === "Deployment";
  return {
    name: `${o.kind?.toLowerCase()}/${o.metadata.name}`,
    wanted: deployment ? (spec.replicas ?? 1) : current ? (status.desiredNumberScheduled ?? 0) : 0,
    ready: !current ? 0 : deployment ? Math.min(status.readyReplicas ?? 0, status.updatedReplicas ?? 0) : Math.min(status.numberReady ?? 0, status.updatedNumberScheduled ?? 0),
  };
}
