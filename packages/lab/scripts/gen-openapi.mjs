// Generates src/apiserver/openapi/builtin-schemas.json, the schemas of the Kubernetes kinds that the lab knows.
//
// Source: the PyPI package kubernetes-validate (Apache-2.0), which ships the JSON schemas generated from Kubernetes'
// own OpenAPI document (Apache-2.0). To make the file anew:
//   pip download --no-deps --dest DIR kubernetes-validate==1.37.0 && unzip -d DIR DIR/kubernetes_validate-*.whl
//   node scripts/gen-openapi.mjs DIR/kubernetes_validate/kubernetes-json-schema/v1.35.0-local/_definitions.json
import { readFileSync, writeFileSync } from "node:fs";

/** Group → versions served by the lab or met by its clients. */
const GROUPS = new Map([
  ["", ["v1"]],
  ["admissionregistration.k8s.io", ["v1"]],
  ["apiextensions.k8s.io", ["v1"]],
  ["apiregistration.k8s.io", ["v1"]],
  ["apps", ["v1"]],
  ["authentication.k8s.io", ["v1"]],
  ["authorization.k8s.io", ["v1"]],
  ["autoscaling", ["v1", "v2"]],
  ["batch", ["v1"]],
  ["certificates.k8s.io", ["v1"]],
  ["coordination.k8s.io", ["v1"]],
  ["discovery.k8s.io", ["v1"]],
  ["events.k8s.io", ["v1"]],
  ["networking.k8s.io", ["v1"]],
  ["node.k8s.io", ["v1"]],
  ["policy", ["v1"]],
  ["rbac.authorization.k8s.io", ["v1"]],
  ["scheduling.k8s.io", ["v1"]],
  ["storage.k8s.io", ["v1"]],
]);
/** Kinds that every group repeats: one group-version-kind is enough. */
const COMMON = new Set(["DeleteOptions", "WatchEvent", "Status"]);

const [source] = process.argv.slice(2);
if (source === undefined) {
  console.error("usage: node scripts/gen-openapi.mjs PATH/_definitions.json");
  process.exit(2);
}
const definitions = JSON.parse(readFileSync(source, "utf8")).$defs;

function served(gvk) {
  if (COMMON.has(gvk.kind)) return gvk.group === "" && gvk.version === "v1";
  return GROUPS.get(gvk.group)?.includes(gvk.version) === true;
}

function refName(ref) {
  return ref.slice(ref.lastIndexOf("/") + 1);
}

/** The source marks optional members as nullable and pins kind and apiVersion; Kubernetes' own document does neither. */
function plain(value, key, parent) {
  if (Array.isArray(value)) return value.map((item) => plain(item));
  if (typeof value !== "object" || value === null) return value;
  const result = {};
  for (const [name, item] of Object.entries(value)) {
    if (name === "type" && Array.isArray(item)) result.type = item.find((type) => type !== "null");
    else if (name === "$ref") result.$ref = refName(item);
    else if (name === "enum" && parent === "properties" && (key === "kind" || key === "apiVersion")) continue;
    else if (name === "x-kubernetes-group-version-kind") result[name] = item.filter(served);
    else if (name === "properties") {
      result.properties = {};
      for (const [field, schema] of Object.entries(item)) {
        result.properties[field] = plain(schema, field, "properties");
      }
    } else result[name] = plain(item);
  }
  return result;
}

const wanted = new Map();
function take(name) {
  if (wanted.has(name)) return;
  const definition = definitions[name];
  if (definition === undefined) throw new Error(`no definition ${name}`);
  wanted.set(name, plain(definition));
  for (const match of JSON.stringify(definition).matchAll(/"\$ref": ?"#\/\$defs\/([^"]+)"/g)) take(match[1]);
}
for (const [name, definition] of Object.entries(definitions)) {
  if ((definition["x-kubernetes-group-version-kind"] ?? []).some(served)) take(name);
}

// The one default that decides the identity of list items (two ports of one number differ by protocol).
for (const name of ["io.k8s.api.core.v1.ContainerPort", "io.k8s.api.core.v1.ServicePort"]) {
  wanted.get(name).properties.protocol.default = "TCP";
}

const lines = [...wanted.keys()].sort().map((name) => `${JSON.stringify(name)}:${JSON.stringify(wanted.get(name))}`);
const target = new URL("../src/apiserver/openapi/builtin-schemas.json", import.meta.url);
writeFileSync(target, `{\n${lines.join(",\n")}\n}\n`);
console.log(`${wanted.size} definitions`);
