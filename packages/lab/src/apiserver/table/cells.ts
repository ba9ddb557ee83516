// Owns the building blocks of table printers: common columns and small readers of objects.
import { asObject, asString, asStringMap, asStrings, asObjects, type Json, type JsonObject } from "../json.ts";
import { formatSelector, labelSelectorOf } from "../selectors.ts";
import type { Column, Printer } from "../registry/row.ts";

export const NAME: Column = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name must be unique within a namespace.",
};
export const AGE: Column = { name: "Age", type: "date", description: "Time since the object was created." };

export function text(name: string, priority = 0): Column {
  return { name, type: "string", priority };
}

/** The time itself, not how long ago it was. */
export function moment(name: string): Column {
  return { name, type: "date", verbatim: true };
}

export function flag(name: string, priority = 0): Column {
  return { name, type: "boolean", priority };
}

export function count(name: string, priority = 0): Column {
  return { name, type: "integer", priority };
}

/** A printer whose first cell is the name; the rest comes from `cells`. */
export function printer(columns: readonly Column[], cells: (object: JsonObject, now: number) => Json[]): Printer {
  return { columns: [NAME, ...columns], cells: (object, now) => [nameOf(object), ...cells(object, now)] };
}

export function nameOf(object: JsonObject): string {
  return asString(asObject(object["metadata"])["name"]);
}

export function created(object: JsonObject): Json {
  return asObject(object["metadata"])["creationTimestamp"] ?? null;
}

export function sizeOf(value: Json | undefined): number {
  return Array.isArray(value) ? value.length : Object.keys(asObject(value)).length;
}

export function orNone(value: string): string {
  return value === "" ? "<none>" : value;
}

export function joined(values: readonly string[]): string {
  return orNone(values.join(","));
}

export function mapText(value: Json | undefined): string {
  const pairs = Object.entries(asStringMap(value)).map(([key, item]) => `${key}=${item}`);
  return joined(pairs.sort());
}

export function selectorText(value: Json | undefined): string {
  const selector = labelSelectorOf(value);
  return selector === null || selector.length === 0 ? "<none>" : formatSelector(selector);
}

/** Names and images of a pod template, for wide output. */
export function containerCells(podSpec: JsonObject): [string, string] {
  const containers = asObjects(podSpec["containers"]);
  return [
    containers.map((container) => asString(container["name"])).join(","),
    containers.map((container) => asString(container["image"])).join(","),
  ];
}

export function strings(value: Json | undefined): string[] {
  return asStrings(value);
}
