// Owns field errors and their wording, which is that of Kubernetes: users and tools read it.
import { isObject, type Json } from "../json.ts";

export interface FieldError {
  /** Dotted path from the object's root, such as `spec.rules[0].from`; "" for the root. */
  field: string;
  type:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueNotSupported"
    | "FieldValueForbidden"
    | "FieldValueDuplicate"
    | "FieldValueTypeInvalid"
    | "FieldValueTooLong"
    | "FieldValueTooMany";
  message: string;
}

/** Longest value repeated in a message; an object of megabytes must not come back as an error of megabytes. */
const MAX_SHOWN = 512;

function shown(value: Json): string {
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

export function required(field: string, detail = ""): FieldError {
  return { field, type: "FieldValueRequired", message: detail === "" ? "Required value" : `Required value: ${detail}` };
}

export function invalid(field: string, value: Json, detail: string): FieldError {
  return { field, type: "FieldValueInvalid", message: `Invalid value: ${shown(value)}: ${detail}` };
}

export function typeInvalid(field: string, wanted: string, value: Json): FieldError {
  const is = JSON.stringify(typeName(value));
  const detail = `${field === "" ? "" : `${field} `}in body must be of type ${wanted}: ${is}`;
  return { field, type: "FieldValueTypeInvalid", message: `Invalid value: ${is}: ${detail}` };
}

export function notSupported(field: string, value: Json, supported: readonly Json[]): FieldError {
  const list = supported.map(shown).join(", ");
  return {
    field,
    type: "FieldValueNotSupported",
    message: `Unsupported value: ${shown(value)}: supported values: ${list}`,
  };
}

export function forbidden(field: string, detail: string): FieldError {
  return { field, type: "FieldValueForbidden", message: `Forbidden: ${detail}` };
}

export function duplicate(field: string, value: Json): FieldError {
  return { field, type: "FieldValueDuplicate", message: `Duplicate value: ${shown(value)}` };
}

export function tooLong(field: string, max: number): FieldError {
  return { field, type: "FieldValueTooLong", message: `Too long: may not be more than ${max} bytes` };
}

export function tooMany(field: string, count: number, max: number): FieldError {
  return { field, type: "FieldValueTooMany", message: `Too many: ${count}: must have at most ${max} items` };
}

/** The JSON type as messages name it. */
function typeName(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (isObject(value)) return "object";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}
