// Owns how stored objects appear on the wire: plain, as metadata only, or as table rows; serialised once and shared.
import { asObject, asString, cloneJson, type Json, type JsonObject } from "../json.ts";
import type { Negotiated } from "../http/negotiate.ts";
import { apiVersionOf, type Row } from "../registry/row.ts";
import type { Entry } from "../storage/store.ts";
import { ageText } from "../table/duration.ts";

/** The object as this row's version shows it; shared, not to be changed. */
export function present(row: Row, object: JsonObject): JsonObject {
  return row.fromStored === null ? object : row.fromStored(object);
}

/** JSON text of an entry in this row's version. */
export function plainText(row: Row, entry: Entry): string {
  return entry.text(row.form, () => JSON.stringify(present(row, entry.object)));
}

export function partialText(entry: Entry, metaVersion: string): string {
  return entry.text(`partial/${metaVersion}`, () => JSON.stringify(partial(entry.object, metaVersion)));
}

function partial(object: JsonObject, metaVersion: string): JsonObject {
  return {
    kind: "PartialObjectMetadata",
    apiVersion: `meta.k8s.io/${metaVersion}`,
    metadata: object["metadata"] ?? {},
  };
}

interface TableOptions {
  /** Leaves the columns out. */
  readonly bare?: boolean;
  /** includeObject: None, Metadata or Object. */
  readonly include: string;
  readonly metaVersion: string;
  readonly now: number;
}

export function table(row: Row, entries: readonly Entry[], metadata: JsonObject, options: TableOptions): JsonObject {
  return {
    kind: "Table",
    apiVersion: `meta.k8s.io/${options.metaVersion}`,
    metadata,
    columnDefinitions: options.bare === true ? null : row.printer.columns.map((column) => ({
      name: column.name,
      type: column.type === "date" && column.verbatim !== true && column.named !== true ? "string" : column.type,
      format: column.format ?? "",
      description: column.description ?? "",
      priority: column.priority ?? 0,
    })),
    rows: entries.map((entry) => tableRow(row, entry.object, options)),
  };
}

function tableRow(row: Row, object: JsonObject, options: TableOptions): JsonObject {
  const shown = present(row, object);
  const cells = row.printer.cells(shown, options.now).map((cell, i): Json => {
    const column = row.printer.columns[i];
    return column?.type === "date" && column.verbatim !== true ? ageText(asString(cell), options.now) : cell;
  });
  const result: JsonObject = { cells };
  if (options.include === "Object") result["object"] = shown;
  else result["object"] = options.include === "None" ? null : partial(object, options.metaVersion);
  return result;
}

export function listKind(row: Row): string {
  return `${row.kind}List`;
}

/** Text of a list from texts of its items. */
export function listText(row: Row, negotiated: Negotiated, entries: readonly Entry[], metadata: JsonObject): string {
  const isPartial = negotiated.shape !== "plain";
  const items = entries.map((entry) => (isPartial ? partialText(entry, negotiated.metaVersion) : plainText(row, entry)));
  const kind = isPartial ? "PartialObjectMetadataList" : listKind(row);
  const apiVersion = isPartial ? `meta.k8s.io/${negotiated.metaVersion}` : apiVersionOf(row);
  const head = `{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)}`;
  return `${head},"metadata":${JSON.stringify(metadata)},"items":[${items.join(",")}]}`;
}

/** A copy of a stored object that the caller may change, in this row's version. */
export function editable(row: Row, object: JsonObject): JsonObject {
  return cloneJson(present(row, object));
}

export function versionOf(object: JsonObject): string {
  return asString(asObject(object["metadata"])["resourceVersion"]);
}
