// Owns reading what an installation is made of from manifests/: the charts, their CRDs and the profiles.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { readChart, readValues, type Chart, type ValueMap } from "@ambit/charts";
import { parseManifests, type KubeObject } from "@ambit/kube";
import { UsageError } from "../usage-error.ts";
import { INSTALLER } from "./plan/mesh-objects.ts";

const MANIFESTS = join(import.meta.dirname, "../../../../manifests");
/** In the order in which they stand on one another. */
export const CHART_NAMES = ["base", "istiod-lite", "cni", "ztunnel"] as const;

/** Every YAML file in the named folders of manifests/, in name order. */
export function readManifests(...folders: string[]): KubeObject[] {
  return folders.flatMap((folder) =>
    readdirSync(join(MANIFESTS, folder)).filter((f) => f.endsWith(".yaml")).sort()
      .flatMap((f) => parseManifests(readFileSync(join(MANIFESTS, folder, f), "utf8"), join("manifests", folder, f))));
}

/** Labelled as ours, so that a later run knows which it may bring to another version. */
export const readCrds = (): KubeObject[] => readManifests("charts/base/crds/gateway-api", "charts/base/crds/istio")
  .map((c) => ({ ...c, metadata: { ...c.metadata, labels: { ...c.metadata.labels, "app.kubernetes.io/part-of": "ambit", "app.kubernetes.io/managed-by": INSTALLER } } }));

export const readCharts = (): Chart[] => CHART_NAMES.map((name) => {
  const folder = join(MANIFESTS, "charts", name);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => relative(folder, join(f.parentPath, f.name)));
  try {
    return readChart(Object.fromEntries(files.filter((f) => !f.startsWith("crds/")).map((f) => [f, readFileSync(join(folder, f), "utf8")])));
  } catch (cause) {
    throw new Error(`manifests/charts/${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
});

/** Names of platforms whose values are known. */
export const profileNames = (): string[] => readdirSync(join(MANIFESTS, "profiles")).filter((f) => f.endsWith(".yaml")).map((f) => f.slice(0, -".yaml".length)).sort();

export function readProfile(name: string): ValueMap {
  const file = join(MANIFESTS, "profiles", `${name}.yaml`);
  if (!/^[a-z0-9-]+$/.test(name) || !existsSync(file)) throw new UsageError(`there is no profile "${name}": ${profileNames().join(", ")}`, { exitCode: 2 });
  return readValues(readFileSync(file, "utf8"), file);
}

export function readValuesFile(file: string): ValueMap {
  try {
    return readValues(readFileSync(file, "utf8"), file);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error, exitCode: 2 });
  }
}
