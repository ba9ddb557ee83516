// Owns the `:authority` of a tunnel request: an address or a service hostname, always with a port.
import { err, formatSocketAddress, ok, parseSocketAddress, type Result, type SocketAddress } from "@ambit/core";

export type Authority =
  | { readonly kind: "address"; readonly address: SocketAddress }
  | { readonly kind: "hostname"; readonly hostname: string; readonly port: number };

/** A DNS name has at most 253 octets; brackets, colon and port come on top. */
const AUTHORITY_MAX = 262;
const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
/** The last label is not all digits, so that no broken address passes as a name. */
const HOSTNAME = new RegExp(`^(?=.{1,253}$)(?:${LABEL}\\.)*(?!\\d+$)${LABEL}$`);
const PORT = /^[1-9]\d{0,4}$/;

export const formatAuthority = (a: Authority): string => (a.kind === "address" ? formatSocketAddress(a.address) : `${a.hostname}:${a.port}`);

/** `10.0.0.1:80`, `[2001:db8::1]:80` or `web.default.svc.cluster.local:80` (folded to lower case). Nothing else: no user, no blank, no default port. */
export function parseAuthority(text: string): Result<Authority, string> {
  const bad = (why: string): Result<Authority, string> => err(`authority ${JSON.stringify(text.slice(0, AUTHORITY_MAX))}: ${why}`);
  if (text.length > AUTHORITY_MAX) return bad("too long");
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, Math.max(0, colon)).toLowerCase();
  const port = text.slice(colon + 1);
  if (colon < 0 || !PORT.test(port) || Number(port) > 65535) return bad("it must end in a port from 1 to 65535");
  if (host.startsWith("[") || /^[\d.]+$/.test(host)) {
    const address = parseSocketAddress(text);
    return address.ok ? ok({ kind: "address", address: address.value }) : bad("not an address and port");
  }
  if (!HOSTNAME.test(host)) return bad("neither an address nor a hostname");
  return ok({ kind: "hostname", hostname: host, port: Number(port) });
}
