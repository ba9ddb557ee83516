// Generates src/apiserver/openapi/structs.json: which fields of built-in types are structures that are always there,
// and so are no field that anybody sets (upstream's OpenAPI v3 says `default: {}` of them).
//
// Source: the OpenAPI v3 documents of a real kube-apiserver of the lab's version, one file each in DIR:
//   kubectl get --raw /openapi/v3/apis/apps/v1 > DIR/apps-v1.json    (and so on, for each path of /openapi/v3)
//   node scripts/gen-structs.mjs DIR
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: node scripts/gen-structs.mjs DIR");
  process.exit(2);
}
const beside = (name) => new URL(`../src/apiserver/openapi/${name}`, import.meta.url);
const known = new Set(Object.keys(JSON.parse(readFileSync(beside("builtin-schemas.json"), "utf8"))));

const structs = new Map();
for (const file of readdirSync(folder)) {
  const { components } = JSON.parse(readFileSync(join(folder, file), "utf8"));
  for (const [name, schema] of Object.entries(components?.schemas ?? {})) {
    if (!known.has(name)) continue;
    const fields = Object.entries(schema.properties ?? {}).filter(([, field]) => JSON.stringify(field.default) === "{}" && field.type !== "array").map(([field]) => field);
    if (fields.length > 0) structs.set(name, fields.toSorted());
  }
}
const lines = [...structs].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, fields]) => `${JSON.stringify(name)}: ${JSON.stringify(fields)}`);
writeFileSync(beside("structs.json"), `{\n${lines.join(",\n")}\n}\n`);
