// Owns the PROXY protocol header (version 2) that an application tunnel starts with: who connected, to what, as whom.
import { familyOf, formatIdentity, ipBytes, type Identity, type Ip, type SocketAddress } from "@ambit/core";

const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const VERSION_2_PROXY = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;
/** Istio's TLV: the SPIFFE URI of the peer. */
const TLV_IDENTITY = 0xd0;

/** Both addresses must be of one family: a v4 address beside a v6 one is written v4-mapped. */
export function proxyHeader(source: SocketAddress, destination: SocketAddress, peer: Identity | undefined): Uint8Array {
  const v6 = familyOf(source.ip) === 6 || familyOf(destination.ip) === 6;
  const address = (ip: Ip): Uint8Array => (v6 && familyOf(ip) === 4 ? Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), ipBytes(ip)]) : ipBytes(ip));
  const uri = peer === undefined ? undefined : Buffer.from(formatIdentity(peer));
  const tlv = uri === undefined ? Buffer.alloc(0) : Buffer.concat([Buffer.from([TLV_IDENTITY, uri.length >> 8, uri.length & 0xff]), uri]);
  const body = Buffer.concat([address(source.ip), address(destination.ip), u16(source.port), u16(destination.port), tlv]);
  return Buffer.concat([SIGNATURE, Buffer.from([VERSION_2_PROXY, v6 ? TCP6 : TCP4]), u16(body.length), body]);
}

function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
}
