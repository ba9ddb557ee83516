// Owns the query parameters of reads and writes: each is parsed or refused, none is silently dropped.
import type { Exchange } from "../http/exchange.ts";
import { isTrue } from "../http/route.ts";
import type { JsonObject } from "../json.ts";
import { ApiError, badRequest, forbiddenField, invalid, invalidValue, unsupportedValue, type FieldProblem } from "../status.ts";

/** Upstream's bound for names of field managers. */
const MAX_MANAGER_CHARS = 128;

export type Validation = "Strict" | "Warn" | "Ignore";

export interface WriteOptions {
  readonly dryRun: boolean;
  readonly fieldManager: string;
  readonly fieldValidation: Validation;
  readonly force: boolean;
  /** What the client said of them, as webhooks are shown it. */
  readonly sent?: JsonObject;
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
    sent: sentOptions(query, isApply),
  };
}

function sentOptions(query: URLSearchParams, isApply: boolean): JsonObject {
  const sent: JsonObject = {};
  if (query.getAll("dryRun").length > 0) sent["dryRun"] = query.getAll("dryRun");
  for (const field of ["fieldManager", "fieldValidation"]) {
    const value = query.get(field) ?? "";
    if (value !== "") sent[field] = value;
  }
  if (isApply && query.has("force")) sent["force"] = isTrue(query.get("force"));
  return sent;
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

export function readListOptions(query: URLSearchParams, watch = false): ListOptions {
  const match = query.get("resourceVersionMatch") ?? "";
  const asked = query.get("resourceVersion") ?? "";
  const initial = query.get("sendInitialEvents");
  const problems = watch ? watchProblems(match, initial, query) : listProblems(match, asked, initial, query);
  if (problems.length > 0) throw refuseOptions("ListOptions", problems);
  const resourceVersion = readVersion(asked, watch ? "watch" : "list");
  return {
    limit: readCount(query.get("limit")) ?? 0,
    continueToken: query.get("continue") ?? "",
    resourceVersion,
    match: match as ListOptions["match"],
    timeoutS: readCount(query.get("timeoutSeconds")),
    bookmarks: query.has("allowWatchBookmarks") && isTrue(query.get("allowWatchBookmarks")),
    initialEvents: initial === null ? null : isTrue(initial),
  };
}

const ONLY_MATCHES = ["Exact", "NotOlderThan"];

function listProblems(match: string, version: string, initial: string | null, query: URLSearchParams): FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (match !== "") {
    if (version === "") problems.push(forbiddenField("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"));
    problems.push(...whenContinued(query));
    if (!ONLY_MATCHES.includes(match)) problems.push(unsupportedValue("resourceVersionMatch", match, [...ONLY_MATCHES, ""]));
    if (match === "Exact" && version === "0") problems.push(forbiddenField("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'));
  }
  if (initial !== null) problems.push(forbiddenField("sendInitialEvents", "sendInitialEvents is forbidden for list"));
  return problems;
}

function watchProblems(match: string, initial: string | null, query: URLSearchParams): FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (initial !== null && match !== "NotOlderThan") {
    problems.push(forbiddenField("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
  }
  if (match === "") return problems;
  if (initial === null) problems.push(forbiddenField("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
  if (match !== "NotOlderThan") problems.push(unsupportedValue("resourceVersionMatch", match, ["NotOlderThan"]));
  return [...problems, ...whenContinued(query)];
}

function whenContinued(query: URLSearchParams): FieldProblem[] {
  return (query.get("continue") ?? "") === "" ? [] : [forbiddenField("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")];
}

/** A resourceVersion parameter: null when absent or empty; throws in upstream's words, which differ by verb, for anything but digits. */
export function readVersion(text: string | null, verb: "get" | "list" | "watch"): number | null {
  if (text === null || text === "") return null;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const why = `${invalidValue("", text, "").message}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
  if (verb === "list") throw badRequest(`invalid resource version: resourceVersion: ${why}`);
  throw new ApiError(500, "", `resourceVersion: ${why}`);
}

function readCount(text: string | null): number | null {
  if (text === null || text === "") return null;
  if (!/^-?\d{1,15}$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Math.max(0, Number(text));
}
