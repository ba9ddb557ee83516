// Owns putting the mesh into a lab: CRDs, cluster add-ons and the charts with the profile `lab`, then waiting for it.
import { applyManifests, type KubeClient } from "@ambit/kube";
import { admissionAnswers } from "./install/admission.ts";
import { readCharts, readCrds, readManifests, readProfile } from "./install/charts-on-disk.ts";
import { FIELD_MANAGER } from "./install/cluster-objects.ts";
import { installationOf } from "./install/plan/installation.ts";
import type { Rollout } from "./install/plan/rollout.ts";
import { untilRolledOut } from "./install/rollouts.ts";
import { version } from "./version.ts";

const READY_TIMEOUT_MS = 90_000;
const NAMESPACE = "istio-system";
export const SYSTEM = ["kube-system", NAMESPACE];

/** What `ambit install --profile lab` would make, and its record; without asking what stands, for nothing does. */
export async function installMesh(client: KubeClient, onStep: (text: string) => void): Promise<void> {
  onStep("installing CRDs, cluster DNS and the mesh");
  const { stages, record } = installationOf(readCharts(), { namespace: NAMESPACE, revision: "default", version: version(), values: readProfile("lab") });
  await applyManifests(client, [...readCrds(), ...stages.flatMap((s) => s.objects), record, ...readManifests("lab")], { fieldManager: FIELD_MANAGER });
}

/** What must be ready before the mesh is: Deployments and DaemonSets of the system namespaces, and admission. */
export async function meshReady(client: KubeClient, onProgress: (rollouts: Rollout[]) => void): Promise<void> {
  await untilRolledOut(client, { concerns: (o) => SYSTEM.includes(o.metadata.namespace ?? ""), limitMs: READY_TIMEOUT_MS }, onProgress);
  await admissionAnswers(client, NAMESPACE, READY_TIMEOUT_MS);
}
