// Owns a chart as a whole: its files read into values, schema and templates, and rendered into objects.
import { loadAll, load } from "js-yaml";
import { TemplateError } from "./template/error.ts";
import { evaluateTemplate } from "./template/evaluate.ts";
import { parseTemplate, type Node, type Template } from "./template/parse.ts";
import { isMap, type Value, type ValueMap } from "./template/value.ts";
import { chartValues } from "./values/merge.ts";
import { checkValues } from "./values/schema.ts";

export interface Chart {
  readonly name: string;
  readonly version: string;
  readonly appVersion: string;
  readonly values: ValueMap;
  readonly schema: ValueMap;
  readonly templates: readonly Template[];
}
/** `service` is who installs, as `Release.Service`. */
export interface Release { readonly name: string; readonly namespace: string; readonly service: string }
export interface ChartObject {
  apiVersion: string; kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  [field: string]: unknown;
}
export interface Rendered { readonly file: string; readonly object: ChartObject }

/** `files`: paths within the chart's folder and their texts. Throws an Error naming the file of what is wrong. */
export function readChart(files: Readonly<Record<string, string>>): Chart {
  const about = mapIn(files, "Chart.yaml");
  const [name, version, appVersion] = ["name", "version", "appVersion"].map((key) => {
    const v = about[key];
    if (typeof v !== "string" || v === "") throw new Error(`Chart.yaml: ${key} is not a string`);
    return v;
  }) as [string, string, string];
  const templates = Object.keys(files).filter((f) => f.startsWith("templates/")).sort().map((f) => {
    if (!/\.(yaml|tpl)$/.test(f)) throw new Error(`${f}: a template is a .yaml or .tpl file`);
    return parseTemplate(`${name}/${f}`, files[f] ?? "");
  });
  return { name, version, appVersion, values: mapIn(files, "values.yaml"), schema: mapIn(files, "values.schema.json"), templates };
}

/** A chart's values are not as its schema wants them; one line for each. */
export class ValuesError extends Error {
  readonly problems: readonly string[];
  constructor(chart: string, problems: readonly string[]) {
    super(`values of the chart ${chart}: ${problems.join("; ")}`);
    this.problems = problems;
  }
}

/** Objects in the order of their files. Throws ValuesError or TemplateError. */
export function renderChart(chart: Chart, given: ValueMap, release: Release): Rendered[] {
  const values = chartValues(chart.values, given);
  const problems = checkValues(values, chart.schema);
  if (problems.length > 0) throw new ValuesError(chart.name, problems);
  const partials = new Map<string, { nodes: readonly Node[]; file: string }>();
  for (const t of chart.templates) {
    for (const [name, nodes] of t.defines) {
      if (partials.has(name)) throw new TemplateError(t.file, 1, `"${name}" is defined in ${partials.get(name)?.file ?? ""} already`);
      partials.set(name, { nodes, file: t.file });
    }
  }
  const data: ValueMap = {
    Values: values,
    Release: { Name: release.name, Namespace: release.namespace, Service: release.service },
    Chart: { Name: chart.name, Version: chart.version, AppVersion: chart.appVersion },
  };
  return chart.templates.filter((t) => t.file.endsWith(".yaml")).flatMap((t) => objectsIn(t.file, evaluateTemplate(t, data, partials)));
}

function objectsIn(file: string, text: string): Rendered[] {
  let documents: unknown[];
  try {
    documents = loadAll(text) as unknown[];
  } catch (cause) {
    throw new Error(`${file}: what comes out is not YAML: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  return documents.filter((d) => d !== null && d !== undefined).map((d) => {
    if (!isObject(d)) throw new Error(`${file}: what comes out is not a Kubernetes object (apiVersion, kind and metadata.name are needed, names, labels and annotations are strings)`);
    return { file, object: d };
  });
}

function isObject(d: unknown): d is ChartObject {
  if (!isMap(d) || typeof d["apiVersion"] !== "string" || typeof d["kind"] !== "string" || !isMap(d["metadata"])) return false;
  const { name, namespace, labels, annotations } = d["metadata"];
  const texts = (m: Value): boolean => m === undefined || (isMap(m) && Object.values(m).every((v) => typeof v === "string"));
  return typeof name === "string" && (namespace === undefined || typeof namespace === "string") && texts(labels) && texts(annotations);
}

function mapIn(files: Readonly<Record<string, string>>, file: string): ValueMap {
  const text = files[file];
  if (text === undefined) throw new Error(`${file} is missing`);
  return readValues(text, file);
}

/** A file of values: a map, or nothing at all. Throws naming the file. */
export function readValues(text: string, file: string): ValueMap {
  let value: unknown;
  try {
    value = load(text);
  } catch (cause) {
    throw new Error(`${file}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  if (value === null || value === undefined) return {};
  if (!isMap(value)) throw new Error(`${file}: is not a map`);
  return value;
}
