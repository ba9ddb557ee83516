// Owns the Status errors of the API: every refusal is an ApiError whose texts, reasons and codes are upstream's.
import type { JsonObject } from "./json.ts";

/** What an error is about: resource (plural) and group as they stand in the address, the kind, the object's name. */
interface Subject {
  readonly group: string;
  readonly resource: string;
  readonly kind: string;
}

export interface FieldProblem {
  readonly field: string;
  readonly type: string;
  readonly message: string;
}

export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  /** Null leaves details out; an empty object is shown as such. */
  readonly details: JsonObject | null;
  /** Seconds for a Retry-After header, if waiting helps. */
  readonly retryAfter: number | undefined;

  constructor(code: number, reason: string, message: string, details: JsonObject | null = null, retryAfter?: number) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.retryAfter = retryAfter;
  }

  toStatus(): JsonObject {
    const status: JsonObject = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
    };
    if (this.reason !== "") status["reason"] = this.reason;
    if (this.details !== null) status["details"] = this.details;
    status["code"] = this.code;
    return status;
  }
}

/** `deployments.apps`, or `pods` for the core group. */
export function qualified(subject: Subject): string {
  return subject.group === "" ? subject.resource : `${subject.resource}.${subject.group}`;
}

function about(subject: Subject, name: string, kind: string): JsonObject {
  const details: JsonObject = {};
  if (name !== "") details["name"] = name;
  if (subject.group !== "") details["group"] = subject.group;
  if (kind !== "") details["kind"] = kind;
  return details;
}

export function notFound(subject: Subject, name: string): ApiError {
  return new ApiError(404, "NotFound", `${qualified(subject)} "${name}" not found`, about(subject, name, subject.resource));
}

export function alreadyExists(subject: Subject, name: string, leaving = false): ApiError {
  const message = `${leaving ? "object is being deleted: " : ""}${qualified(subject)} "${name}" already exists`;
  return new ApiError(409, "AlreadyExists", message, about(subject, name, subject.resource));
}

export function conflict(subject: Subject, name: string, why: string): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(subject)} "${name}": ${why}`;
  return new ApiError(409, "Conflict", message, about(subject, name, subject.resource));
}

export const MODIFIED =
  "the object has been modified; please apply your changes to the latest version and try again";

export function invalid(subject: Subject, name: string, problems: readonly FieldProblem[]): ApiError {
  const texts = problems.map((p) => (p.field === "" ? p.message : `${p.field}: ${p.message}`));
  const kind = subject.group === "" ? subject.kind : `${subject.kind}.${subject.group}`;
  const text = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  const details = about(subject, name, subject.kind);
  details["causes"] = problems.map((p) => ({ reason: p.type, message: p.message, field: p.field }));
  return new ApiError(422, "Invalid", `${kind} "${name}" is invalid: ${text}`, details);
}

export function forbidden(subject: Subject, name: string, why: string): ApiError {
  const what = name === "" ? qualified(subject) : `${qualified(subject)} "${name}"`;
  return new ApiError(403, "Forbidden", `${what} is forbidden: ${why}`, about(subject, name, subject.resource));
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, "BadRequest", message);
}

export function unauthorized(): ApiError {
  return new ApiError(401, "Unauthorized", "Unauthorized");
}

export function noSuchResource(): ApiError {
  return new ApiError(404, "NotFound", "the server could not find the requested resource", {});
}

/** No API at all is served there: the answer is a line of text, not a Status. */
export class PageNotFound extends ApiError {
  constructor() {
    super(404, "NotFound", "404 page not found");
  }
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}

export function expired(message: string): ApiError {
  return new ApiError(410, "Expired", message);
}

export function unsupportedMediaType(message: string): ApiError {
  return new ApiError(415, "UnsupportedMediaType", message);
}

export function notAcceptable(types: string): ApiError {
  return new ApiError(406, "NotAcceptable", `406: Not Acceptable\n\nAvailable representations: ${types}`, {});
}

export function tooManyRequests(message: string, retryAfter: number, details: JsonObject | null = null): ApiError {
  return new ApiError(429, "TooManyRequests", message, details, retryAfter);
}

export function internal(message: string): ApiError {
  const details: JsonObject = { causes: [{ message }] };
  return new ApiError(500, "InternalError", `Internal error occurred: ${message}`, details);
}

/** The answer to a resourceVersion newer than anything stored. */
export function tooLargeResourceVersion(asked: number, current: number): ApiError {
  const message = `Timeout: Too large resource version: ${asked}, current: ${current}`;
  const details: JsonObject = {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  };
  return new ApiError(504, "Timeout", message, details, 1);
}

/** The Status of a deletion (or another action) that succeeded. */
export function success(subject: Subject, name: string, uid: string): JsonObject {
  const details = about(subject, name, subject.resource);
  if (uid !== "") details["uid"] = uid;
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details };
}

export const required = (field: string, message = ""): FieldProblem => ({
  field,
  type: "FieldValueRequired",
  message: message === "" ? "Required value" : `Required value: ${message}`,
});

/** `value` is shown as Go would quote it: strings in double quotes, the rest as JSON. */
export const invalidValue = (field: string, value: unknown, message: string): FieldProblem => ({
  field,
  type: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value) ?? "null"}${message === "" ? "" : `: ${message}`}`,
});

export const unsupportedValue = (field: string, value: unknown, supported: readonly string[]): FieldProblem => ({
  field,
  type: "FieldValueNotSupported",
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported.map((s) => `"${s}"`).join(", ")}`,
});

export const forbiddenField = (field: string, message: string): FieldProblem => ({
  field,
  type: "FieldValueForbidden",
  message: `Forbidden: ${message}`,
});

export const duplicateValue = (field: string, value: unknown): FieldProblem => ({
  field,
  type: "FieldValueDuplicate",
  message: `Duplicate value: ${JSON.stringify(value)}`,
});
