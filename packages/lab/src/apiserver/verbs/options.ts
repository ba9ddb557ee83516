// Owns the query parameters of reads and writes: each is parsed or refused, none is silently dropped.
import type { Exchange } from "../http/exchange.ts";
import { isTrue } from "../http/route.ts";
import { badRequest, invalid, invalidValue, unsupportedValue, type ApiError, type FieldProblem } from "../status.ts";

/** Upstream's bound for names of field managers. */
const MAX_MANAGER_CHARS = 128;

export type Validation = "Strict" | "Warn" | "Ignore";

export interface WriteOptions {
  readonly dryRun: boolean;
  readonly fieldManager: string;
  readonly fieldValidation: Validation;
  readonly force: boolean;
}

const KINDS: Record<string, string> = { create: "CreateOptions", update: "UpdateOptions", patch: "PatchOptions" };

/** The manager of a write without fieldManager is the program name of the user agent, as upstream has it. */
export function readWriteOptions({ query, userAgent, target, request }: Pick<Exchange, "query" | "userAgent" | "target" | "request">): WriteOptions {
  const manager = query.get("fieldManager") ?? "";
  const validation = query.get("fieldValidation") ?? "";
  const problems = [...managerProblems(manager), ...dryRunProblems(query.getAll("dryRun"))];
  if (!isValidation(validation)) problems.push(unsupportedValue("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]));
  const isApply = (request.headers["content-type"] ?? "").startsWith("application/apply-patch");
  if (target.verb === "patch" && query.has("force") && !isApply) {
    problems.push({ field: "force", type: "FieldValueForbidden", message: "Forbidden: may not be specified for non-apply patch" });
  }
  if (problems.length > 0) throw refuseOptions(KINDS[target.verb] ?? "CreateOptions", problems);
  const fallback = (userAgent.split("/")[0] ?? "").replace(/[^\x20-\x7e]/g, "").slice(0, MAX_MANAGER_CHARS);
  return {
    dryRun: query.getAll("dryRun").length > 0,
    fieldManager: manager === "" ? fallback || "unknown" : manager,
    fieldValidation: isValidation(validation) && validation !== "" ? validation : "Warn",
    force: query.has("force") && isTrue(query.get("force")),
  };
}

function managerProblems(manager: string): FieldProblem[] {
  if (manager.length > MAX_MANAGER_CHARS) {
    return [{ field: "fieldManager", type: "FieldValueTooLong", message: `Too long: may not be more than ${MAX_MANAGER_CHARS} bytes` }];
  }
  return /[^\x20-\x7e]/.test(manager) ? [invalidValue("fieldManager", manager, "should only contain printable characters")] : [];
}

/** Every value that is not `All`. */
export function dryRunProblems(values: readonly string[]): FieldProblem[] {
  return values.every((value) => value === "All") ? [] : [unsupportedValue("dryRun", values, ["All"])];
}

function isValidation(value: string): value is Validation | "" {
  return ["", "Strict", "Warn", "Ignore"].includes(value);
}

/** The refusal of a request's options of a kind of meta.k8s.io. */
export function refuseOptions(kind: string, problems: readonly FieldProblem[]): ApiError {
  return invalid({ group: "meta.k8s.io", resource: "", kind }, "", problems);
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
    throw refuseOptions("ListOptions", [unsupportedValue("resourceVersionMatch", match, ["Exact", "NotOlderThan"])]);
  }
  const resourceVersion = readVersion(query.get("resourceVersion"));
  const initial = query.get("sendInitialEvents");
  if (match !== "" && resourceVersion === null && initial === null) {
    throw refuseOptions("ListOptions", [{ field: "resourceVersionMatch", type: "FieldValueForbidden", message: "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided" }]);
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
  if (Number.isNaN(value)) throw refuseOptions("ListOptions", [invalidValue("resourceVersion", text, "must be an unsigned integer of this server")]);
  return value;
}

function readCount(text: string | null, name: string): number | null {
  if (text === null || text === "") return null;
  if (!/^-?\d{1,15}$/.test(text)) throw badRequest(`${name} must be an integer, not ${JSON.stringify(text)}`);
  return Math.max(0, Number(text));
}
