// Owns the PROXY protocol header (haproxy.org, versions 1 and 2): who connected to what, and as whom, for a server that sees only the proxy.
import { formatIdentity, type Identity } from "../identity/spiffe.ts";
import { familyOf, ipBytes, type Ip } from "./ip.ts";
import type { SocketAddress } from "./socket-address.ts";

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const PROXY_COMMAND = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;
/** Istio's TLV: the SPIFFE URI of the peer. */
const TLV_IDENTITY = 0xd0;
const V4_MAPPED = "::ffff:";

/**
 * A v4 address beside a v6 one is written v4-mapped, as HAProxy does: nothing is lost. (ztunnel then leaves both addresses out, Envoy cannot
 * write such a header at all.) Version 1 has no place for `peer`.
 */
export function proxyProtocolHeader(version: "v1" | "v2", source: SocketAddress, destination: SocketAddress, peer?: Identity): Uint8Array {
  const v6 = familyOf(source.ip) === 6 || familyOf(destination.ip) === 6;
  if (version === "v1") {
    const text = (ip: Ip): string => (v6 && familyOf(ip) === 4 ? `${V4_MAPPED}${ip}` : ip);
    return new TextEncoder().encode(`PROXY TCP${v6 ? 6 : 4} ${text(source.ip)} ${text(destination.ip)} ${source.port} ${destination.port}\r\n`);
  }
  const octets = (ip: Ip): readonly number[] => [...(v6 && familyOf(ip) === 4 ? MAPPED_OCTETS : []), ...ipBytes(ip)];
  const uri = peer === undefined ? [] : [...new TextEncoder().encode(formatIdentity(peer))];
  const body = [...octets(source.ip), ...octets(destination.ip), ...u16(source.port), ...u16(destination.port), ...(uri.length === 0 ? [] : [TLV_IDENTITY, ...u16(uri.length), ...uri])];
  return Uint8Array.from([...SIGNATURE, PROXY_COMMAND, v6 ? TCP6 : TCP4, ...u16(body.length), ...body]);
}

const MAPPED_OCTETS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const u16 = (value: number): [number, number] => [value >> 8, value & 0xff];
