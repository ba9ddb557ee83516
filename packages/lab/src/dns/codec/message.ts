// Owns the DNS message format (RFC 1035, EDNS of RFC 6891) as far as this server reads and writes it. Pure.

export const TYPE = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, TXT: 16, AAAA: 28, SRV: 33, OPT: 41, ANY: 255 } as const;
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
export const CLASS_IN = 1;

/** RFC 1035 §3.1. */
const NAME_MAX_BYTES = 255;
const LABEL_MAX_BYTES = 63;
/** A query has one OPT, perhaps a TSIG; more is somebody playing. */
const ADDITIONALS_MAX = 8;
const HEADER_BYTES = 12;

export interface Query {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  /** The name as sent, in labels; each label is a string of bytes (latin1). */
  readonly labels: readonly string[];
  readonly type: number;
  readonly class: number;
  /** Largest UDP answer the client takes; absent without EDNS. */
  readonly udpSize?: number;
  /** EDNS version other than 0 must be answered BADVERS. */
  readonly ednsVersion?: number;
}

export type Decoded =
  | { readonly ok: true; readonly query: Query }
  /** `id` is known when at least a header could be read of a query; otherwise the packet deserves no answer. */
  | { readonly ok: false; readonly problem: string; readonly id?: number; readonly opcode?: number };

export type RecordData =
  | { readonly type: "A"; readonly ip: string }
  | { readonly type: "CNAME" | "PTR" | "NS"; readonly target: string }
  | { readonly type: "TXT"; readonly text: string }
  | { readonly type: "SRV"; readonly priority: number; readonly weight: number; readonly port: number; readonly target: string }
  | {
      readonly type: "SOA"; readonly mname: string; readonly rname: string; readonly serial: number;
      readonly refresh: number; readonly retry: number; readonly expire: number; readonly minimum: number;
    };
/** Names are dotted, without the final dot. */
export interface ResourceRecord { readonly name: string; readonly ttl: number; readonly data: RecordData }

export interface Response {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

export function decodeQuery(bytes: Uint8Array): Decoded {
  if (bytes.length < HEADER_BYTES) return { ok: false, problem: `${bytes.length} bytes are less than a header` };
  const u16 = (at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  const id = u16(0);
  const flags = u16(2);
  const opcode = (flags >> 11) & 15;
  if ((flags & 0x8000) !== 0) return { ok: false, problem: "a response, not a query" };
  const fail = (problem: string): Decoded => ({ ok: false, problem, id, opcode });
  if (opcode !== 0) return { ok: true, query: { id, opcode, recursionDesired: false, labels: [], type: 0, class: 0 } };
  if (u16(4) !== 1) return fail(`${u16(4)} questions instead of one`);
  if (u16(6) !== 0 || u16(8) !== 0) return fail("a query with answers");
  const name = readName(bytes, HEADER_BYTES);
  if (typeof name === "string") return fail(name);
  let at = name.end;
  if (at + 4 > bytes.length) return fail("the question is cut short");
  const query = { id, opcode, recursionDesired: (flags & 0x100) !== 0, labels: name.labels, type: u16(at), class: u16(at + 2) };
  at += 4;
  const extra = u16(10);
  if (extra > ADDITIONALS_MAX) return fail(`${extra} additional records`);
  let edns: { udpSize: number; ednsVersion: number } | undefined;
  for (let i = 0; i < extra; i++) {
    const owner = readName(bytes, at);
    if (typeof owner === "string") return fail(owner);
    at = owner.end;
    if (at + 10 > bytes.length || at + 10 + u16(at + 8) > bytes.length) return fail("an additional record is cut short");
    if (u16(at) === TYPE.OPT) {
      if (edns !== undefined || owner.labels.length > 0) return fail("a malformed OPT record");
      edns = { udpSize: u16(at + 2), ednsVersion: bytes[at + 5] ?? 0 };
    }
    at += 10 + u16(at + 8);
  }
  return { ok: true, query: { ...query, ...edns } };
}

/** Compression pointers only occur in names that follow another; a query's may point nowhere useful, so none is followed. */
function readName(bytes: Uint8Array, start: number): { labels: string[]; end: number } | string {
  const labels: string[] = [];
  let at = start;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return "a name is cut short";
    at += 1;
    if (length === 0) return { labels, end: at };
    if (length > LABEL_MAX_BYTES) return "a compressed or malformed name";
    if (at + length > bytes.length) return "a label is cut short";
    if (at + length - start >= NAME_MAX_BYTES) return "a name is longer than 255 bytes";
    labels.push(String.fromCharCode(...bytes.subarray(at, at + length)));
    at += length;
  }
}

/**
 * The answer in at most `limit` bytes. What does not fit is left out from the end: additionals silently, answers and
 * authorities with the TC bit, so that the client asks again over TCP.
 */
export function encodeResponse(query: Query, response: Response, limit: number): Uint8Array {
  const out = new Writer(limit - (query.udpSize === undefined ? 0 : 11));
  const extended = response.rcode >> 4;
  out.header(query.id);
  if (query.opcode === 0) out.question(query);
  let truncated = false;
  const put = (records: readonly ResourceRecord[], must: boolean): number => {
    let count = 0;
    for (const record of truncated ? [] : records) {
      if (!out.record(record)) { truncated = must; break; }
      count += 1;
    }
    return count;
  };
  const answers = put(response.answers, true);
  const authorities = put(response.authorities, true);
  let additionals = put(response.additionals, false);
  if (query.udpSize !== undefined) { out.opt(extended); additionals += 1; }
  const flags = 0x8000 | (query.opcode << 11) | (response.authoritative ? 0x400 : 0) | (truncated ? 0x200 : 0)
    | (query.recursionDesired ? 0x100 : 0) | 0x80 | (response.rcode & 15);
  return out.finish(flags, [query.opcode === 0 ? 1 : 0, answers, authorities, additionals]);
}

/** For packets whose question could not be read: a header and nothing else. */
export function encodeFailure(id: number, opcode: number, rcode: number): Uint8Array {
  return Uint8Array.of(id >> 8, id & 255, 0x80 | (opcode << 3), 0x80 | rcode, 0, 0, 0, 0, 0, 0, 0, 0);
}

/** What we are ready to receive, and so the largest answer we send however much the client offers. */
export const UDP_MAX_BYTES = 4096;
const UDP_DEFAULT_BYTES = 512;
/** A compression pointer has 14 bits. */
const POINTER_MAX = 0x3fff;

export function udpLimit(query: Query): number {
  return query.udpSize === undefined ? UDP_DEFAULT_BYTES : Math.min(UDP_MAX_BYTES, Math.max(UDP_DEFAULT_BYTES, query.udpSize));
}

class Writer {
  readonly #bytes: number[] = [];
  readonly #limit: number;
  readonly #names = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  header(id: number): void {
    this.#u16(id);
    for (let i = 0; i < 10; i++) this.#bytes.push(0);
  }

