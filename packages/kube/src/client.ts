// Owns one HTTP conversation with the API server: requests as JSON, failures as KubeError, watches as lines.
import { request as httpRequest, Agent as HttpAgent, type IncomingMessage, type ClientRequest } from "node:http";
import { request as httpsRequest, Agent as HttpsAgent } from "node:https";
import type { ClientConfig } from "./config.ts";
import { pathOf, type Kind, type KubeObject } from "./objects.ts";

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
  /** Whole request, milliseconds. */
  readonly timeoutMs?: number;
}
export type PatchType = "merge" | "json" | "strategic" | "apply";
export interface PatchOptions { readonly type?: PatchType; readonly subresource?: string; readonly fieldManager?: string; readonly force?: boolean; readonly dryRun?: boolean; readonly signal?: AbortSignal }

/** A refusal by the API server, as its Status object says it; status 0 = no answer. */
export class KubeError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly details: unknown;
  constructor(status: number, reason: string, message: string, details?: unknown, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.reason = reason;
    this.details = details;
  }
}
export const isNotFound = (e: unknown): boolean => e instanceof KubeError && e.status === 404;
/** Undefined where what was asked for is not there (404); any other failure stays one. */
export const ifFound = <T>(answer: Promise<T>): Promise<T | undefined> => answer.catch((error: unknown) => {
  if (isNotFound(error)) return undefined;
  throw error;
});
export const isConflict = (e: unknown): boolean => e instanceof KubeError && e.status === 409 && e.reason === "Conflict";
export const isAlreadyExists = (e: unknown): boolean => e instanceof KubeError && e.reason === "AlreadyExists";
/** Nothing new is made in a namespace that ends: the admission plugin NamespaceLifecycle names this cause. */
export function isNamespaceEnding(e: unknown): boolean {
  const causes = e instanceof KubeError ? (e.details as { causes?: unknown } | null | undefined)?.causes : undefined;
  return Array.isArray(causes) && causes.some((c: { reason?: unknown } | null) => c?.reason === "NamespaceTerminating");
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** A body above this is not one of ours to read: lists are paged. */
const RESPONSE_MAX_BYTES = 256 * 1024 * 1024;
const SOCKETS_MAX = 64;
const MEDIA: Readonly<Record<PatchType, string>> = {
  merge: "application/merge-patch+json", json: "application/json-patch+json",
  strategic: "application/strategic-merge-patch+json", apply: "application/apply-patch+yaml",
};

export class KubeClient {
  readonly config: ClientConfig;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #base: URL;

  constructor(config: ClientConfig) {
    this.config = config;
    this.#base = new URL(config.server);
    const shared = { keepAlive: true, maxSockets: SOCKETS_MAX };
    this.#agent = this.#base.protocol === "http:" ? new HttpAgent(shared) : new HttpsAgent({
      ...shared, ca: config.ca, cert: config.cert, key: config.key, rejectUnauthorized: config.insecureSkipTlsVerify !== true,
      ...(config.tlsServerName === undefined ? {} : { servername: config.tlsServerName }),
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Parsed JSON (or text, when it is not JSON) of a 2xx answer; throws KubeError otherwise. */
  async request<T = unknown>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const response = await this.open(method, path, options);
    const body = await readAll(response);
    const type = response.headers["content-type"] ?? "";
    const parsed: unknown = type.includes("json") && body !== "" ? parseJson(body, path) : body;
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return parsed as T;
    throw statusError(status, parsed, method, path);
  }

  /** Sends and resolves with the response, whatever its status; the caller reads the body. */
  async open(method: string, path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
    const url = new URL(this.#base.pathname.replace(/\/$/, "") + path, this.#base);
    for (const [k, v] of Object.entries(options.query ?? {})) if (v !== undefined) url.searchParams.set(k, String(v));
    const body = options.body === undefined ? undefined : typeof options.body === "string" ? options.body : JSON.stringify(options.body);
    const headers: Record<string, string> = { accept: options.accept ?? "application/json", "user-agent": "ambit" };
    const token = await this.config.token?.();
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    if (body !== undefined) {
      headers["content-type"] = options.contentType ?? "application/json";
      headers["content-length"] = String(Buffer.byteLength(body));
    }
    return new Promise((resolve, reject) => {
      const send = url.protocol === "http:" ? httpRequest : httpsRequest;
      const fail = (cause: unknown) => reject(new KubeError(0, "Unreachable", `${method} ${url.origin}${path}: no answer from the API server`, undefined, { cause }));
      let req: ClientRequest;
      try {
        req = send(url, { method, headers, agent: this.#agent, ...(options.signal ? { signal: options.signal } : {}) }, (res) => {
          // The time limit is for the whole answer: a watch passes 0.
          res.on("close", () => clearTimeout(timer));
          res.on("error", () => undefined);
          resolve(res);
        });
      } catch (error) {
        return fail(error);
      }
      const limit = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
      const timer = limit === 0 ? undefined : setTimeout(() => req.destroy(new Error(`no complete answer within ${limit} ms`)), limit);
      req.on("error", (error) => { clearTimeout(timer); fail(error); });
      req.end(body);
    });
  }

  get<T extends KubeObject = KubeObject>(kind: Kind, namespace: string | undefined, name: string, options?: RequestOptions): Promise<T> {
    return this.request<T>("GET", pathOf(kind, namespace, name), options);
  }

  /** Everything, page by page. `keep` sees each object as its page arrives: what it lets go is never held for the whole list. */
  async list<T extends KubeObject = KubeObject>(kind: Kind, namespace?: string, query: RequestOptions["query"] = {}, keep: (object: T) => T = (o) => o): Promise<{ items: T[]; resourceVersion: string }> {
    const items: T[] = [];
    for (let token: string | undefined; ; ) {
      const page: { items?: T[]; metadata?: { continue?: string; resourceVersion?: string } } = await this.request("GET", pathOf(kind, namespace), { query: { limit: 500, ...query, continue: token } });
      for (const item of page.items ?? []) items.push(keep(item));
      token = page.metadata?.continue;
      if (token === undefined || token === "") return { items, resourceVersion: page.metadata?.resourceVersion ?? "" };
    }
  }

  create<T extends KubeObject = KubeObject>(kind: Kind, namespace: string | undefined, body: object, options?: RequestOptions): Promise<T> {
    return this.request<T>("POST", pathOf(kind, namespace), { ...options, body });
  }

  replace<T extends KubeObject = KubeObject>(kind: Kind, object: KubeObject, subresource?: string): Promise<T> {
    return this.request<T>("PUT", pathOf(kind, object.metadata.namespace, object.metadata.name, subresource), { body: object });
  }

  patch<T extends KubeObject = KubeObject>(kind: Kind, namespace: string | undefined, name: string, body: unknown, options: PatchOptions = {}): Promise<T> {
    return this.request<T>("PATCH", pathOf(kind, namespace, name, options.subresource), {
      body, contentType: MEDIA[options.type ?? "merge"], query: { fieldManager: options.fieldManager, force: options.force, dryRun: options.dryRun === true ? "All" : undefined }, ...(options.signal ? { signal: options.signal } : {}),
    });
  }

  delete(kind: Kind, namespace: string | undefined, name: string, body?: object): Promise<unknown> {
    return this.request("DELETE", pathOf(kind, namespace, name), body === undefined ? {} : { body });
  }
}

export function statusError(status: number, body: unknown, method: string, path: string): KubeError {
  const s = typeof body === "object" && body !== null ? (body as { reason?: unknown; message?: unknown; details?: unknown }) : {};
  const message = typeof s.message === "string" ? s.message : typeof body === "string" && body !== "" ? body.slice(0, 500) : `${method} ${path}: HTTP ${status}`;
  return new KubeError(status, typeof s.reason === "string" ? s.reason : `HTTP${status}`, message, s.details);
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > RESPONSE_MAX_BYTES) throw new KubeError(0, "TooLarge", `answer exceeds ${RESPONSE_MAX_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof KubeError) throw cause;
    throw new KubeError(0, "Unreachable", "the API server's answer was cut short", undefined, { cause });
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KubeError(0, "BadAnswer", `${path}: the answer is not JSON`, undefined, { cause });
  }
}
