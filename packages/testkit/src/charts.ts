// Owns the objects of our charts for tests that want the mesh's accounts and rights without a whole installation.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { readChart, readValues, renderChart, type ChartObject, type ValueMap } from "@ambit/charts";

const MANIFESTS = join(import.meta.dirname, "../../../manifests");

/** What `chart` is rendered to in istio-system, with the profile `lab` unless `values` are given. */
export function chartObjects(chart: string, values?: ValueMap): ChartObject[] {
  const folder = join(MANIFESTS, "charts", chart);
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => relative(folder, join(f.parentPath, f.name))).filter((f) => !f.startsWith("crds/"));
  const lab = join(MANIFESTS, "profiles/lab.yaml");
  return renderChart(readChart(Object.fromEntries(names.map((f) => [f, readFileSync(join(folder, f), "utf8")]))), values ?? readValues(readFileSync(lab, "utf8"), lab), { name: chart, namespace: "istio-system", service: "test" }).map((r) => r.object);
}
