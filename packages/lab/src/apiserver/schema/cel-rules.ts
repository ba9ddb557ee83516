// Owns `x-kubernetes-validations`: rules of CRDs in CEL.
import type { Json } from "../json.ts";
import { SchemaError, type Node } from "./node.ts";
import type { Walk } from "./validate.ts";

export interface CelRule {
  rule: string;
}

export function compileRules(raw: unknown, _node: Node, path: string): CelRule[] {
  if (raw === undefined) return [];
  throw new SchemaError(`${path}.x-kubernetes-validations`, "CEL rules are not supported yet");
}

export function runRules(_value: Json, _old: Json | undefined, _node: Node, _path: string, _walk: Walk): void {}
