// Owns one request and its answer: target, user, negotiated form, warnings, and the single place that writes replies.
import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { dump } from "js-yaml";
import type { User } from "../auth/user.ts";
import type { Json, JsonObject } from "../json.ts";
import { PageNotFound, type ApiError } from "../status.ts";
import type { ApiRequest } from "./body.ts";
import type { Negotiated } from "./negotiate.ts";
import type { Target } from "./route.ts";

/** Upstream stops adding warnings at these sizes, since they travel as headers. */
const MAX_WARNINGS = 32;
const MAX_WARNING_CHARS = 256;

/** Node's HTTP/2 responses have the same methods under another type. */
export type ApiResponse = ServerResponse;

/** Whether the client can no longer be written to; HTTP/2 responses do not say so themselves. */
export function isClosed(response: ApiResponse): boolean {
  const stream: unknown = "stream" in response ? response.stream : undefined;
  const carrier = stream === undefined ? response : (stream as { destroyed: boolean } | null);
  return carrier === null || carrier.destroyed || response.writableEnded;
}

/** Bytes accepted and not yet sent. */
export function pendingBytes(response: ApiResponse): number {
  const stream: unknown = "stream" in response ? response.stream : undefined;
  return stream === undefined ? response.writableLength : ((stream as { writableLength?: number } | null)?.writableLength ?? 0);
}

export class Exchange {
  readonly request: ApiRequest;
  readonly response: ApiResponse;
  readonly target: Target;
  readonly query: URLSearchParams;
  readonly auditId = randomUUID();
  readonly #warnings: string[] = [];
  user: User;
  negotiated: Negotiated = { encoding: "json", shape: "plain", metaVersion: "v1" };

  constructor(request: ApiRequest, response: ApiResponse, target: Target, query: URLSearchParams, user: User) {
    this.request = request;
    this.response = response;
    this.target = target;
    this.query = query;
    this.user = user;
  }

  warn(text: string): void {
    if (this.#warnings.length < MAX_WARNINGS) this.#warnings.push(text.slice(0, MAX_WARNING_CHARS));
  }

  get userAgent(): string {
    return this.request.headers["user-agent"] ?? "";
  }

  headers(contentType: string): Record<string, string | string[]> {
    const headers: Record<string, string | string[]> = {
      "content-type": contentType,
      "cache-control": "no-cache, private",
      "audit-id": this.auditId,
    };
    if (this.#warnings.length > 0) headers["warning"] = this.#warnings.map((text) => `299 - "${escapeWarning(text)}"`);
    return headers;
  }

  /** Sends a JSON value (or text that already is JSON) in the negotiated encoding. */
  reply(code: number, body: JsonObject | string): void {
    if (this.negotiated.encoding === "yaml") {
      const value = (typeof body === "string" ? JSON.parse(body) : body) as Json;
      this.send(code, "application/yaml", dump(value, { noRefs: true, lineWidth: -1 }));
      return;
    }
    this.send(code, "application/json", typeof body === "string" ? body : JSON.stringify(body));
  }

  send(code: number, contentType: string, body: string | Uint8Array, caching = "no-cache, private"): void {
    if (this.response.headersSent || isClosed(this.response)) return;
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    const headers = this.headers(contentType);
    headers["content-length"] = String(bytes.length);
    headers["cache-control"] = caching;
    this.response.writeHead(code, headers as Record<string, string>);
    this.response.end(this.request.method === "HEAD" ? undefined : bytes);
  }

  fail(error: ApiError): void {
    if (this.response.headersSent) {
      this.response.destroy();
      return;
    }
    if (error.retryAfter !== undefined) this.response.setHeader("retry-after", String(error.retryAfter));
    this.negotiated = { ...this.negotiated, encoding: "json" };
    if (error instanceof PageNotFound) this.send(404, "text/plain; charset=utf-8", `${error.message}\n`);
    else this.reply(error.code, error.toStatus());
  }
}

/** Quoted-string of RFC 9110: backslash and quote escaped, control and non-ASCII characters replaced. */
function escapeWarning(text: string): string {
  return text.replace(/["\\]/g, "\\$&").replace(/[^\x20-\x7e]/g, "?");
}
