// Owns the octets of DNS messages (RFC 1035, RFC 6891): a question in, an answer out. What is forwarded is never re-encoded.
import { err, familyOf, ipBytes, ok, type Ip, type Result } from "@ambit/core";

export const TYPE_A = 1;
export const TYPE_CNAME = 5;
export const TYPE_AAAA = 28;
export const TYPE_IXFR = 251;
export const TYPE_AXFR = 252;
const TYPE_OPT = 41;
const CLASS_IN = 1;
const HEADER_BYTES = 12;
/** Of a name on the wire, with the root's octet. */
const NAME_MAX_BYTES = 255;
const LABEL_MAX_BYTES = 63;
/** Without EDNS a UDP answer may be this long. */
const UDP_CLASSIC_BYTES = 512;
/** What we are ready to send over UDP whatever the client offers: below every usual MTU. */
const UDP_MAX_BYTES = 1232;
const OPT_BYTES = 11;
const FLAG_RESPONSE = 0x8000;
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;
const OPT_DNSSEC_OK = 0x8000;

export const RCODE = { noError: 0, formatError: 1, serverFailure: 2, notImplemented: 4, refused: 5 } as const;

export interface Question {
  readonly kind: "question";
  readonly id: number;
  /** Lower case (ASCII only), without the final dot; empty for the root. */
  readonly name: string;
  readonly type: number;
  readonly recursionDesired: boolean;
  /** The question section as it came, echoed in the answer. */
  readonly section: Uint8Array;
  /** Largest answer the client takes over UDP, within our own bound. */
  readonly udpMax: number;
  /** undefined: the client does not speak EDNS, so neither do we. */
  readonly edns: { readonly dnssecOk: boolean } | undefined;
}

/** A message that is nothing for us to answer, yet may be fine for a name server: another operation, class or EDNS version. */
export interface Opaque { readonly kind: "opaque"; readonly id: number; readonly recursionDesired: boolean; readonly because: string }

/** An error is a message that nobody could answer. Never throws. */
export function decodeQuery(m: Uint8Array): Result<Question | Opaque, string> {
  if (m.length < HEADER_BYTES) return err(`a message of ${m.length} bytes has no header`);
  const view = new DataView(m.buffer, m.byteOffset, m.length);
  const flags = view.getUint16(2);
  if ((flags & FLAG_RESPONSE) !== 0) return err("a response is no question");
  const head = { id: view.getUint16(0), recursionDesired: (flags & FLAG_RECURSION_DESIRED) !== 0 };
  const opaque = (because: string): Result<Opaque, string> => ok({ kind: "opaque", ...head, because });
  if ((flags & 0x7800) !== 0) return opaque("it is not a standard query");
  if (view.getUint16(4) !== 1) return opaque(`it has ${view.getUint16(4)} questions instead of one`);
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = m[at];
    if (length === undefined) return err("the name ends early");
    at++;
    if (length === 0) break;
    if (length > LABEL_MAX_BYTES) return err("a compressed name in a question");
    // The root's octet has to fit too.
    if (at + length >= m.length) return err("the name ends early");
    if (at + length + 1 - HEADER_BYTES > NAME_MAX_BYTES) return err("the name is too long");
    labels.push(Array.from(m.subarray(at, at + length), (c) => String.fromCharCode(c >= 0x41 && c <= 0x5a ? c + 0x20 : c)).join(""));
    at += length;
  }
  if (at + 4 > m.length) return err("the question ends early");
  if (view.getUint16(at + 2) !== CLASS_IN) return opaque("it is not of class IN");
  // As text it would look like two labels.
  if (labels.some((l) => l.includes("."))) return opaque("a label of its name contains a dot");
  const section = m.subarray(HEADER_BYTES, at + 4);
  const opt = decodeOpt(m, view, at + 4);
  if (opt !== undefined && opt.version !== 0) return opaque(`it speaks EDNS version ${opt.version}`);
  return ok({
    kind: "question", ...head, name: labels.join("."), type: view.getUint16(at), section,
    udpMax: Math.min(UDP_MAX_BYTES, Math.max(UDP_CLASSIC_BYTES, opt?.udpSize ?? 0)), edns: opt && { dnssecOk: opt.dnssecOk },
  });
}

