// Owns the query parameters of reads and writes: each is parsed or refused, none is silently dropped.
import { isTrue } from "../http/route.ts";
import { badRequest, invalidValue, unsupportedValue, ApiError, type FieldProblem } from "../status.ts";

/** Upstream's bound for names of field managers. */
const MAX_MANAGER_CHARS = 128;

export type Validation = "Strict" | "Warn" | "Ignore";

export interface WriteOptions {
  readonly dryRun: boolean;
  readonly fieldManager: string;
  readonly fieldValidation: Validation;
  readonly force: boolean;
}

/** The manager of a write without fieldManager is the program name of the user agent, as upstream has it. */
export function readWriteOptions(query: URLSearchParams, userAgent: string): WriteOptions {
  const manager = query.get("fieldManager") ?? "";
  if (manager.length > MAX_MANAGER_CHARS || /[^\x20-\x7e]/.test(manager)) {
    throw refuse([invalidValue("fieldManager", manager, `may not be more than ${MAX_MANAGER_CHARS} printable characters`)]);
  }
  const fallback = (userAgent.split("/")[0] ?? "").replace(/[^\x20-\x7e]/g, "").slice(0, MAX_MANAGER_CHARS);
  return {
    dryRun: readDryRun(query.getAll("dryRun")),
    fieldManager: manager === "" ? fallback || "unknown" : manager,
    fieldValidation: readValidation(query.get("fieldValidation") ?? ""),
    force: query.has("force") && isTrue(query.get("force")),
  };
}

export function readDryRun(values: readonly string[]): boolean {
  for (const value of values) {
    if (value !== "All") throw refuse([unsupportedValue("dryRun", value, ["All"])]);
  }
  return values.length > 0;
}

function readValidation(value: string): Validation {
  if (value === "") return "Warn";
  if (value === "Strict" || value === "Warn" || value === "Ignore") return value;
  throw refuse([unsupportedValue("fieldValidation", value, ["Ignore", "Warn", "Strict"])]);
}

function refuse(problems: readonly FieldProblem[]): ApiError {
  const text = problems.map((problem) => `${problem.field}: ${problem.message}`).join(", ");
  const details = { causes: problems.map((p) => ({ reason: p.type, message: p.message, field: p.field })) };
  return new ApiError(422, "Invalid", `options is invalid: ${text}`, details);
}

export interface ListOptions {
  readonly limit: number;
  readonly continueToken: string;
  /** null when the client did not say. */
  readonly resourceVersion: number | null;
  readonly match: "" | "Exact" | "NotOlderThan";
  readonly timeoutS: number | null;
  readonly bookmarks: boolean;
  readonly initialEvents: boolean | null;
}

export function readListOptions(query: URLSearchParams): ListOptions {
  const match = query.get("resourceVersionMatch") ?? "";
  if (match !== "" && match !== "Exact" && match !== "NotOlderThan") {
    throw refuse([unsupportedValue("resourceVersionMatch", match, ["Exact", "NotOlderThan"])]);
  }
  const resourceVersion = readVersion(query.get("resourceVersion"));
  const initial = query.get("sendInitialEvents");
  if (match !== "" && resourceVersion === null && initial === null) {
    throw refuse([{ field: "resourceVersionMatch", type: "FieldValueForbidden", message: "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided" }]);
  }
  return {
    limit: readCount(query.get("limit"), "limit") ?? 0,
    continueToken: query.get("continue") ?? "",
    resourceVersion,
    match,
    timeoutS: readCount(query.get("timeoutSeconds"), "timeoutSeconds"),
    bookmarks: query.has("allowWatchBookmarks") && isTrue(query.get("allowWatchBookmarks")),
    initialEvents: initial === null ? null : isTrue(initial),
  };
}

/** A resourceVersion parameter: null when absent or empty; throws 400 for anything but digits. */
export function readVersion(text: string | null): number | null {
  if (text === null || text === "") return null;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw refuse([invalidValue("resourceVersion", text, "must be an unsigned integer of this server")]);
  return value;
}

function readCount(text: string | null, name: string): number | null {
  if (text === null || text === "") return null;
  if (!/^-?\d{1,15}$/.test(text)) throw badRequest(`${name} must be an integer, not ${JSON.stringify(text)}`);
  return Math.max(0, Number(text));
}
