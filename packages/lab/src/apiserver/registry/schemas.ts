// Owns the schemas behind rows: pruning and type checks of built-in kinds, and who manages which field.
import type { JsonObject } from "../json.ts";
import { builtinSchema } from "../openapi/builtin.ts";
import { zeroObject } from "../openapi/zero.ts";
import { trackUpdate } from "../patch/apply.ts";
import { compileSchema, type CompiledSchema, type Judging, type Schema } from "../schema/structural.ts";
import { badRequest, type FieldProblem } from "../status.ts";
import { goShape } from "./go-shape.ts";
import { apiVersionOf, type Row } from "./row.ts";

const compiled = new Map<string, CompiledSchema | null>();

/** The schema by which patches and apply read the lists of a kind; empty for kinds without one. */
export function schemaOf(row: Row): Schema {
  if (row.custom !== null) return row.custom.schema;
  return builtinSchema(row.group, row.version, row.kind) ?? {};
}

function compiledOf(row: Row): CompiledSchema | null {
  const key = `${row.group}/${row.version}/${row.kind}`;
  let known = compiled.get(key);
  if (known === undefined) {
    const schema = builtinSchema(row.group, row.version, row.kind);
    known = schema === undefined ? null : compileSchema(schema);
    compiled.set(key, known);
  }
  return known;
}

/** Kinds with free-form parts in which null has a meaning of its own. */
const KEEPS_NULLS = new Set(["CustomResourceDefinition", "ControllerRevision"]);

/** Drops fields the schema does not know and, unless `keepEmpty`, optional lists and maps with nothing in them; throws 400 for values of the wrong type in a built-in kind. */
export function pruneUnknown(row: Row, object: JsonObject, keepEmpty = false): { value: JsonObject; dropped: string[] } {
  if (row.custom !== null) {
    const unreadable = row.custom.unreadable(object);
    if (unreadable !== "") throw badRequest(`${row.kind} in version "${row.version}" cannot be handled as a ${row.kind}: ${unreadable}`);
    const { value, dropped } = row.custom.prune(object);
    return { value, dropped: dropped.toSorted() };
  }
  const schema = compiledOf(row);
  if (schema === null) return { value: object, dropped: [] };
  const pruned = schema.prune(object);
  const value = KEEPS_NULLS.has(row.kind) || keepEmpty ? pruned.value : goShape(pruned.value, schemaOf(row));
  const found = schema.validate(value, undefined, { numberFormats: true });
  const unreadable = found.map(decoderText).find((text) => text !== "");
  if (unreadable !== undefined) throw badRequest(`${row.kind} in version "${row.version}" cannot be handled as a ${row.kind}: ${unreadable}`);
  const mistyped = found.filter((problem) => problem.type === "FieldValueTypeInvalid");
  if (mistyped.length > 0) {
    const texts = mistyped.map((problem) => `${problem.field}: ${problem.message}`);
    throw badRequest(`${row.kind} in version "${row.version}" cannot be handled as a ${row.kind}: ${texts.join(", ")}`);
  }
  return { value, dropped: pruned.dropped };
}

/** What a typed decoder says of texts that stand for something else; "" for other problems. */
function decoderText({ message }: FieldProblem): string {
  if (/must be of type quantity: /.test(message)) return "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
  const bytes = /^Invalid value: "(.*)": .* must be of type byte: /.exec(message);
  if (bytes?.[1] === undefined) return "";
  const at = bytes[1].search(/[^A-Za-z0-9+/]/);
  return `illegal base64 data at input byte ${at < 0 ? bytes[1].length : at}`;
}

/** Problems the published schema of a built-in kind finds (required members and the like). */
export function schemaProblems(row: Row, object: JsonObject, before: JsonObject | null, judging: Judging): FieldProblem[] {
  if (row.custom !== null) return row.custom.validate(object, before ?? undefined, judging);
  const problems = compiledOf(row)?.validate(object, before ?? undefined, { numberFormats: true }) ?? [];
  // Go's types fill the counters of a status with zero, so nobody has to send them.
  return problems.filter((problem) => problem.type !== "FieldValueRequired" || !problem.field.startsWith("status"));
}

interface ManagerInput {
  readonly manager: string;
  readonly subresource: string;
  readonly now: string;
}

/** Records which manager set which fields in metadata.managedFields. */
export function trackManager(row: Row, live: JsonObject | null, object: JsonObject, input: ManagerInput): JsonObject {
  return trackUpdate({ live, zero: zeroObject(row.group, row.version, row.kind), updated: object, ...input, apiVersion: apiVersionOf(row), schema: schemaOf(row) });
}
