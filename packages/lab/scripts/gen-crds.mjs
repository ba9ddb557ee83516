// Generates manifests/charts/base/crds/, the custom resource definitions that the lab installs at start.
//
// Source: the npm packages @kubernetes-models/istio and @kubernetes-models/gateway-api (MIT), whose schemas come from
// Istio's and the Gateway API's definitions (Apache-2.0); crd-table.mjs adds what they lack. To make the files anew:
//   npm install --prefix DIR @kubernetes-models/istio@3.0.1 @kubernetes-models/gateway-api@2.0.0
//   node scripts/gen-crds.mjs DIR/node_modules/@kubernetes-models
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { dump } from "js-yaml";
import { CRDS } from "./crd-table.mjs";
import { schemaOf } from "./read-validators.mjs";

const [models] = process.argv.slice(2);
if (models === undefined) {
  console.error("usage: node scripts/gen-crds.mjs DIR/node_modules/@kubernetes-models");
  process.exit(2);
}
const target = new URL("../../../manifests/charts/base/crds/", import.meta.url).pathname;

for (const crd of CRDS) {
  const path = join(target, crd.folder, crd.file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, dump(definition(crd), { lineWidth: 118, noRefs: true }));
}
console.log(`${CRDS.length} definitions`);

function definition(crd) {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${crd.plural}.${crd.group}`,
      ...(Object.keys(crd.labels).length > 0 ? { labels: crd.labels } : {}),
      ...(crd.annotations === undefined ? {} : { annotations: crd.annotations }),
    },
    spec: {
      group: crd.group,
      names: {
        kind: crd.kind,
        listKind: crd.listKind,
        plural: crd.plural,
        singular: crd.singular,
        ...(crd.shortNames.length > 0 ? { shortNames: crd.shortNames } : {}),
        categories: crd.categories,
      },
      scope: crd.namespaced ? "Namespaced" : "Cluster",
      conversion: { strategy: "None" },
      versions: crd.versions.map((version, i) => ({
        name: version,
        served: true,
        storage: i === 0,
        additionalPrinterColumns: crd.columns,
        ...(crd.status === false ? {} : { subresources: { status: {} } }),
        schema: { openAPIV3Schema: rootSchema(crd, version) },
      })),
    },
  };
}

function rootSchema(crd, version) {
  const own = join(models, crd.source(version));
  const raw = schemaOf(existsSync(own) ? own : join(models, crd.source(crd.versions[0])));
  const { apiVersion: _, kind: __, metadata: ___, ...properties } = raw.properties;
  const used = new Set();
  const root = structural({ type: "object", properties, required: raw.required }, "", { overlays: crd.overlays, used });
  root.required = (root.required ?? []).filter((name) => !["apiVersion", "kind", "metadata"].includes(name));
  if (root.required.length === 0) delete root.required;
  for (const path of Object.keys(crd.overlays)) {
    if (!used.has(path)) console.warn(`${crd.kind} ${version}: nothing at ${path}`);
  }
  return root;
}

/** Makes a schema structural, and adds its description and overlay. */
function structural(schema, path, context) {
  const result = {};
  if (schema.description !== undefined) result.description = schema.description;
  const either = schema.anyOf ?? [];
  const intOrString = either.length === 2 && either.every((member) => ["integer", "string"].includes(member.type));
  if (intOrString) result["x-kubernetes-int-or-string"] = true;
  else result.type = schema.type ?? "object";
  for (const [key, value] of Object.entries(schema)) {
    if (key === "type" || key === "description" || (key === "anyOf" && intOrString)) continue;
    if (key === "properties") {
      result.properties = {};
      for (const [name, member] of Object.entries(value)) {
        result.properties[name] = structural(member, path === "" ? name : `${path}.${name}`, context);
      }
    } else if (key === "items" || key === "additionalProperties") result[key] = structural(value, `${path}.*`, context);
    else if (key === "anyOf" || key === "oneOf" || key === "allOf") result[key] = value.map(checksOnly);
    else if (key === "not") result[key] = checksOnly(value);
    else if (key === "required") result[key] = [...new Set(value)];
    else result[key] = value;
  }
  const open = result.type === "object" && result.properties === undefined && result.additionalProperties === undefined;
  if (open) result["x-kubernetes-preserve-unknown-fields"] = true;
  if (context.overlays[path] !== undefined) {
    context.used.add(path);
    Object.assign(result, structuredClone(context.overlays[path]));
  }
  return result;
}

/** Members of allOf and the like may only check values. */
function checksOnly(schema) {
  const result = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === "type" || key === "description") continue;
    if (key === "anyOf" || key === "oneOf" || key === "allOf") result[key] = value.map(checksOnly);
    else if (key === "not" || key === "items") result[key] = checksOnly(value);
    else if (key === "properties") {
      result.properties = Object.fromEntries(Object.entries(value).map(([name, member]) => [name, checksOnly(member)]));
    } else result[key] = value;
  }
  return result;
}
