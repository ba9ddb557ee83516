// Owns YAML text as Kubernetes objects that know their lines: for sources and checks that must say where something is wrong.
import { constructFromEvents, EVENT_ID, getScalarValue, parseEvents, YAMLException, type Event } from "js-yaml";
import type { KubeObject } from "./objects.ts";

export interface ManifestDocument {
  readonly file: string;
  /** 1 for the first. */
  readonly line: number;
  readonly object: KubeObject;
  /** The line of a path as problems write it (`spec.rules[0].from`); of the nearest thing above it when it is not there. */
  lineOf(path: string): number;
}

export interface ManifestProblem { readonly file: string; readonly line: number; readonly message: string }

/** Objects nest less deeply than this; text that does not is not one. */
const DEPTH_MAX = 100;

/** Several documents in one text, empty ones skipped, Lists opened. Text that is not YAML yields one problem and no object. */
export function readDocuments(text: string, file: string): { readonly documents: readonly ManifestDocument[]; readonly problems: readonly ManifestProblem[] } {
  let events: Event[];
  let values: unknown[];
  try {
    events = parseEvents(text, { filename: file, maxDepth: DEPTH_MAX });
    values = constructFromEvents(events, { source: text, filename: file });
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    return { documents: [], problems: [{ file, line: (error.mark?.line ?? 0) + 1, message: error.reason }] };
  }
  const maps = linesOf(events, text);
  const documents: ManifestDocument[] = [];
  const problems: ManifestProblem[] = [];
  values.forEach((value, i) => {
    if (value === null || value === undefined) return;
    const lines = maps[i] ?? new Map<string, number>();
    const list = itemsOf(value);
    if (list === undefined) take(value, "");
    else list.forEach((item, k) => take(item, `items[${k}]`));

    function take(candidate: unknown, prefix: string): void {
      const lineOf = (path: string): number => nearest(lines, prefix === "" || path === "" ? `${prefix}${path}` : `${prefix}.${path}`);
      const missing = whatIsMissing(candidate);
      // Its shape was just looked at.
      if (missing === undefined) documents.push({ file, line: lineOf(""), object: candidate as KubeObject, lineOf });
      else problems.push({ file, line: lineOf(""), message: missing });
    }
  });
  return { documents, problems };
}

const record = (v: unknown): Readonly<Record<string, unknown>> | undefined => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined);

function itemsOf(value: unknown): readonly unknown[] | undefined {
  const o = record(value);
  return o?.["kind"] === "List" && Array.isArray(o["items"]) ? o["items"] : undefined;
}

function whatIsMissing(value: unknown): string | undefined {
  const o = record(value);
  if (typeof o?.["apiVersion"] !== "string" || typeof o["kind"] !== "string") return "not a Kubernetes object: apiVersion and kind are needed";
  const name = record(o["metadata"])?.["name"];
  return typeof name === "string" && name !== "" ? undefined : `${o["kind"]} has no metadata.name`;
}

function nearest(lines: ReadonlyMap<string, number>, path: string): number {
  for (let at = path; ; ) {
    const line = lines.get(at);
    if (line !== undefined) return line;
    if (at === "") return 1;
    // A label's key has dots, too: then a step up goes through names that no map has.
    at = at.slice(0, Math.max(at.lastIndexOf("."), at.lastIndexOf("["), 0));
  }
}

/** A mapping's entry is where its key is, a list's item where it begins. */
interface Frame { readonly path: string; readonly kind: "document" | "mapping" | "sequence"; count: number; key: string | undefined }

/** One map from path to line for each document. */
function linesOf(events: readonly Event[], text: string): Map<string, number>[] {
  const starts = lineStarts(text);
  const out: Map<string, number>[] = [];
  const stack: Frame[] = [];
  let lines = new Map<string, number>();
  for (const event of events) {
    const parent = stack.at(-1);
    switch (event.type) {
      case EVENT_ID.DOCUMENT:
        lines = new Map();
        out.push(lines);
        stack.push({ path: "", kind: "document", count: 0, key: undefined });
        break;
      case EVENT_ID.POP:
        stack.pop();
        break;
      case EVENT_ID.SCALAR:
        if (parent?.kind === "mapping" && parent.key === undefined) {
          const key = getScalarValue(text, event);
          parent.key = key;
          const path = joined(parent.path, key);
          if (event.valueStart >= 0) lines.set(path, lineAt(starts, event.valueStart));
        } else enter(parent, lines, event.valueStart, starts);
        break;
      case EVENT_ID.ALIAS:
        enter(parent, lines, event.anchorStart, starts);
        break;
      case EVENT_ID.MAPPING:
      case EVENT_ID.SEQUENCE:
        stack.push({ path: enter(parent, lines, event.start, starts), kind: event.type === EVENT_ID.MAPPING ? "mapping" : "sequence", count: 0, key: undefined });
        break;
    }
  }
  return out;
}

/** The path of a value that begins in `parent`, whose line is noted where its key has not said it. */
function enter(parent: Frame | undefined, lines: Map<string, number>, offset: number, starts: readonly number[]): string {
  if (parent === undefined) return "";
  if (parent.kind === "mapping") {
    const path = joined(parent.path, parent.key ?? "");
    parent.key = undefined;
    return path;
  }
  const path = parent.kind === "sequence" ? `${parent.path}[${parent.count++}]` : "";
  if (offset >= 0) lines.set(path, lineAt(starts, offset));
  return path;
}

const joined = (path: string, key: string): string => (path === "" ? key : `${path}.${key}`);

function lineStarts(text: string): number[] {
  const out = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) out.push(at + 1);
  return out;
}

function lineAt(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length;
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? Infinity) <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
}
