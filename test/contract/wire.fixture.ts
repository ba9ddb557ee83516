// Owns requests as bytes on a connection: what was sent, what came back, and a watch line by line.
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";
import type { ClientConfig } from "@ambit/kube";

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject { [key: string]: Json }

/** A watch that says nothing for this long will not say it. */
const SILENCE_MS = 20_000;

export interface Answer {
  readonly code: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** What the text means as JSON; undefined when it is none. */
  readonly json: Json | undefined;
}

export interface Asking {
  readonly type?: string;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** Instead of the client certificate; "" is nobody. */
  readonly token?: string;
}

export class Wire {
  readonly #url: URL;
  readonly #agents: { readonly admin: Agent; readonly bare: Agent };

  constructor(config: ClientConfig) {
    this.#url = new URL(config.server);
    const common = { keepAlive: true, ca: config.ca, rejectUnauthorized: config.insecureSkipTlsVerify !== true };
    this.#agents = { admin: new Agent({ ...common, cert: config.cert, key: config.key }), bare: new Agent(common) };
  }

  #send(method: string, path: string, body: Buffer | undefined, how: Asking): Promise<IncomingMessage> {
    const headers: Record<string, string | string[]> = { ...how.headers };
    if (how.accept !== undefined) headers["accept"] = how.accept;
    if (how.token !== undefined && how.token !== "") headers["authorization"] = `Bearer ${how.token}`;
    if (body !== undefined) {
      if (how.type !== "") headers["content-type"] = how.type ?? "application/json";
      headers["content-length"] = String(body.length);
    }
    const agent = how.token === undefined ? this.#agents.admin : this.#agents.bare;
    return new Promise((resolve, reject) => {
      const sent = request({ hostname: this.#url.hostname, port: this.#url.port, agent, method, path, headers }, resolve);
      sent.on("error", reject);
      sent.end(body);
    });
  }

  async ask(method: string, path: string, body?: unknown, how: Asking = {}): Promise<Answer> {
    const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    const message = await this.#send(method, path, bytes, how);
    let text = "";
    for await (const chunk of message.setEncoding("utf8")) text += String(chunk);
    return { code: message.statusCode ?? 0, headers: message.headers, text, json: parse(text) };
  }

  async watch(path: string, how: Asking = {}): Promise<WatchStream> {
    return new WatchStream(path, await this.#send("GET", path, undefined, how));
  }

  close(): void {
    this.#agents.admin.destroy();
    this.#agents.bare.destroy();
  }
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

export interface WatchEvent { readonly type: string; readonly object: JsonObject }

export class WatchStream {
  readonly #path: string;
  readonly #message: IncomingMessage;
  readonly #lines: AsyncIterator<string>;

  constructor(path: string, message: IncomingMessage) {
    this.#path = path;
    this.#message = message;
    message.on("error", () => undefined);
    this.#lines = createInterface({ input: message })[Symbol.asyncIterator]();
  }

  get code(): number { return this.#message.statusCode ?? 0; }
  get headers(): IncomingHttpHeaders { return this.#message.headers; }

  /** Null at the end of the stream. */
  async next(): Promise<WatchEvent | null> {
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the watch of ${this.#path} said nothing for ${SILENCE_MS} ms`)), SILENCE_MS);
    });
    try {
      const { value, done } = await Promise.race([this.#lines.next(), silence]);
      return done === true ? null : (JSON.parse(String(value)) as WatchEvent);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#message.destroy();
  }
}
