// Owns CIDR blocks: parse strictly, test membership.
import { err, ok, type Result } from "../result.ts";
import { familyOf, ipBytes, ipFromBytes, parseIp, UNSPECIFIED_V4, type Ip } from "./ip.ts";

export interface Cidr {
  readonly ip: Ip;
  /** Prefix length in bits: 0–32 or 0–128. */
  readonly prefix: number;
}

/** `10.0.0.0/8`, `::1/128`, or a bare address (a full-length block). */
export function parseCidr(text: string): Result<Cidr, string> {
  const [addr = "", bits, ...more] = text.split("/");
  const ip = parseIp(addr);
  if (!ip.ok || more.length > 0) return err(`"${text}" is not an IP address or CIDR block`);
  const full = familyOf(ip.value) === 4 ? 32 : 128;
  if (bits === undefined) return ok({ ip: ip.value, prefix: full });
  if (!/^(0|[1-9]\d{0,2})$/.test(bits) || Number(bits) > full) return err(`"${text}": the prefix must be 0 to ${full}`);
  return ok({ ip: ip.value, prefix: Number(bits) });
}

/** From the wire: address bytes and a prefix length. */
export function cidrFromBytes(address: Uint8Array, length: number): Result<Cidr, string> {
  const ip = ipFromBytes(address);
  if (!ip.ok) return ip;
  const full = familyOf(ip.value) === 4 ? 32 : 128;
  if (length < 0 || length > full) return err(`prefix length ${length} is beyond ${full}`);
  return ok({ ip: ip.value, prefix: length });
}

export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  if (ip !== askedIp) ask(ip);
  if (familyOf(cidr.ip) !== askedFamily) return false;
  if (askedFamily === 4) return cidr.prefix === 0 || (bitsOfV4(cidr.ip) ^ askedBits) >>> (32 - cidr.prefix) === 0;
  const a = ipBytes(cidr.ip);
  const b = ipBytes(ip);
  const whole = cidr.prefix >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = cidr.prefix & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((a[whole] ?? 0) & mask) === ((b[whole] ?? 0) & mask);
}

/** Blocks are many and the address is one: the last one asked about is read once. */
let askedIp: Ip = UNSPECIFIED_V4;
let askedFamily = familyOf(UNSPECIFIED_V4);
let askedBits = 0;

function ask(ip: Ip): void {
  askedIp = ip;
  askedFamily = familyOf(ip);
  askedBits = askedFamily === 4 ? bitsOfV4(ip) : 0;
}

/** Every rule of every request compares addresses: nothing is allocated. */
function bitsOfV4(ip: Ip): number {
  let bits = 0;
  let part = 0;
  for (let i = 0; i < ip.length; i++) {
    const code = ip.charCodeAt(i);
    if (code === DOT) {
      bits = (bits << 8) | part;
      part = 0;
    } else part = part * 10 + code - ZERO;
  }
  return (bits << 8) | part;
}
const DOT = 46;
const ZERO = 48;

export const formatCidr = (cidr: Cidr): string => `${cidr.ip}/${cidr.prefix}`;
