// Owns what the tests of HTTP/1.1 share: a connection of ours whose events are short lines.
import { H1Client } from "./client.ts";
import { H1Server, type H1ServerEvents } from "./server.ts";

export const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
export const output = (of: { readonly output: { take(): Uint8Array[] } }): string => Buffer.concat(of.output.take()).toString("latin1");

/** A server that answers every request with 200 when it came whole, unless `answer` is given. */
export class ServerLog {
  readonly log: string[] = [];
  body = "";
  readonly server: H1Server;
  problem: string | undefined;

  constructor(answer?: (log: ServerLog) => void, more: Partial<H1ServerEvents> = {}) {
    this.server = new H1Server({
      onRequest: (head) => this.log.push(`${head.method} ${head.authority} ${head.target} 1.${head.minor} ${head.fields.join("|")}${head.upgrade === undefined ? "" : ` upgrade=${head.upgrade}`}${head.expectContinue ? " expect" : ""}${head.keepAlive ? "" : " close"}`),
      onData: (piece) => { this.body += Buffer.from(piece).toString("latin1"); },
      onTrailers: (fields) => this.log.push(`trailers ${fields.join("|")}`),
      onEnd: () => {
        if (this.body !== "") this.log.push(`body ${this.body}`);
        this.body = "";
        this.log.push("end");
        if (answer !== undefined) return answer(this);
        this.server.respond(200, [], "none", false);
        this.server.end([]);
      },
      onFailed: (problem, answerable) => { this.problem = problem.reason; this.log.push(`failed ${problem.status}${answerable ? "" : " late"}`); },
      ...more,
    });
  }

  /** Everything in pieces of `size`; one octet at a time by default is the hardest. */
  feed(text: string, size = text.length): this {
    for (let at = 0; at < text.length; at += Math.max(1, size)) this.server.receive(bytes(text.slice(at, at + Math.max(1, size))));
    return this;
  }
}

export class ClientLog {
  readonly log: string[] = [];
  body = "";
  problem: string | undefined;
  readonly client: H1Client;

  constructor() {
    this.client = new H1Client({
      onInformational: (status, fields) => this.log.push(`info ${status} ${fields.join("|")}`.trim()),
      onResponse: (head) => this.log.push(`answer ${head.status} ${head.fields.join("|")}`.trim()),
      onData: (piece) => { this.body += Buffer.from(piece).toString("latin1"); },
      onTrailers: (fields) => this.log.push(`trailers ${fields.join("|")}`),
      onEnd: () => { if (this.body !== "") this.log.push(`body ${this.body}`); this.body = ""; this.log.push("end"); },
      onFailed: (problem) => { this.problem = problem.reason; this.log.push("failed"); },
    });
  }

  ask(method = "GET", upgrade?: string): this {
    this.client.request(method, "/", "a", [], "none", upgrade);
    return this;
  }

  feed(text: string, size = text.length): this {
    for (let at = 0; at < text.length; at += Math.max(1, size)) this.client.receive(bytes(text.slice(at, at + Math.max(1, size))));
    return this;
  }
}