/** The OPT record of EDNS, looked for where clients put it: first after the question. */
function decodeOpt(m: Uint8Array, view: DataView, at: number): { readonly udpSize: number; readonly version: number; readonly dnssecOk: boolean } | undefined {
  const first = view.getUint16(6) === 0 && view.getUint16(8) === 0 && view.getUint16(10) > 0;
  if (!first || at + OPT_BYTES > m.length || m[at] !== 0 || view.getUint16(at + 1) !== TYPE_OPT) return undefined;
  return { udpSize: view.getUint16(at + 3), version: view.getUint8(at + 6), dnssecOk: (view.getUint16(at + 7) & OPT_DNSSEC_OK) !== 0 };
}

export interface Answer {
  readonly ips: readonly Ip[];
  /** The name that has the addresses, when it is not the one asked for. */
  readonly alias: string | undefined;
  readonly ttlSeconds: number;
}

/** Authoritative. Over `max` bytes the records are left out and the truncation flag sends the client to TCP. */
export function encodeAnswer(q: Question, answer: Answer, max: number): Uint8Array {
  const records: Uint8Array[] = [];
  const asked = Uint8Array.of(0xc0, HEADER_BYTES); // a pointer to the question's name
  const target = answer.alias === undefined ? undefined : encodeName(answer.alias);
  if (target !== undefined) records.push(record(asked, TYPE_CNAME, answer.ttlSeconds, target));
  for (const ip of answer.ips) records.push(record(target ?? asked, familyOf(ip) === 4 ? TYPE_A : TYPE_AAAA, answer.ttlSeconds, ipBytes(ip)));
  const opt = encodeOpt(q);
  const fits = HEADER_BYTES + q.section.length + opt.length + records.reduce((n, r) => n + r.length, 0) <= max;
  const head = header(q, FLAG_AUTHORITATIVE | (fits ? 0 : FLAG_TRUNCATED) | RCODE.noError, { questions: 1, answers: fits ? records.length : 0, additional: opt.length === 0 ? 0 : 1 });
  return concat([head, q.section, ...(fits ? records : []), opt]);
}

export const encodeFailure = (q: Question | Opaque, rcode: number): Uint8Array =>
  q.kind === "opaque"
    ? header(q, rcode, { questions: 0, answers: 0, additional: 0 })
    : concat([header(q, rcode, { questions: 1, answers: 0, additional: q.edns === undefined ? 0 : 1 }), q.section, encodeOpt(q)]);

/** What a malformed query gets; undefined when not even that would be right: a response, or no header. */
export function encodeFormatError(m: Uint8Array): Uint8Array | undefined {
  if (m.length < HEADER_BYTES || ((m[2] ?? 0) & 0x80) !== 0) return undefined;
  const view = new DataView(m.buffer, m.byteOffset, m.length);
  const recursionDesired = (view.getUint16(2) & FLAG_RECURSION_DESIRED) !== 0;
  return header({ id: view.getUint16(0), recursionDesired }, RCODE.formatError, { questions: 0, answers: 0, additional: 0 });
}

function header(q: Pick<Question, "id" | "recursionDesired">, flags: number, counts: { questions: number; answers: number; additional: number }): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES);
  const view = new DataView(out.buffer);
  view.setUint16(0, q.id);
  view.setUint16(2, FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | (q.recursionDesired ? FLAG_RECURSION_DESIRED : 0) | flags);
  view.setUint16(4, counts.questions);
  view.setUint16(6, counts.answers);
  view.setUint16(10, counts.additional);
  return out;
}

/** Who speaks EDNS is answered in EDNS (RFC 6891 6.1.1), with the client's wish for DNSSEC repeated (RFC 3225). */
function encodeOpt(q: Question): Uint8Array {
  if (q.edns === undefined) return new Uint8Array();
  const out = new Uint8Array(OPT_BYTES);
  const view = new DataView(out.buffer);
  view.setUint16(1, TYPE_OPT);
  view.setUint16(3, UDP_MAX_BYTES);
  view.setUint16(7, q.edns.dnssecOk ? OPT_DNSSEC_OK : 0);
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

/** Of a name that came out of `decodeQuery`, or of a part of one: every label fits. */
function encodeName(name: string): Uint8Array {
  return concat([...name.split(".").map((label) => Uint8Array.of(label.length, ...Array.from(label, (c) => c.charCodeAt(0)))), Uint8Array.of(0)]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) { out.set(p, at); at += p.length; }
  return out;
}
