// Owns the small HTTPS client of the API server's own tests; nothing else imports it.
import { readFileSync } from "node:fs";
import { request, Agent, type RequestOptions } from "node:https";
import { createInterface } from "node:readline";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { isObject, type JsonObject } from "./json.ts";
import { startApiServer, type ApiServerOptions, type RunningApiServer } from "./server.ts";

export interface Answer {
  readonly code: number;
  readonly body: JsonObject;
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
}

interface Ask {
  readonly type?: string;
  readonly accept?: string;
  readonly headers?: Record<string, string | string[]>;
}

export class TestClient {
  readonly #base: RequestOptions;
  readonly #agent: Agent;

  constructor(url: string, kubeconfig: string, token?: string) {
    const { hostname, port } = new URL(url);
    const config = JSON.parse(readFileSync(kubeconfig, "utf8")) as {
      clusters: { cluster: Record<string, string> }[];
      users: { user: Record<string, string> }[];
    };
    const decode = (text: string | undefined) => Buffer.from(text ?? "", "base64").toString();
    const user = token === undefined ? config.users[0]?.user : undefined;
    this.#agent = new Agent({
      keepAlive: true,
      ca: decode(config.clusters[0]?.cluster["certificate-authority-data"]),
      ...(user === undefined ? {} : { cert: decode(user["client-certificate-data"]), key: decode(user["client-key-data"]) }),
    });
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    this.#base = { hostname, port, agent: this.#agent, headers };
  }

  ask(method: string, path: string, body?: unknown, options: Ask = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | string[]> = { ...(this.#base.headers as Record<string, string>), ...options.headers };
      if (options.accept !== undefined) headers["accept"] = options.accept;
      const bytes = body === undefined ? undefined : Buffer.from(typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body));
      if (body !== undefined) headers["content-type"] = options.type ?? "application/json";
      // Node leaves the length of a DELETE's body out.
      if (bytes !== undefined) headers["content-length"] = String(bytes.length);
      const sent = request({ ...this.#base, method, path, headers }, (message) => {
        read(message).then(resolve, reject);
      });
      sent.on("error", reject);
      sent.end(bytes);
    });
  }

  /** Opens a watch; events come one by one. */
  async watch(path: string, accept?: string): Promise<TestWatch> {
    const message = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { ...(this.#base.headers as Record<string, string>), ...(accept === undefined ? {} : { accept }) };
      request({ ...this.#base, method: "GET", path, headers }, resolve).on("error", reject).end();
    });
    return new TestWatch(message);
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function read(message: IncomingMessage): Promise<Answer> {
  let text = "";
  for await (const chunk of message) text += String(chunk);
  let body: JsonObject = {};
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) body = value;
  } catch {
    // Not JSON: the test looks at the text.
  }
  return { code: message.statusCode ?? 0, body, text, headers: message.headers };
}

export class TestWatch {
  readonly #message: IncomingMessage;
  readonly #lines: AsyncIterator<string>;

  constructor(message: IncomingMessage) {
    this.#message = message;
    message.on("error", () => undefined);
    this.#lines = createInterface({ input: message })[Symbol.asyncIterator]();
  }

  get code(): number {
    return this.#message.statusCode ?? 0;
  }

  /** The next event, or null at the end of the stream. */
  async next(): Promise<{ type: string; object: JsonObject } | null> {
    const { value, done } = await this.#lines.next();
    if (done === true) return null;
    return JSON.parse(value) as { type: string; object: JsonObject };
  }

  close(): void {
    this.#message.destroy();
  }
}

export interface Rig {
  readonly server: RunningApiServer;
  readonly admin: TestClient;
  /** A client with a certificate of its own. */
  as(user: string, groups?: readonly string[]): Promise<TestClient>;
  withToken(token: string): TestClient;
  close(): Promise<void>;
}

export async function startRig(options: ApiServerOptions = {}): Promise<Rig> {
  const server = await startApiServer(options);
  const clients: TestClient[] = [];
  const keep = (client: TestClient) => {
    clients.push(client);
    return client;
  };
  const admin = keep(new TestClient(server.url, server.adminKubeconfig));
  return {
    server,
    admin,
    async as(user, groups = []) {
      const path = `${server.adminKubeconfig}.${clients.length}`;
      await server.writeKubeconfig(path, user, groups);
      return keep(new TestClient(server.url, path));
    },
    withToken: (token) => keep(new TestClient(server.url, server.adminKubeconfig, token)),
    async close() {
      for (const client of clients) client.close();
      await server.close();
    },
  };
}

export const CM = "/api/v1/namespaces/default/configmaps";
export const PODS = "/api/v1/namespaces/default/pods";

export function configMap(name: string, data: JsonObject = {}): JsonObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

export function pod(name: string, spec: JsonObject = {}): JsonObject {
  return { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { containers: [{ name: "main", image: "app:1" }], ...spec } };
}
