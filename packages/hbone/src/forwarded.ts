// Owns the `forwarded` header (RFC 7239) as tunnels use it: the client's address, and the service it meant.
import { err, formatSocketAddress, ok, parseSocketAddress, type Result, type SocketAddress } from "@ambit/core";

export interface Forwarded {
  readonly for?: SocketAddress;
  /** The hostname of the intended service. */
  readonly host?: string;
}

/** Longest: an IPv6 address and port, a hostname of 253 octets, and other proxies' parameters. */
const FORWARDED_MAX = 1024;
const HOST = /^[A-Za-z0-9_.-]{1,253}$/;
const PAIR = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]*)|"([^"\\]*)")$/;

/** `for="10.0.0.1:41234";host=web.default.svc.cluster.local` */
export function formatForwarded(f: Forwarded): string {
  const parts = [...(f.for === undefined ? [] : [`for="${formatSocketAddress(f.for)}"`]), ...(f.host !== undefined && HOST.test(f.host) ? [`host=${f.host}`] : [])];
  return parts.join(";");
}

/** The first element only: the nearest client's. Other parameters are passed over. */
export function parseForwarded(text: string): Result<Forwarded, string> {
  if (text.length > FORWARDED_MAX) return err(`forwarded of ${text.length} octets exceeds ${FORWARDED_MAX}`);
  const out: { for?: SocketAddress; host?: string } = {};
  const seen = new Set<string>();
  for (const part of (text.split(",")[0] ?? "").split(";")) {
    const match = PAIR.exec(part.trim());
    if (match === null) return err(`forwarded parameter ${JSON.stringify(part.slice(0, 100))} is not name=value`);
    const name = (match[1] ?? "").toLowerCase();
    const value = match[2] ?? match[3] ?? "";
    if (seen.has(name)) return err(`forwarded parameter ${name} comes twice`);
    seen.add(name);
    if (name === "for") {
      const address = parseSocketAddress(value);
      if (!address.ok) return err(`forwarded for: ${address.error}`);
      out.for = address.value;
    } else if (name === "host") {
      if (!HOST.test(value)) return err(`forwarded host ${JSON.stringify(value.slice(0, 100))} is not a hostname`);
      out.host = value;
    }
  }
  return ok(out);
}