  question(query: Query): void {
    this.#name(query.labels);
    this.#u16(query.type);
    this.#u16(query.class);
  }

  /** False, and nothing written, when it does not fit. */
  record({ name, ttl, data }: ResourceRecord): boolean {
    const start = this.#bytes.length;
    this.#dotted(name);
    this.#u16(TYPE[data.type]);
    this.#u16(CLASS_IN);
    this.#u32(ttl);
    const length = this.#bytes.length;
    this.#u16(0);
    this.#data(data);
    const size = this.#bytes.length - length - 2;
    this.#bytes[length] = size >> 8;
    this.#bytes[length + 1] = size & 255;
    if (this.#bytes.length <= this.#limit) return true;
    this.#bytes.length = start;
    for (const [text, at] of this.#names) if (at >= start) this.#names.delete(text);
    return false;
  }

  opt(extendedRcode: number): void {
    this.#bytes.push(0);
    this.#u16(TYPE.OPT);
    this.#u16(UDP_MAX_BYTES);
    this.#bytes.push(extendedRcode & 255, 0, 0, 0, 0, 0);
  }

  finish(flags: number, counts: readonly number[]): Uint8Array {
    const bytes = Uint8Array.from(this.#bytes);
    [flags, ...counts].forEach((value, i) => { bytes[2 + 2 * i] = value >> 8; bytes[3 + 2 * i] = value & 255; });
    return bytes;
  }

  #data(data: RecordData): void {
    switch (data.type) {
      case "A": for (const part of data.ip.split(".")) this.#bytes.push(Number(part)); return;
      case "CNAME": case "PTR": case "NS": this.#dotted(data.target); return;
      case "TXT": this.#bytes.push(data.text.length & 255, ...latin1(data.text.slice(0, 255))); return;
      case "SRV":
        for (const value of [data.priority, data.weight, data.port]) this.#u16(value);
        // RFC 2782: the target of SRV is not compressed.
        this.#name(data.target.split("."), false);
        return;
      case "SOA":
        this.#dotted(data.mname);
        this.#dotted(data.rname);
        for (const value of [data.serial, data.refresh, data.retry, data.expire, data.minimum]) this.#u32(value);
    }
  }

  #dotted(name: string): void {
    this.#name(name === "" ? [] : name.split("."));
  }

  #name(labels: readonly string[], compress = true): void {
    for (let i = 0; i < labels.length; i++) {
      const rest = labels.slice(i).join(".").toLowerCase();
      const known = this.#names.get(rest);
      if (compress && known !== undefined) { this.#u16(0xc000 | known); return; }
      if (known === undefined && this.#bytes.length <= POINTER_MAX) this.#names.set(rest, this.#bytes.length);
      const label = latin1(labels[i] ?? "");
      this.#bytes.push(label.length & LABEL_MAX_BYTES, ...label.slice(0, LABEL_MAX_BYTES));
    }
    this.#bytes.push(0);
  }

  #u16(value: number): void { this.#bytes.push((value >> 8) & 255, value & 255); }
  #u32(value: number): void { this.#u16((value >>> 16) & 0xffff); this.#u16(value & 0xffff); }
}

function latin1(text: string): number[] {
  return [...text].map((c) => c.charCodeAt(0) & 255);
}
