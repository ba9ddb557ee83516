// Owns the outcome type of the patch engines and the checks that all of them begin and end with.
import { findForeignJson, isObject, type Json, type JsonObject } from "../json.ts";

/** 400: the patch itself is malformed. 422: it does not fit this document. 500: its directives or keys make no sense. */
export type Patched =
  | { ok: true; value: JsonObject }
  | { ok: false; status: 400 | 422 | 500; message: string; field?: string };

/** Thrown inside one patch engine and turned into a `Patched` by `catchRefusal`; never leaves this folder. */
export class PatchRefusal extends Error {
  readonly status: 400 | 422 | 500;
  readonly field: string | undefined;

  constructor(status: 400 | 422 | 500, message: string, field?: string) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

export function catchRefusal(run: () => Json): Patched {
  try {
    const value = run();
    if (!isObject(value)) return { ok: false, status: 422, message: "the patched document is not an object" };
    const problem = findForeignJson(value);
    if (problem !== null) return { ok: false, status: 422, message: `the patched document is not acceptable: ${problem}` };
    return { ok: true, value };
  } catch (error) {
    if (!(error instanceof PatchRefusal)) throw error;
    const refused = { ok: false as const, status: error.status, message: error.message };
    return error.field === undefined ? refused : { ...refused, field: error.field };
  }
}

/** Refuses values that no JSON document holds, `__proto__` keys and nesting past the common bound. */
export function requireJson(value: unknown, what: string): Json {
  const problem = findForeignJson(value);
  if (problem !== null) throw new PatchRefusal(400, `${what}: ${problem}`);
  return value as Json; // findForeignJson has just proved it
}

export function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
