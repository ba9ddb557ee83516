// Owns the translation of a CustomResourceDefinition into registry rows, one per served version.
import { asNumber, asObject, asObjects, asString, asStrings, isObject, type Json, type JsonObject } from "../json.ts";
import { compareVersions } from "../registry/registry.ts";
import { row, type Column, type Printer, type Row, type ScalePaths } from "../registry/row.ts";
import { compileSchema } from "../schema/structural.ts";
import { AGE, NAME } from "../table/cells.ts";
import { evaluate, parseJsonPath } from "./json-path.ts";

/** Rows of every served version. Throws SchemaError for a schema that is not structural. */
export function rowsOf(crd: JsonObject): Row[] {
  const versions = asObjects(asObject(crd["spec"])["versions"]);
  const storage = asString(versions.find((version) => version["storage"] === true)?.["name"]);
  return versions.filter((version) => version["served"] === true).map((version) => customRow(crd, versions, version, storage));
}

function customRow(crd: JsonObject, versions: readonly JsonObject[], version: JsonObject, storage: string): Row {
  const spec = asObject(crd["spec"]);
  const names = asObject(spec["names"]);
  const group = asString(spec["group"]);
  const name = asString(version["name"]);
  const schema = asObject(asObject(version["schema"])["openAPIV3Schema"]);
  const compiled = compileSchema(schema);
  const subresources = asObject(version["subresources"]);
  const selectable = selectableFields(version);
  const inVersion = (apiVersion: string) => (object: JsonObject) => ({ ...object, apiVersion });
  const apiVersion = `${group}/${name}`;
  return row({
    group,
    version: name,
    resource: asString(names["plural"]),
    singular: asString(names["singular"]),
    kind: asString(names["kind"]),
    namespaced: spec["scope"] === "Namespaced",
    shortNames: asStrings(names["shortNames"]),
    categories: asStrings(names["categories"]),
    bucket: `${group}/${asString(names["plural"])}`,
    status: isObject(subresources["status"]) ? { metadata: false, atCreate: false } : null,
    scale: isObject(subresources["scale"]) ? scalePaths(subresources["scale"]) : null,
    generation: true,
    unconditionalUpdate: false,
    printer: customPrinter(asObjects(version["additionalPrinterColumns"])),
    fields: selectable.fields,
    fieldNames: selectable.names,
    toStored: name === storage ? null : inVersion(`${group}/${storage}`),
    // What is stored may be of an earlier schema or another version: reading makes of it what this version says.
    fromStored: (object) => compiled.applyDefaults(compiled.prune(object["apiVersion"] === apiVersion ? object : inVersion(apiVersion)(object)).value),
    form: `${apiVersion}@${asNumber(asObject(crd["metadata"])["generation"])}`,
    ...(version["deprecated"] === true ? { deprecation: asString(version["deprecationWarning"]) || deprecationOf(versions, group, name, asString(names["kind"])) } : {}),
    custom: {
      crd: asString(asObject(crd["metadata"])["name"]),
      prune: (object) => compiled.prune(object),
      unreadable: (object) => compiled.unreadable(object),
      applyDefaults: (object) => compiled.applyDefaults(object),
      validate: (object, before, judging) => compiled.validate(object, before, judging),
      schema,
    },
  });
}

/** The warning that upstream makes up: the next better version that is served and not deprecated. */
function deprecationOf(versions: readonly JsonObject[], group: string, name: string, kind: string): string {
  const better = versions.map((version) => version).filter((v) => v["served"] === true && v["deprecated"] !== true).map((v) => asString(v["name"])).toSorted(compareVersions)[0];
  const what = `${group}/${name} ${kind} is deprecated`;
  return better === undefined || compareVersions(better, name) > 0 ? what : `${what}; use ${group}/${better} ${kind}`;
}

function scalePaths(scale: JsonObject): ScalePaths {
  return {
    spec: asString(scale["specReplicasPath"]),
    status: asString(scale["statusReplicasPath"]),
    selector: asString(scale["labelSelectorPath"]) || null,
  };
}

function selectableFields(version: JsonObject) {
  const paths = asObjects(version["selectableFields"]).map((field) => asString(field["jsonPath"]));
  const parsed = paths.map((path) => ({ name: path.replace(/^\./, ""), path: parseJsonPath(path) ?? [] }));
  const fields = (object: JsonObject) => {
    const values: Record<string, string> = {};
    for (const { name, path } of parsed) values[name] = shown(evaluate(path, object)[0]);
    return values;
  };
  return { fields, names: parsed.map(({ name }) => name) };
}

function customPrinter(columns: readonly JsonObject[]): Printer {
  if (columns.length === 0) {
    return { columns: [NAME, AGE], cells: (object) => [nameOf(object), asObject(object["metadata"])["creationTimestamp"] ?? null] };
  }
  const paths = columns.map((column) => parseJsonPath(asString(column["jsonPath"])));
  const definitions = columns.map((column): Column => {
    const format = asString(column["format"]);
    const description = asString(column["description"]) || `Custom resource definition column (in JSONPath format): ${asString(column["jsonPath"])}`;
    return {
      name: asString(column["name"]),
      type: asString(column["type"]) as Column["type"],
      named: true,
      priority: asNumber(column["priority"]),
      ...(format === "" ? {} : { format }),
      description,
    };
  });
  return {
    columns: [NAME, ...definitions],
    cells: (object) => [nameOf(object), ...paths.map((path, i) => cell(path === null ? [] : evaluate(path, object), definitions[i]))],
  };
}

function nameOf(object: JsonObject): Json {
  return asObject(object["metadata"])["name"] ?? "";
}

/** The first value: numbers and booleans stay what they are; nothing is an empty cell. */
function cell(values: readonly Json[], column: Column | undefined): Json {
  const [first] = values;
  if (first === undefined || first === null) return null;
  if (column?.type === "string" || column?.type === "date") return shown(first);
  return isObject(first) || Array.isArray(first) ? JSON.stringify(first) : first;
}

function shown(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
