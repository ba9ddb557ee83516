// Owns the octets of DNS messages (RFC 1035): one question in, an answer out. What is forwarded is never re-encoded.
import { err, familyOf, ipBytes, ok, type Ip, type Result } from "@ambit/core";

export const TYPE_A = 1;
export const TYPE_CNAME = 5;
export const TYPE_AAAA = 28;
const TYPE_OPT = 41;
const CLASS_IN = 1;
const HEADER_BYTES = 12;
const NAME_MAX = 255;
const LABEL_MAX = 63;
/** Without EDNS a UDP answer may be this long. */
const UDP_CLASSIC_BYTES = 512;
/** What we are ready to send over UDP whatever the client offers: below every usual MTU. */
const UDP_MAX_BYTES = 1232;

export const RCODE = { noError: 0, formatError: 1, serverFailure: 2 } as const;

export interface Question {
  readonly id: number;
  /** Lower case, without the final dot; empty for the root. */
  readonly name: string;
  readonly type: number;
  readonly recursionDesired: boolean;
  /** The question section as it came, echoed in the answer. */
  readonly section: Uint8Array;
  /** Largest answer the client takes over UDP. */
  readonly udpMax: number;
}

/** A query with exactly one question. Anything else is left to the name server, or refused if it is not even that. */
export function decodeQuestion(m: Uint8Array): Result<Question, string> {
  if (m.length < HEADER_BYTES) return err(`a message of ${m.length} bytes has no header`);
  const view = new DataView(m.buffer, m.byteOffset, m.length);
  const flags = view.getUint16(2);
  if ((flags & 0x8000) !== 0) return err("a response is no question");
  if ((flags & 0x7800) !== 0) return err("not a standard query");
  if (view.getUint16(4) !== 1) return err(`${view.getUint16(4)} questions instead of one`);
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = m[at];
    if (length === undefined) return err("the name ends early");
    at++;
    if (length === 0) break;
    if (length > LABEL_MAX) return err("a compressed name in a question");
    if (at + length > m.length || at + length - HEADER_BYTES > NAME_MAX) return err("the name is too long");
    labels.push(Array.from(m.subarray(at, at + length), (c) => String.fromCharCode(c)).join("").toLowerCase());
    at += length;
  }
  if (at + 4 > m.length) return err("the question ends early");
  const type = view.getUint16(at);
  if (view.getUint16(at + 2) !== CLASS_IN) return err("not of class IN");
  at += 4;
  return ok({ id: view.getUint16(0), name: labels.join("."), type, recursionDesired: (flags & 0x0100) !== 0, section: m.subarray(HEADER_BYTES, at), udpMax: offeredSize(m, at, view) });
}

/** The OPT record of EDNS, if it comes first among the additional records. */
function offeredSize(m: Uint8Array, at: number, view: DataView): number {
  const alone = view.getUint16(6) === 0 && view.getUint16(8) === 0 && view.getUint16(10) > 0;
  if (!alone || at + 11 > m.length || m[at] !== 0 || view.getUint16(at + 1) !== TYPE_OPT) return UDP_CLASSIC_BYTES;
  return Math.min(UDP_MAX_BYTES, Math.max(UDP_CLASSIC_BYTES, view.getUint16(at + 3)));
}

export interface Answer {
  readonly ips: readonly Ip[];
  /** The name that has the addresses, when it is not the one asked for. */
  readonly alias: string | undefined;
  readonly ttlSeconds: number;
}

/** Authoritative. Over `max` bytes the records are left out and the truncation flag says so. */
export function encodeAnswer(q: Question, answer: Answer, max: number): Uint8Array {
  const records: Uint8Array[] = [];
  const asked = Uint8Array.of(0xc0, HEADER_BYTES); // a pointer to the question's name
  const target = answer.alias === undefined ? undefined : encodeName(answer.alias);
  if (target !== undefined) records.push(record(asked, TYPE_CNAME, answer.ttlSeconds, target));
  for (const ip of answer.ips) records.push(record(target ?? asked, familyOf(ip) === 4 ? TYPE_A : TYPE_AAAA, answer.ttlSeconds, ipBytes(ip)));
  const size = records.reduce((n, r) => n + r.length, HEADER_BYTES + q.section.length);
  const fits = size <= max;
  return concat([header(q, RCODE.noError, true, !fits, fits ? records.length : 0), q.section, ...(fits ? records : [])]);
}

export const encodeFailure = (q: Pick<Question, "id" | "section" | "recursionDesired">, rcode: number): Uint8Array =>
  concat([header(q, rcode, false, false, 0), q.section]);

function header(q: Pick<Question, "id" | "recursionDesired" | "section">, rcode: number, authoritative: boolean, truncated: boolean, answers: number): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES);
  const view = new DataView(out.buffer);
  view.setUint16(0, q.id);
  view.setUint16(2, 0x8000 | (authoritative ? 0x0400 : 0) | (truncated ? 0x0200 : 0) | (q.recursionDesired ? 0x0100 : 0) | 0x0080 | rcode);
  view.setUint16(4, q.section.length === 0 ? 0 : 1);
  view.setUint16(6, answers);
  return out;
}

function record(name: Uint8Array, type: number, ttl: number, data: Uint8Array): Uint8Array {
  const fixed = new Uint8Array(10);
  const view = new DataView(fixed.buffer);
  view.setUint16(0, type);
  view.setUint16(2, CLASS_IN);
  view.setUint32(4, ttl);
  view.setUint16(8, data.length);
  return concat([name, fixed, data]);
}

function encodeName(name: string): Uint8Array {
  return concat([...name.split(".").map((label) => Uint8Array.of(label.length, ...Array.from(label, (c) => c.charCodeAt(0)))), Uint8Array.of(0)]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) { out.set(p, at); at += p.length; }
  return out;
}
