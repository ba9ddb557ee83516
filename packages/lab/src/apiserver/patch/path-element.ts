// Owns path elements of managed fields: `f:name`, `k:{"name":"a"}`, `v:"x"`, as text, and how messages show them.
import { isObject, type Json, type JsonObject } from "../json.ts";

/** One step of a path in the wire form of FieldsV1; equal steps are equal texts. */
export type PathElement = string;

export function fieldElement(name: string): PathElement {
  return `f:${name}`;
}

export function valueElement(value: Json): PathElement {
  return `v:${canonical(value)}`;
}

export function keyElement(key: JsonObject): PathElement {
  return `k:${canonical(key)}`;
}

/** JSON with sorted keys. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.keys(value).toSorted();
  return `{${members.map((key) => `${JSON.stringify(key)}:${canonical(value[key] ?? null)}`).join(",")}}`;
}

/** The element as read from FieldsV1, in canonical text; null when it is not one. */
export function parseElement(text: string): PathElement | null {
  const body = text.slice(2);
  switch (text.slice(0, 2)) {
    case "f:":
      return text;
    case "i:":
      return /^\d+$/.test(body) ? text : null;
    case "v:":
    case "k:": {
      const value = parseJson(body);
      if (value === undefined || (text.startsWith("k:") && !isObject(value))) return null;
      return text.slice(0, 2) + canonical(value);
    }
    default:
      return null;
  }
}

function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** `.spec.containers[name="a"].image`, as conflicts name fields. */
export function showPath(path: readonly PathElement[]): string {
  return path.map(showElement).join("");
}

function showElement(element: PathElement): string {
  const body = element.slice(2);
  switch (element.slice(0, 2)) {
    case "f:":
      return `.${body}`;
    case "k:": {
      const key = parseJson(body);
      const members = isObject(key) ? Object.entries(key) : [];
      return `[${members.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(",")}]`;
    }
    case "v:":
      return `[=${body}]`;
    default:
      return `[${body}]`;
  }
}
