// Owns request bodies: bounded reading, and decoding of JSON or YAML into plain JSON objects.
import { load, YAML11_SCHEMA, YAMLException } from "js-yaml";
import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import { findForeignJson, isObject, type JsonObject } from "../json.ts";
import { decodeKubernetes } from "../protobuf/decode.ts";
import { WireError } from "../protobuf/wire.ts";
import { ApiError, badRequest, unsupportedMediaType } from "../status.ts";

/** Upstream's limit for a resource request. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

export type ApiRequest = IncomingMessage | Http2ServerRequest;

export function readBody(request: ApiRequest): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_BODY_BYTES) return void chunks.push(chunk);
      request.removeAllListeners("data");
      request.resume();
      reject(new ApiError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${MAX_BODY_BYTES}`));
    });
    request.on("end", () => resolve(Buffer.concat(chunks)));
    request.on("error", reject);
    request.on("close", () => reject(badRequest("the request ended before its body did")));
  });
}

export function mediaType(request: ApiRequest): string {
  const header = request.headers["content-type"] ?? "";
  return (header.split(";")[0] ?? "").trim().toLowerCase();
}

/** Decodes an object body by its content type; no content type means JSON. */
export function decodeObject(body: Buffer, type: string): JsonObject {
  const value = decodeJsonOrYaml(body, type);
  if (!isObject(value)) throw badRequest("the request body must be one JSON or YAML object");
  return value;
}

/** Like decodeObject, for bodies that may be lists (JSON Patch). */
export function decodeJsonOrYaml(body: Buffer, type: string): unknown {
  if (type === PROTOBUF) return decodeProtobuf(body);
  const text = body.toString("utf8");
  const value = isYaml(type) ? parseYaml(text) : parseJson(text, type);
  const problem = findForeignJson(value);
  if (problem !== null) throw badRequest(`the request body is not plain JSON: ${problem}`);
  return value;
}

const PROTOBUF = "application/vnd.kubernetes.protobuf";

/** Go clients send built-in kinds this way. */
function decodeProtobuf(body: Buffer): JsonObject {
  try {
    const object = decodeKubernetes(body);
    const problem = findForeignJson(object);
    if (problem !== null) throw badRequest(`the request body is not plain JSON: ${problem}`);
    return object;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw badRequest(`the request body is not valid protobuf: ${error.message}`);
  }
}

function isYaml(type: string): boolean {
  return type === "application/yaml" || type.endsWith("+yaml") || type === "text/yaml";
}

const JSON_TYPES = new Set(["", "application/json", "*/*", "text/plain", "application/x-www-form-urlencoded"]);

function parseJson(text: string, type: string): unknown {
  if (!JSON_TYPES.has(type) && !type.endsWith("+json")) {
    throw unsupportedMediaType(`the body of the request was in an unknown format (${type}); accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf`);
  }
  if (text.trim() === "") throw badRequest("the request body is empty; it must be one JSON object");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the request body is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Server-side apply sends YAML (usually JSON, which is YAML): try the fast parser first. */
function parseYaml(text: string): unknown {
  if (text.trimStart().startsWith("{")) {
    try {
      return JSON.parse(text);
    } catch {
      // Flow-style YAML also starts with a brace.
    }
  }
  try {
    return load(text, { schema: YAML11_SCHEMA });
  } catch (error) {
    if (error instanceof YAMLException) throw badRequest(`the request body is not valid YAML: ${error.message}`);
    throw badRequest(`the request body is not valid YAML: ${String(error)}`);
  }
}
