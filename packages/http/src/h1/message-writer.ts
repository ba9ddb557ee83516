// Owns writing messages (RFC 9112): heads, and bodies in the framing that the head announced.
import type { Fields } from "../hpack/decoder.ts";
import type { Output } from "../output.ts";
import { CHUNKED, neverInTrailers } from "./framing.ts";

/** What a head says of framing and connection besides its fields. */
export interface HeadEnd {
  /** Octets, or CHUNKED: said. UNTIL_CLOSE, undefined: not said. */
  readonly body: number | undefined;
  /** Nothing follows the head, whatever it says. */
  readonly bodiless: boolean;
  readonly connection: string | undefined;
  readonly upgrade: string | undefined;
}

/** A shell that writes beyond what it announced has a defect; the connection is given up rather than the framing. */
export class BodyMismatch extends Error {
  override readonly name = "BodyMismatch";
}

export class MessageWriter {
  readonly #output: Output;
  /** Of the body that is being written: octets left, CHUNKED, or UNTIL_CLOSE and TUNNEL alike: as they are. */
  #left = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  /** `more`: behind `fields`. */
  request(method: string, target: string, authority: string, fields: Fields, more: Fields, end: HeadEnd): void {
    const o = this.#output;
    o.text(method);
    o.text(" ");
    o.text(target);
    o.text(" HTTP/1.1");
    o.newLine();
    o.line("host", authority);
    this.#lines(fields);
    this.#fields(more, end);
  }

  response(status: number, fields: Fields, end: HeadEnd): void {
    this.#statusLine(status);
    this.#fields(fields, end);
  }

  informational(status: number, fields: Fields): void {
    this.#statusLine(status);
    this.#lines(fields);
    this.#output.newLine();
  }

  /** Throws BodyMismatch. */
  data(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#left === CHUNKED) {
      this.#output.text(bytes.length.toString(16));
      this.#output.newLine();
      this.#output.payload(bytes);
      this.#output.newLine();
      return;
    }
    if (this.#left >= 0) {
      if (bytes.length > this.#left) throw new BodyMismatch("more body than its content-length");
      this.#left -= bytes.length;
    }
    this.#output.payload(bytes);
  }

  /** Trailers go out only in a chunked body, and none that would be read as framing (HTTP/2 may have had them). Throws BodyMismatch. */
  end(trailers: Fields): void {
    if (this.#left > 0) throw new BodyMismatch("less body than its content-length");
    if (this.#left !== CHUNKED) return;
    this.#output.text("0");
    this.#output.newLine();
    for (let i = 0; i + 1 < trailers.length; i += 2) if (!neverInTrailers(trailers[i] ?? "")) this.#line(trailers[i] ?? "", trailers[i + 1] ?? "");
    this.#output.newLine();
    this.#left = 0;
  }

  /** Octets as they are from here on. */
  tunnel(): void {
    this.#left = -2;
  }

  #statusLine(status: number): void {
    this.#output.text(STATUS_LINES.get(status) ?? `HTTP/1.1 ${status} `);
    this.#output.newLine();
  }

  #fields(fields: Fields, end: HeadEnd): void {
    const o = this.#output;
    this.#lines(fields);
    if (end.body !== undefined && end.body >= 0) this.#line("content-length", String(end.body));
    else if (end.body === CHUNKED) this.#line("transfer-encoding", "chunked");
    if (end.connection !== undefined) this.#line("connection", end.connection);
    if (end.upgrade !== undefined) this.#line("upgrade", end.upgrade);
    o.newLine();
    this.#left = end.bodiless ? 0 : (end.body ?? 0);
  }

  #lines(fields: Fields): void {
    for (let i = 0; i + 1 < fields.length; i += 2) this.#line(fields[i] ?? "", fields[i + 1] ?? "");
  }

  #line(name: string, value: string): void {
    this.#output.line(name, value);
  }
}

/** RFC 9110 §15 and its registry. */
const REASONS: ReadonlyMap<number, string> = new Map([[100, "Continue"], [101, "Switching Protocols"], [102, "Processing"], [103, "Early Hints"], [200, "OK"], [201, "Created"],
  [202, "Accepted"], [203, "Non-Authoritative Information"], [204, "No Content"], [205, "Reset Content"], [206, "Partial Content"], [300, "Multiple Choices"],
  [301, "Moved Permanently"], [302, "Found"], [303, "See Other"], [304, "Not Modified"], [307, "Temporary Redirect"], [308, "Permanent Redirect"], [400, "Bad Request"],
  [401, "Unauthorized"], [403, "Forbidden"], [404, "Not Found"], [405, "Method Not Allowed"], [406, "Not Acceptable"], [408, "Request Timeout"], [409, "Conflict"], [410, "Gone"],
  [411, "Length Required"], [412, "Precondition Failed"], [413, "Content Too Large"], [414, "URI Too Long"], [415, "Unsupported Media Type"], [416, "Range Not Satisfiable"],
  [417, "Expectation Failed"], [421, "Misdirected Request"], [422, "Unprocessable Content"], [425, "Too Early"], [426, "Upgrade Required"], [429, "Too Many Requests"],
  [431, "Request Header Fields Too Large"], [500, "Internal Server Error"], [501, "Not Implemented"], [502, "Bad Gateway"], [503, "Service Unavailable"], [504, "Gateway Timeout"],
  [505, "HTTP Version Not Supported"], [511, "Network Authentication Required"]]);
const STATUS_LINES: ReadonlyMap<number, string> = new Map([...REASONS].map(([status, reason]) => [status, `HTTP/1.1 ${status} ${reason}`]));
