// Our charts as our renderer renders them, beside what Helm made of the same values: once (testdata), and again where Helm is on PATH.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { loadAll } from "js-yaml";
import { readChart, readValues, renderChart, type Chart, type ChartObject } from "./chart.ts";

const CHARTS = join(import.meta.dirname, "../../../manifests/charts");
const TESTDATA = join(import.meta.dirname, "testdata");
const NAMES = ["base", "istiod-lite", "cni", "ztunnel"];
const CASES = readdirSync(TESTDATA);
const helmVersion = spawnSync("helm", ["version", "--short"], { encoding: "utf8" }).stdout?.trim();

function filesOf(name: string): Record<string, string> {
  const folder = join(CHARTS, name);
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => relative(folder, join(f.parentPath, f.name)));
  return Object.fromEntries(paths.filter((p) => !p.startsWith("crds/")).map((p) => [p, readFileSync(join(folder, p), "utf8")]));
}
const charts = new Map<string, Chart>(NAMES.map((n) => [n, readChart(filesOf(n))]));

const sorted = (objects: readonly ChartObject[]): unknown[] => [...objects].sort((a, b) => (key(a) < key(b) ? -1 : 1));
const key = (o: ChartObject): string => `${o.kind} ${o.metadata.name}`;
const parsed = (text: string): ChartObject[] => (loadAll(text) as (ChartObject | null)[]).filter((o) => o !== null);

const ours = (name: string): ChartObject[] => NAMES.flatMap((n) => renderChart(charts.get(n) as Chart, readValues(readFileSync(join(TESTDATA, name, "values.yaml"), "utf8"), name), { name: n, namespace: "istio-system", service: "Helm" }).map((r) => r.object));
const helms = (name: string): string => NAMES.map((n) => execFileSync("helm", ["template", n, join(CHARTS, n), "--namespace", "istio-system", "--values", join(TESTDATA, name, "values.yaml")], { encoding: "utf8" })).join("");

describe("the charts", function () {
  this.timeout(20_000);
  for (const name of CASES) {
    const file = join(TESTDATA, name, "expected.yaml");
    it(`${name}: as Helm rendered them once`, () => {
      if (process.env["GOLDEN"] === "update") {
        assert.ok(helmVersion, "only Helm itself makes these files: it is not on PATH");
        writeFileSync(file, helms(name));
      }
      assert.deepEqual(sorted(ours(name)), sorted(parsed(readFileSync(file, "utf8"))));
    });
    it(`${name}: as Helm renders them here`, function () {
      if (!helmVersion) {
        console.log("      (no helm on PATH)");
        this.skip();
      }
      assert.deepEqual(sorted(ours(name)), sorted(parsed(helms(name))));
    });
  }

  it("say the same in what they share", () => {
    const [first, ...others] = NAMES.map((n) => filesOf(n));
    for (const f of others) {
      assert.equal(f["templates/_helpers.tpl"], first?.["templates/_helpers.tpl"]);
      const shared = (files: Record<string, string> | undefined): unknown => ({ values: readValues(files?.["values.yaml"] ?? "", "v")["global"], schema: (JSON.parse(files?.["values.schema.json"] ?? "") as { properties: { global: unknown } }).properties.global });
      assert.deepEqual(shared(f), shared(first));
    }
  });

  it("have the version of this repository", () => {
    const { version } = JSON.parse(readFileSync(join(CHARTS, "../../package.json"), "utf8")) as { version: string };
    for (const c of charts.values()) assert.deepEqual([c.version, c.appVersion], [version, version], c.name);
  });

  it("take every profile", () => {
    const folder = join(CHARTS, "../profiles");
    for (const f of readdirSync(folder)) for (const [name, chart] of charts) assert.ok(renderChart(chart, readValues(readFileSync(join(folder, f), "utf8"), f), { name, namespace: "n", service: "Helm" }).length > 0, `${f} ${name}`);
  });
});
