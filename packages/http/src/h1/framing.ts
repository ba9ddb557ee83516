// Owns how the end of a message is found (RFC 9112 §6) and what its head says about the connection; whatever is ambiguous is refused.
import { CONNECTION_OPTIONS_MAX, H1Error } from "./limits.ts";

/** Octets of the body when it is 0 or more; else one of these. */
export const CHUNKED = -1;
export const UNTIL_CLOSE = -2;
/** After an upgrade: octets of another protocol, both ways, until the end. */
export const TUNNEL = -3;

export interface HeadFacts {
  /** -1: not said. */
  readonly contentLength: number;
  readonly chunked: boolean;
  readonly close: boolean;
  readonly keepAlive: boolean;
  /** `Connection` has `upgrade`. */
  readonly upgrades: boolean;
  readonly upgrade: string | undefined;
  readonly expectContinue: boolean;
}

const LENGTH = /^\d{1,15}$/;
/** Framing and routing never depend on what a Connection field names. */
const NEVER_NAMED = new Set(["host", "content-length", "transfer-encoding"]);

/** Throws H1Error. */
export function headFacts(fields: readonly string[], minor: 0 | 1): HeadFacts {
  let contentLength = -1;
  let chunked = false;
  let connection = "";
  let upgrade: string | undefined;
  let expectContinue = false;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const value = fields[i + 1] ?? "";
    switch (fields[i]) {
      case "content-length":
        if (contentLength !== -1) throw new H1Error(400, "content-length comes twice");
        if (!LENGTH.test(value)) throw new H1Error(400, "content-length is not a number");
        contentLength = Number(value);
        break;
      case "transfer-encoding":
        if (chunked) throw new H1Error(400, "transfer-encoding comes twice");
        if (value.toLowerCase() !== "chunked") throw new H1Error(/^[\w!#$%&'*+.^`|~-]+$/.test(value) ? 501 : 400, "a transfer coding other than chunked");
        chunked = true;
        break;
      case "connection":
        connection = connection === "" ? value : `${connection},${value}`;
        break;
      case "upgrade":
        upgrade = upgrade === undefined ? value : `${upgrade},${value}`;
        break;
      case "expect":
        if (value.toLowerCase() !== "100-continue") throw new H1Error(417, "an expectation other than 100-continue");
        expectContinue = true;
        break;
      default:
        break;
    }
  }
  if (chunked && contentLength !== -1) throw new H1Error(400, "content-length beside transfer-encoding");
  if (chunked && minor === 0) throw new H1Error(400, "transfer-encoding in HTTP/1.0");
  if (connection === "") return { contentLength, chunked, close: minor === 0, keepAlive: minor === 1, upgrades: false, upgrade, expectContinue };
  const options = connectionOptions(connection);
  const close = options.includes("close") || (minor === 0 && !options.includes("keep-alive"));
  return { contentLength, chunked, close, keepAlive: !close, upgrades: options.includes("upgrade"), upgrade, expectContinue };
}

/** The options of a Connection field, lower case. Throws H1Error. */
export function connectionOptions(value: string): string[] {
  const options = value.toLowerCase().split(",", CONNECTION_OPTIONS_MAX + 1).map((o) => o.trim()).filter((o) => o !== "");
  if (options.length > CONNECTION_OPTIONS_MAX) throw new H1Error(400, "too many options in Connection");
  for (const option of options) if (NEVER_NAMED.has(option) || option.startsWith(":")) throw new H1Error(400, `Connection names ${option}`);
  return options;
}

/** RFC 9110 §6.5.1: in trailers they would change what was decided by the head. */
const NEVER_TRAILERS = new Set(["content-length", "transfer-encoding", "host", "connection", "te", "trailer", "upgrade", "keep-alive", "proxy-connection"]);
export const neverInTrailers = (name: string): boolean => NEVER_TRAILERS.has(name);
