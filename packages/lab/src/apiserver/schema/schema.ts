// Owns the types that the engines of a schema share: the schema as written, its compiled form, and its refusal.
import type { CelInput, CelResult } from "@bufbuild/cel";
import type { Json } from "../json.ts";
import type { FieldError } from "./field-error.ts";

/** An OpenAPI v3 schema with `x-kubernetes-*` extensions; its keywords are read by `compileSchema`. */
export type Schema = { readonly [k: string]: unknown };

/** How a list is merged by server-side apply. */
export type ListKind = { kind: "map"; keys: readonly string[] } | { kind: "set" } | { kind: "atomic" };

/** A planned CEL expression. */
export type Program = (variables: Record<string, CelInput>) => CelResult;

export interface CelRule {
  text: string;
  program: Program;
  message: string;
  messageProgram: Program | undefined;
  reason: FieldError["type"];
  /** Appended to the path of the value, such as `.name`. */
  fieldPath: string;
  /** It speaks of the old value, so it only runs on updates, unless `optionalOldSelf`. */
  transition: boolean;
  optionalOldSelf: boolean;
}

/** A schema that cannot be used; `field` is the path inside the schema, such as `properties[spec].items`. */
export class SchemaError extends Error {
  readonly field: string;

  constructor(field: string, why: string) {
    super(`${field}: ${why}`);
    this.name = "SchemaError";
    this.field = field;
  }
}

export type JsonType = "object" | "array" | "string" | "integer" | "number" | "boolean";

/** One schema position. Junctor members (`allOf` …) are nodes of which only the value checks are filled. */
export interface Node {
  schema: Schema;
  type: JsonType | "";
  nullable: boolean;
  preserve: boolean;
  intOrString: boolean;
  embedded: boolean;
  properties: Map<string, Node>;
  /** The schema of members that `properties` does not name; "any" for `additionalProperties: true`. */
  additional: Node | "any" | undefined;
  items: Node | undefined;
  required: readonly string[];
  defaultValue: Json | undefined;
  list: ListKind;
  enum: readonly Json[] | undefined;
  pattern: { source: string; matches(text: string): boolean } | undefined;
  allOf: readonly Node[];
  anyOf: readonly Node[];
  oneOf: readonly Node[];
  not: Node | undefined;
  rules: readonly CelRule[];
}
