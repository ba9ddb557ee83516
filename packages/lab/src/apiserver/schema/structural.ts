// Owns the public face of CRD schemas: compile once, then prune, default and validate objects.
import type { JsonObject } from "../json.ts";
import { objectMetaSchema } from "../openapi/builtin.ts";
import { applyDefaultsTo, defaultInside } from "./defaults.ts";
import type { FieldError } from "./field-error.ts";
import { compileNode } from "./node.ts";
import { pruneRoot } from "./prune.ts";
import { unreadableAt } from "./embedded.ts";
import { SchemaError, type Node, type Schema } from "./schema.ts";
import { faultsOf, validateRoot, type Judging } from "./validate.ts";

export { SchemaError, type Schema } from "./schema.ts";
export type { FieldError } from "./field-error.ts";
export type { Judging } from "./validate.ts";

export interface CompiledSchema {
  /** A copy without unspecified members, and the paths of those. */
  prune(o: JsonObject): { value: JsonObject; dropped: string[] };
  /** Why the metadata of embedded objects cannot be read; "" when it can. */
  unreadable(o: JsonObject): string;
  /** Throws `SchemaError` when a default does not fit its own schema. */
  checkDefaults(): void;
  /** A copy with the schema's defaults. */
  applyDefaults(o: JsonObject): JsonObject;
  /** Problems of `o`; with `old`, parts that did not change are not reported, and rules on transitions run. */
  validate(o: JsonObject, old?: JsonObject, judging?: Judging): FieldError[];
}

let objectMeta: Node | undefined;

function metadataNode(): Node {
  objectMeta ??= compileNode(objectMetaSchema(), new Map());
  return objectMeta;
}

/** Compiles the schema of a whole resource. Throws `SchemaError`, which names the place, for any schema that is not structural. */
export function compileSchema(s: Schema): CompiledSchema {
  const nodes = new Map<object, Node>();
  const root = compileNode(s, nodes);
  const hasRules = [...nodes.values()].some((node) => node.rules.length > 0);
  const hasEmbedded = [...nodes.values()].some((node) => node.embedded);
  return {
    prune(object) {
      const dropped: string[] = [];
      const value = pruneRoot(object, root, metadataNode(), dropped);
      return { value, dropped };
    },
    unreadable: (object) => (hasEmbedded ? unreadableAt(object, root, "", metadataNode()) : ""),
    checkDefaults() {
      for (const node of nodes.values()) {
        const fault = node.defaultValue === undefined ? undefined : faultsOf(defaultInside(node.defaultValue, node), node)[0];
        if (fault !== undefined) throw new SchemaError("default", fault.message);
      }
    },
    applyDefaults: (object) => applyDefaultsTo(object, root),
    validate: (object, old, judging = {}) => validateRoot(object, root, old, hasRules, judging),
  };
}
