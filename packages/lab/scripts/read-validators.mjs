// Reads the validators of the npm packages @kubernetes-models/* back into JSON schemas.
//
// Each function of such a file checks one schema position: what it reports tells the keywords, what it calls the
// positions below. Descriptions come from the type declarations beside it.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

const TOKEN =
  /import\{validate as (validate\d+)\}from"([^"]+)"|keyword:"(\w+)",params:\{(?:comparison:"[<>]=?",)?(?:(\w+):((?:"(?:[^"\\]|\\.)*")|[\w.-]+))?|(?<!function )(validate\d+)\((data(?:\.([\w$]+)|\["((?:[^"\\]|\\.)*)"\]|\[i\d+\](\b|(?=,))|\[key\d+\](\b|(?=,)))?),\{/g;

const files = new Map();

function load(path) {
  const known = files.get(path);
  if (known !== undefined) return known;
  const text = readFileSync(path, "utf8");
  const imports = new Map();
  for (const match of text.matchAll(/import\{validate as (validate\d+)\}from"([^"]+)"/g)) imports.set(match[1], match[2]);
  const enums = new Map();
  for (const match of text.matchAll(/(schema\d+_enum)=(\[[^\]]*\])/g)) enums.set(match[1], JSON.parse(match[2]));
  const functions = new Map();
  for (const part of text.split(/(?=function validate\d+\()/)) {
    const name = /^function (validate\d+)\(/.exec(part)?.[1];
    if (name !== undefined) functions.set(name, part);
  }
  const entry = /export const validate=(validate\d+)/.exec(text)?.[1];
  const file = { path, imports, enums, functions, entry };
  files.set(path, file);
  return file;
}

/** The schema of a validator file, with the descriptions of the declarations beside it. */
export function schemaOf(path) {
  const file = load(path);
  const schema = position(file, file.entry);
  const types = declarationsOf(path);
  if (types !== null) for (const [field, text] of descriptionsOf(types)) describe(schema, field.split("."), text);
  return schema;
}

/** `_schemas/IoK8sSigsGatewayApiApisV1HTTPRouteSpec.js` is declared in `gateway.networking.k8s.io/v1/HTTPRouteSpec.d.ts`. */
function declarationsOf(path) {
  const folder = dirname(dirname(path));
  const gateway = /IoK8sSigsGatewayApiApis(V\d+(?:(?:alpha|beta)\d+)?)(\w+)\.js$/.exec(path);
  const istio = /\/(\w+?)IstioIo(V\d+(?:(?:alpha|beta)\d+)?)(\w+)\.js$/.exec(path);
  let types = null;
  if (gateway !== null) types = join(folder, "gateway.networking.k8s.io", gateway[1].toLowerCase(), `${gateway[2]}.d.ts`);
  else if (istio !== null) types = join(folder, `${istio[1].toLowerCase()}.istio.io`, istio[2].toLowerCase(), `${istio[3]}.d.ts`);
  return types !== null && existsSync(types) ? types : null;
}

function describe(schema, path, text) {
  let at = schema;
  for (const name of path) at = name === "*" ? (at?.items ?? at?.additionalProperties) : at?.properties?.[name];
  if (at !== undefined && text !== "") at.description = text;
}

function position(file, name) {
  const imported = file.imports.get(name);
  if (imported !== undefined) {
    if (imported.startsWith("./")) return schemaOf(join(dirname(file.path), imported));
    // Another package of the same family, installed beside this one.
    const folder = file.path.slice(0, file.path.indexOf("@kubernetes-models"));
    return schemaOf(join(folder, `${imported.replace(/\.js$/, "")}.js`));
  }
  const schema = {};
  let pending = [];
  for (const match of file.functions.get(name).matchAll(TOKEN)) {
    const [, , , keyword, parameter, value, call, argument, field, quoted] = match;
    if (call !== undefined) {
      const target = argument === "data" ? null : argument;
      if (target === null) pending.push(position(file, call));
      else if (field !== undefined || quoted !== undefined) {
        schema.properties ??= {};
        schema.properties[field ?? JSON.parse(`"${quoted}"`)] = position(file, call);
      } else if (target.startsWith("data[i")) schema.items = position(file, call);
      else schema.additionalProperties = position(file, call);
    } else if (keyword !== undefined) {
      if (keyword === "anyOf" || keyword === "oneOf") {
        schema[keyword] = pending;
        pending = [];
      } else if (keyword === "not") {
        schema.not = pending[0];
        pending = [];
      } else if (keyword === "required") (schema.required ??= []).push(JSON.parse(value));
      else if (keyword === "enum") schema.enum = file.enums.get(value);
      else if (value !== undefined && parameter !== undefined) schema[keyword] = value.startsWith("\"") ? JSON.parse(value) : Number(value);
    }
  }
  return pending.reduce(merge, schema);
}

function merge(schema, other) {
  const properties =
    schema.properties === undefined && other.properties === undefined
      ? {}
      : { properties: { ...other.properties, ...schema.properties } };
  const required = [...new Set([...(schema.required ?? []), ...(other.required ?? [])])];
  return { ...other, ...schema, ...properties, ...(required.length > 0 ? { required } : {}) };
}

/** Descriptions in a declaration file, by path: `spec.rules.*.from`; list items and map values are `*`. */
function descriptionsOf(path) {
  const found = new Map();
  const stack = [];
  let doc = null;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const indent = /^ */.exec(line)[0].length;
    const text = line.trim();
    if (text.startsWith("/**")) doc = [];
    else if (text.startsWith("*/")) continue;
    else if (text.startsWith("*") && doc !== null) doc.push(text.replace(/^\* ?/, ""));
    else if (text !== "") {
      const field = /^"([^"]+)"\??: (.*)$/.exec(text);
      const index = /^\[key: string\]: (.*)$/.exec(text);
      while (stack.length > 0 && stack.at(-1).indent >= indent) stack.pop();
      if (field !== null || index !== null) {
        const name = field === null ? "*" : field[1];
        stack.push({ indent, name: (field ?? index).at(-1).startsWith("Array<") ? `${name}.*` : name, own: name });
        const path = [...stack.slice(0, -1).map((entry) => entry.name), name].join(".");
        if (doc !== null) found.set(path, firstParagraph(doc));
      }
      doc = null;
    }
  }
  return found;
}

/** The first paragraph that says something. */
function firstParagraph(lines) {
  const paragraphs = lines.join("\n").split(/\n\s*\n/).map((text) => text.replaceAll("\\*", "*").replaceAll(/\s+/g, " ").trim());
  return paragraphs.find((text) => text !== "" && text !== "Optional.") ?? "";
}
