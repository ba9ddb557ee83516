// Owns the shape of a registry row: everything the generic verbs need to know about one resource in one version.
import type { Json, JsonObject } from "../json.ts";
import type { Judging } from "../schema/structural.ts";
import type { FieldProblem } from "../status.ts";

export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "number" | "boolean" | "date";
  readonly format?: string;
  readonly description?: string;
  /** A date is called one, and shown as an age. */
  readonly named?: boolean;
  /** The cell of a date is shown as it is, not as an age. */
  readonly verbatim?: boolean;
  /** 0 is always shown, 1 only in wide output. */
  readonly priority?: number;
}

export interface Printer {
  readonly columns: readonly Column[];
  /** Cells in the order of the columns; `now` in milliseconds for ages. */
  cells(object: JsonObject, now: number): Json[];
}

export interface ScalePaths {
  readonly spec: string;
  readonly status: string;
  /** Path of a string selector, or of a LabelSelector for built-in kinds. */
  readonly selector: string | null;
}

interface StatusRule {
  /** Whether labels and annotations may change together with the status. */
  readonly metadata: boolean;
  /** Whether a status given at creation is kept (nodes register with theirs). */
  readonly atCreate: boolean;
}

export interface Row {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  /** Name of the store's bucket; versions of one resource share it. */
  readonly bucket: string;
  readonly status: StatusRule | null;
  readonly scale: ScalePaths | null;
  /** What a status shows that nobody has written: counters at zero. */
  readonly newStatus: JsonObject;
  /** Further subresource names, served by handlers of their own. */
  readonly subresources: readonly string[];
  /** A change of anything but metadata and status raises metadata.generation. */
  readonly generation: boolean;
  /** PUT of a missing object creates it. */
  readonly createOnUpdate: boolean;
  /** PUT without resourceVersion overwrites. */
  readonly unconditionalUpdate: boolean;
  /** DELETE of the whole list is served. */
  readonly deletesCollection: boolean;
  /** DELETE answers with the object instead of a Status. */
  readonly returnsDeleted: boolean;
  /** Kubelet-style deletion: seconds until the object goes, 0 for at once; absent when there is no grace. */
  readonly grace?: (object: JsonObject, asked: number | undefined) => number;
  /** A last change to an object at its deletion (finalizers of the server's own). */
  readonly beforeDelete: (object: JsonObject) => void;
  /** Answered by a handler of its own and not stored (reviews): only create. */
  readonly virtual: boolean;
  readonly printer: Printer;
  /** Field values that fieldSelector may name, besides metadata.name and metadata.namespace. */
  readonly fields: (object: JsonObject) => Record<string, string>;
  readonly fieldNames: readonly string[];
  /** Fills upstream's defaults in; changes the object. */
  readonly defaults: (object: JsonObject) => void;
  /** Problems of a new state (before is null on create). */
  readonly validate: (object: JsonObject, before: JsonObject | null) => FieldProblem[];
  /** Clears or fills what clients may not decide, before validation; changes the object. */
  readonly prepare: (object: JsonObject, before: JsonObject | null) => void;
  /** To and from the stored form, when this version is not the stored one. */
  readonly toStored: ((object: JsonObject) => JsonObject) | null;
  readonly fromStored: ((object: JsonObject) => JsonObject) | null;
  /** Which form readers of this row share: rows with equal forms serialise equally. */
  readonly form: string;
  /** Names of objects: RFC 1123 subdomain by default. */
  readonly nameRule: "subdomain" | "label" | "label-1035" | "path";
  /** Said in a warning of every answer: this version is going. */
  readonly deprecation?: string;
  /** Set for custom resources. */
  readonly custom: CustomRules | null;
}

/** What the structural schema of a custom resource decides. */
interface CustomRules {
  readonly crd: string;
  /** Drops unknown fields; returns the pruned object and the dropped paths. */
  prune(object: JsonObject): { value: JsonObject; dropped: string[] };
  /** Why an embedded object's metadata cannot be read; "" when it can. */
  unreadable(object: JsonObject): string;
  applyDefaults(object: JsonObject): JsonObject;
  validate(object: JsonObject, before?: JsonObject, judging?: Judging): FieldProblem[];
  readonly schema: JsonObject;
}

export function apiVersionOf(row: { group: string; version: string }): string {
  return row.group === "" ? row.version : `${row.group}/${row.version}`;
}

export function verbsOf(row: Row): string[] {
  if (row.virtual) return ["create"];
  return ["create", "delete", ...(row.deletesCollection ? ["deletecollection"] : []), "get", "list", "patch", "update", "watch"];
}

/** Key of an object in its bucket. */
export function keyOf(row: { namespaced: boolean }, namespace: string, name: string): string {
  return row.namespaced ? `${namespace}/${name}` : name;
}

type RowInput = Pick<Row, "group" | "version" | "resource" | "kind" | "namespaced"> & Partial<Row>;

const AGE_PRINTER: Printer = {
  columns: [
    { name: "Name", type: "string", format: "name", description: "Name must be unique within a namespace." },
    { name: "Age", type: "date", description: "Time since the object was created." },
  ],
  cells: (object) => [nameOf(object), createdAt(object)],
};

function nameOf(object: JsonObject): Json {
  return (object["metadata"] as JsonObject)["name"] ?? "";
}

function createdAt(object: JsonObject): Json {
  return (object["metadata"] as JsonObject)["creationTimestamp"] ?? null;
}

/** A row with everything that was not said set to the common case. */
export function row(input: RowInput): Row {
  return {
    singular: input.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    bucket: `${input.group}/${input.resource}`,
    status: null,
    newStatus: {},
    scale: null,
    subresources: [],
    generation: false,
    createOnUpdate: false,
    unconditionalUpdate: true,
    deletesCollection: true,
    returnsDeleted: false,
    beforeDelete: () => undefined,
    virtual: false,
    printer: AGE_PRINTER,
    fields: () => ({}),
    fieldNames: [],
    defaults: () => undefined,
    validate: () => [],
    prepare: () => undefined,
    toStored: null,
    fromStored: null,
    form: apiVersionOf(input),
    nameRule: "subdomain",
    custom: null,
    ...input,
  };
}
