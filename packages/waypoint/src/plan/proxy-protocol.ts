// Owns the PROXY protocol header (haproxy.org, versions 1 and 2): the client's address, told to a server that sees only the waypoint's.
import { familyOf, ipBytes, type SocketAddress } from "@ambit/core";

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const PROXY_COMMAND = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;

/** Addresses of two families cannot stand in one header: then it says that the addresses are unknown. */
export function proxyProtocolHeader(version: "v1" | "v2", source: SocketAddress, destination: SocketAddress): Uint8Array {
  const same = familyOf(source.ip) === familyOf(destination.ip);
  if (version === "v1") {
    const line = same ? `PROXY TCP${familyOf(source.ip)} ${source.ip} ${destination.ip} ${source.port} ${destination.port}\r\n` : "PROXY UNKNOWN\r\n";
    return new TextEncoder().encode(line);
  }
  if (!same) return Uint8Array.from([...SIGNATURE, 0x20, 0x00, 0, 0]);
  const addresses = [...ipBytes(source.ip), ...ipBytes(destination.ip), source.port >> 8, source.port & 255, destination.port >> 8, destination.port & 255];
  return Uint8Array.from([...SIGNATURE, PROXY_COMMAND, familyOf(source.ip) === 4 ? TCP4 : TCP6, 0, addresses.length, ...addresses]);
}
