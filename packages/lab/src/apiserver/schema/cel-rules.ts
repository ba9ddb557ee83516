// Owns `x-kubernetes-validations`: rules of CRDs in CEL, compiled with their schema and run on its values.
import { isCelError, parse, plan, type CelInput } from "@bufbuild/cel";
import { isObject, type Json } from "../json.ts";
import { DOTTED_NAMES, ENVIRONMENT, resetMeter } from "./cel-library.ts";
import { markOptionals, rewrite, type Mentions } from "./cel-rewrite.ts";
import { toCel } from "./cel-values.ts";
import { duplicate, forbidden, invalid, required, type FieldError } from "./field-error.ts";
import { SchemaError, type CelRule, type Node, type Program } from "./schema.ts";
import { report, type Walk } from "./walk.ts";

/** Longest expression compiled, in characters; nothing sensible comes near. */
const MAX_EXPRESSION = 16_384;
/** Longest message that a rule may make, in characters. */
const MAX_MESSAGE = 5_120;

const REASONS: ReadonlyMap<unknown, FieldError["type"]> = new Map<unknown, FieldError["type"]>([
  [undefined, "FieldValueInvalid"],
  ["FieldValueInvalid", "FieldValueInvalid"],
  ["FieldValueForbidden", "FieldValueForbidden"],
  ["FieldValueRequired", "FieldValueRequired"],
  ["FieldValueDuplicate", "FieldValueDuplicate"],
]);

/** Compiles the rules of one schema position. Throws `SchemaError` for whatever could not be run later. */
export function compileRules(raw: unknown, node: Node, path: string): CelRule[] {
  if (raw === undefined || raw === null) return [];
  const where = `${path}.x-kubernetes-validations`;
  if (!Array.isArray(raw)) throw new SchemaError(where, "must be a list of rules");
  if (node.type === "" && !node.intOrString && raw.length > 0) {
    throw new SchemaError(where, "Forbidden: rules need a position with a type");
  }
  return raw.map((rule: unknown, i) => compileRule(rule as Json, `${where}[${i}]`));
}

function compileRule(raw: Json, path: string): CelRule {
  if (!isObject(raw)) throw new SchemaError(path, "must be an object");
  const { rule, message, messageExpression, reason, fieldPath, optionalOldSelf } = raw;
  if (typeof rule !== "string" || rule.trim() === "") throw new SchemaError(`${path}.rule`, "Required value");
  if (message !== undefined && typeof message !== "string") throw new SchemaError(`${path}.message`, "must be a string");
  const why = REASONS.get(reason);
  if (why === undefined) throw new SchemaError(`${path}.reason`, `Unsupported value: ${JSON.stringify(reason)}`);
  if (fieldPath !== undefined && (typeof fieldPath !== "string" || !/^(\.[\w-]+|\['[^']+'\])+$/.test(fieldPath))) {
    throw new SchemaError(`${path}.fieldPath`, "must be a path such as .a.b or ['a']");
  }
  const compiled = compileExpression(rule, `${path}.rule`);
  let messageProgram: Program | undefined;
  if (messageExpression !== undefined) {
    if (typeof messageExpression !== "string") throw new SchemaError(`${path}.messageExpression`, "must be a string");
    messageProgram = compileExpression(messageExpression, `${path}.messageExpression`).program;
  }
  const transition = compiled.mentions.identifiers.has("oldSelf");
  if (optionalOldSelf === true && !transition) {
    throw new SchemaError(`${path}.optionalOldSelf`, "may only be set on rules that use oldSelf");
  }
  return {
    text: rule.trim(),
    program: compiled.program,
    message: message ?? "",
    messageProgram,
    reason: why,
    fieldPath: fieldPath ?? "",
    transition,
    optionalOldSelf: optionalOldSelf === true,
  };
}

function compileExpression(source: string, path: string): { program: Program; mentions: Mentions } {
  if (source.length > MAX_EXPRESSION) throw new SchemaError(path, `must be at most ${MAX_EXPRESSION} characters`);
  const mentions: Mentions = { functions: new Set(), identifiers: new Set() };
  let program: Program;
  try {
    const parsed = parse(markOptionals(source));
    rewrite(parsed.expr, new Set(), DOTTED_NAMES, mentions);
    program = plan(ENVIRONMENT, parsed) as Program; // variables are declared by name only
  } catch (error) {
    throw new SchemaError(path, `compilation failed: ${error instanceof Error ? error.message : String(error)}`);
  }
  for (const name of mentions.functions) {
    if (ENVIRONMENT.funcs.find(name) === undefined) {
      throw new SchemaError(path, `compilation failed: undeclared reference to '${name}'`);
    }
  }
  for (const name of mentions.identifiers) {
    if (!VARIABLES.has(name)) throw new SchemaError(path, `compilation failed: undeclared reference to '${name}'`);
  }
  return { program, mentions };
}

/** Names that stand for something: the two variables, and types. */
const VARIABLES: ReadonlySet<string> = new Set([
  "self", "oldSelf", "int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type",
]);

/** Runs the rules of a position on its value. */
export function runRules(value: Json, old: Json | undefined, node: Node, path: string, walk: Walk): void {
  const self = toCel(value, node, path === "");
  const oldSelf = old === undefined ? undefined : toCel(old, node, path === "");
  for (const rule of node.rules) {
    const variables: Record<string, CelInput> = { self };
    if (rule.optionalOldSelf) variables["oldSelf"] = oldSelf === undefined ? [] : [oldSelf];
    else if (rule.transition) {
      if (oldSelf === undefined) continue;
      variables["oldSelf"] = oldSelf;
    }
    const error = runRule(rule, variables, value, path);
    if (error === null) continue;
    // What did not change is not held against the user again, but for a warning; except by rules that compare.
    if (walk.unchanged && !rule.transition) walk.warnings?.push(`${error.field}: ${error.message}`);
    else report({ errors: walk.errors, unchanged: false }, error);
  }
}

function runRule(rule: CelRule, variables: Record<string, CelInput>, value: Json, path: string): FieldError | null {
  resetMeter();
  const result = rule.program(variables);
  if (result === true) return null;
  const at = `${path}${rule.fieldPath}`.replace(/^\./, "");
  if (isCelError(result)) {
    return ruled(at, value, `${result.message} evaluating rule: ${rule.message === "" ? rule.text : rule.message}`);
  }
  if (result !== false) return ruled(at, value, `rule does not give true or false: ${rule.text}`);
  const message = messageOf(rule, variables);
  switch (rule.reason) {
    case "FieldValueForbidden":
      return forbidden(at, message);
    case "FieldValueRequired":
      return required(at, message);
    case "FieldValueDuplicate":
      return duplicate(at, value);
    default:
      return ruled(at, value, message);
  }
}

/** Objects and lists are not shown: a rule on a large one would repeat it all. */
function ruled(at: string, value: Json, message: string): FieldError {
  if (typeof value !== "object" || value === null) return invalid(at, value, message);
  return { field: at, type: "FieldValueInvalid", message: `Invalid value: ${message}` };
}

function messageOf(rule: CelRule, variables: Record<string, CelInput>): string {
  if (rule.messageProgram !== undefined) {
    resetMeter();
    const made = rule.messageProgram(variables);
    const usable = typeof made === "string" && made.trim() !== "" && !made.includes("\n") && made.length <= MAX_MESSAGE;
    if (usable) return made;
  }
  return rule.message === "" ? `failed rule: ${rule.text}` : rule.message;
}
