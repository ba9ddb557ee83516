// Owns the public face of CRD schemas: compile once, then prune, default and validate objects.
import type { JsonObject } from "../json.ts";
import { objectMetaSchema } from "../openapi/builtin.ts";
import { applyDefaultsTo } from "./defaults.ts";
import type { FieldError } from "./field-error.ts";
import { compileNode } from "./node.ts";
import { pruneRoot } from "./prune.ts";
import type { Node, Schema } from "./schema.ts";
import { validateRoot } from "./validate.ts";

export { SchemaError, type Schema } from "./schema.ts";
export type { FieldError } from "./field-error.ts";

export interface CompiledSchema {
  /** A copy without unspecified members, and the paths of those. */
  prune(o: JsonObject): { value: JsonObject; dropped: string[] };
  /** A copy with the schema's defaults. */
  applyDefaults(o: JsonObject): JsonObject;
  /** Problems of `o`; with `old`, parts that did not change are not reported, and rules on transitions run. */
  validate(o: JsonObject, old?: JsonObject): FieldError[];
}

let objectMeta: Node | undefined;

function metadataNode(): Node {
  objectMeta ??= compileNode(objectMetaSchema(), new Map());
  return objectMeta;
}

/** Compiles the schema of a whole resource. Throws `SchemaError`, which names the place, for any schema that is not structural. */
export function compileSchema(s: Schema): CompiledSchema {
  const root = compileNode(s, new Map());
  return {
    prune(object) {
      const dropped: string[] = [];
      const value = pruneRoot(object, root, metadataNode(), dropped);
      return { value, dropped };
    },
    applyDefaults: (object) => applyDefaultsTo(object, root),
    validate: (object, old) => validateRoot(object, root, old),
  };
}
