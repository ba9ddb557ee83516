// Owns the validation of CustomResourceDefinitions: names that fit, one storage version, structural schemas.
import { asObject, asObjects, asString, asStrings, isObject, type JsonObject } from "../json.ts";
import { compileSchema, SchemaError } from "../schema/structural.ts";
import { duplicateValue, invalidValue, required, unsupportedValue, type FieldProblem } from "../status.ts";
import { validateName } from "../verbs/names.ts";

/** Groups of Kubernetes' own community need this word of approval. */
const PROTECTED = /(^|\.)(k8s|kubernetes)\.io$/;
const APPROVAL = "api-approved.kubernetes.io";

export function validateCrd(object: JsonObject, before: JsonObject | null): FieldProblem[] {
  const spec = asObject(object["spec"]);
  const names = asObject(spec["names"]);
  const group = asString(spec["group"]);
  const plural = asString(names["plural"]);
  const problems: FieldProblem[] = [];
  const wanted = `${plural}.${group}`;
  const name = asString(asObject(object["metadata"])["name"]);
  if (before === null && name !== wanted) problems.push(invalidValue("metadata.name", name, `must be spec.names.plural+"."+spec.group`));
  if (group === "") problems.push(required("spec.group"));
  else if (!group.includes(".")) problems.push(invalidValue("spec.group", group, "should be a domain with at least one dot"));
  else problems.push(...validateName("subdomain", group, "spec.group"));
  const approval = asObject(asObject(object["metadata"])["annotations"])[APPROVAL];
  if (before === null && PROTECTED.test(group) && (typeof approval !== "string" || approval === "")) {
    problems.push(required(`metadata.annotations[${APPROVAL}]`, "protected groups must have approval annotation"));
  }
  if (!["Namespaced", "Cluster"].includes(asString(spec["scope"]))) {
    problems.push(unsupportedValue("spec.scope", spec["scope"] ?? "", ["Cluster", "Namespaced"]));
  }
  problems.push(...validateNames(names));
  const strategy = asObject(spec["conversion"])["strategy"];
  if (strategy !== "None") problems.push(unsupportedValue("spec.conversion.strategy", strategy, ["None"]));
  if (spec["preserveUnknownFields"] === true) {
    problems.push(invalidValue("spec.preserveUnknownFields", true, "must be false in order to use defaults in the schema"));
  }
  problems.push(...validateVersions(asObjects(spec["versions"])));
  if (before !== null) problems.push(...validateChange(spec, asObject(before["spec"])));
  return problems;
}

function validateNames(names: JsonObject): FieldProblem[] {
  const problems: FieldProblem[] = [];
  for (const field of ["plural", "singular"]) problems.push(...validateName("label-1035", asString(names[field]), `spec.names.${field}`));
  for (const field of ["kind", "listKind"]) {
    if (asString(names[field]) === "") continue;
    problems.push(...validateName("label-1035", asString(names[field]).toLowerCase(), `spec.names.${field}`));
  }
  for (const [i, short] of asStrings(names["shortNames"]).entries()) {
    problems.push(...validateName("label-1035", short, `spec.names.shortNames[${i}]`));
  }
  return problems;
}

function validateVersions(versions: readonly JsonObject[]): FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (versions.length === 0) return [required("spec.versions")];
  const stored = versions.filter((version) => version["storage"] === true).length;
  if (stored !== 1) {
    problems.push(invalidValue("spec.versions", stored, "must have exactly one version marked as storage version"));
  }
  const seen = new Set<string>();
  for (const [i, version] of versions.entries()) {
    const at = `spec.versions[${i}]`;
    const name = asString(version["name"]);
    problems.push(...validateName("label-1035", name, `${at}.name`));
    if (seen.has(name)) problems.push(duplicateValue(`${at}.name`, name));
    seen.add(name);
    const schema = asObject(version["schema"])["openAPIV3Schema"];
    if (!isObject(schema)) problems.push(required(`${at}.schema.openAPIV3Schema`));
    else problems.push(...validateSchema(schema, `${at}.schema.openAPIV3Schema`));
  }
  return problems;
}

function validateSchema(schema: JsonObject, at: string): FieldProblem[] {
  if (schema["type"] !== "object") return [invalidValue(`${at}.type`, schema["type"] ?? "", "must be object at the root")];
  try {
    compileSchema(schema).checkDefaults();
    return [];
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    return [{ field: at, type: "FieldValueInvalid", message: `Invalid value: ${error.message}` }];
  }
}

function validateChange(spec: JsonObject, before: JsonObject): FieldProblem[] {
  const problems: FieldProblem[] = [];
  for (const field of ["group", "scope"]) {
    if (spec[field] !== before[field]) problems.push(invalidValue(`spec.${field}`, spec[field], "field is immutable"));
  }
  for (const field of ["plural", "kind"]) {
    const now = asObject(spec["names"])[field];
    if (now !== asObject(before["names"])[field]) problems.push(invalidValue(`spec.names.${field}`, now, "field is immutable"));
  }
  return problems;
}
