// Owns reading what tcpdump saw: a pcap stream in, TCP payloads out. Pure.

export interface Segment {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Buffer;
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const ETHERNET = 14;
const TLS_1_3 = 0x0304;

/** Complete records of a pcap file in host order (Ethernet, IPv4, TCP); anything else in it is passed over. */
export function segments(pcap: Buffer): Segment[] {
  const out: Segment[] = [];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= pcap.length; ) {
    const length = pcap.readUInt32LE(at + 8);
    const frame = pcap.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    if (frame.length < length) break;
    at += RECORD_HEADER + length;
    const segment = decodeFrame(frame);
    if (segment !== undefined) out.push(segment);
  }
  return out;
}

function decodeFrame(frame: Buffer): Segment | undefined {
  if (frame.length < ETHERNET + 40 || frame.readUInt16BE(12) !== 0x0800) return undefined;
  const ip = frame.subarray(ETHERNET);
  const ipLength = ((ip[0] ?? 0) & 0x0f) * 4;
  if (ip[9] !== 6 || ip.length < ipLength + 20) return undefined;
  const tcp = ip.subarray(ipLength, ip.readUInt16BE(2));
  if (tcp.length < 20) return undefined;
  const dotted = (o: number) => `${ip[o]}.${ip[o + 1]}.${ip[o + 2]}.${ip[o + 3]}`;
  return {
    source: dotted(12), destination: dotted(16), sourcePort: tcp.readUInt16BE(0), destinationPort: tcp.readUInt16BE(2),
    payload: tcp.subarray(((tcp[12] ?? 0) >> 4) * 4),
  };
}

/** The version a TLS server chose, if this payload begins with its ServerHello (RFC 8446 §4.1.3, supported_versions). */
export function tlsVersionChosen(payload: Buffer): number | undefined {
  // record header 5, handshake header 4, legacy version 2, random 32, session id
  if (payload.length < 48 || payload[0] !== 22 || payload[5] !== 2) return undefined;
  let at = 43;
  at += 1 + (payload[at] ?? 0) + 2 + 1;
  if (at + 2 > payload.length) return undefined;
  const end = Math.min(payload.length, at + 2 + payload.readUInt16BE(at));
  for (at += 2; at + 4 <= end; ) {
    const size = payload.readUInt16BE(at + 2);
    if (payload.readUInt16BE(at) === 43 && size === 2 && at + 6 <= end) return payload.readUInt16BE(at + 4);
    at += 4 + size;
  }
  return payload.readUInt16BE(9);
}

export const isTls13 = (version: number | undefined): boolean => version === TLS_1_3;
