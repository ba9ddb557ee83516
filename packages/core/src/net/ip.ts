// Owns IP addresses: canonical text inside the domain, 4 or 16 bytes on the wire.
import { err, ok, type Result } from "../result.ts";

/** Canonical text: dotted quad, or RFC 5952 IPv6. Two equal addresses have equal text. */
export type Ip = string & { readonly __brand: "Ip" };

export type Family = 4 | 6;

export const familyOf = (ip: Ip): Family => (ip.includes(":") ? 6 : 4);
export const isLoopback = (ip: Ip): boolean => ip.startsWith("127.") || ip === "::1";
export const UNSPECIFIED_V4: Ip = "0.0.0.0" as Ip;
export const LOOPBACK_V4: Ip = "127.0.0.1" as Ip;

/** Accepts dotted quad (no leading zeros) and IPv6 text; a v4-mapped IPv6 address becomes its IPv4. No zone ids. */
export function parseIp(text: string): Result<Ip, string> {
  // What a dual-stack socket says of an IPv4 peer; what is valid dotted quad is canonical as it is.
  const v4 = text.startsWith(V4_MAPPED) ? text.slice(V4_MAPPED.length) : text;
  if (!v4.includes(":") && (v4 === text || v4.includes("."))) return readV4(v4, SCRATCH) ? ok(v4 as Ip) : err(`"${text}" is not an IP address`);
  const bytes = bytesOfV6(text);
  if (bytes === undefined) return err(`"${text}" is not an IP address`);
  return ok(textOf(bytes));
}

const V4_MAPPED = "::ffff:";

/** 4 or 16 bytes; any other length is refused. */
export function ipFromBytes(bytes: Uint8Array): Result<Ip, string> {
  if (bytes.length !== 4 && bytes.length !== 16) return err(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  return ok(textOf(bytes));
}

/** 4 or 16 bytes in network order. */
export function ipBytes(ip: Ip): Uint8Array {
  const bytes = ip.includes(":") ? bytesOfV6(ip) : bytesOfV4(ip);
  if (bytes === undefined) throw new Error(`defect: ${ip} was branded as an IP`);
  return bytes;
}

function bytesOfV4(text: string): Uint8Array | undefined {
  const out = new Uint8Array(4);
  return readV4(text, out) ? out : undefined;
}

/** Where nobody wants the bytes. */
const SCRATCH = new Uint8Array(4);

/** By hand, and without garbage: every connection has several addresses. False: it is none, and `out` is of no use. */
function readV4(text: string, out: Uint8Array): boolean {
  if (text.length > 15) return false;
  let part = 0;
  let value = 0;
  let digits = 0;
  for (let i = 0; i <= text.length; i++) {
    const digit = i === text.length ? DOT : text.charCodeAt(i) - 48;
    if (digit === DOT) {
      if (digits === 0 || part > 3) return false;
      out[part++] = value;
      value = 0;
      digits = 0;
    } else {
      // no leading zero, nothing above 255
      if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return false;
      value = value * 10 + digit;
      digits++;
      if (value > 255) return false;
    }
  }
  return part === 4;
}
const DOT = -2;

function bytesOfV6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2 || text.includes(":::")) return undefined;
  const groups = halves.map((half) => groupsOf(half));
  const [head, tail] = groups;
  if (head === undefined || groups.some((g) => g === undefined)) return undefined;
  const rest = tail ?? [];
  const missing = 8 - head.length - rest.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...new Array<number>(halves.length === 1 ? 0 : missing).fill(0), ...rest];
  const out = new Uint8Array(16);
  all.forEach((g, i) => { out[2 * i] = g >> 8; out[2 * i + 1] = g & 0xff; });
  return out;
}

function groupsOf(half: string): number[] | undefined {
  if (half === "") return [];
  const out: number[] = [];
  const parts = half.split(":");
  for (const [i, part] of parts.entries()) {
    if (part.includes(".") && i === parts.length - 1) {
      const v4 = bytesOfV4(part);
      if (v4 === undefined) return undefined;
      out.push(((v4[0] ?? 0) << 8) | (v4[1] ?? 0), ((v4[2] ?? 0) << 8) | (v4[3] ?? 0));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) out.push(parseInt(part, 16));
    else return undefined;
  }
  return out;
}

function textOf(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Ip;
  if (bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 0xff && bytes[11] === 0xff)
    return [...bytes.subarray(12)].join(".") as Ip;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  const run = longestZeroRun(groups);
  const hex = (g: readonly number[]) => g.map((x) => x.toString(16)).join(":");
  if (run === undefined) return hex(groups) as Ip;
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}` as Ip;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } | undefined {
  let best: { start: number; length: number } | undefined;
  for (let i = 0; i < groups.length; i++) {
    let n = 0;
    while (i + n < groups.length && groups[i + n] === 0) n++;
    if (n >= 2 && n > (best?.length ?? 0)) best = { start: i, length: n };
    i += n;
  }
  return best;
}
