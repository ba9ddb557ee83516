// Owns what a relay may touch and must check in messages of others: the id, and whether a reply belongs to a query.
const HEADER_BYTES = 12;
const QUESTION_TAIL_BYTES = 4;

/** A copy that differs in its id only. */
export function withId(message: Uint8Array, id: number): Buffer {
  const out = Buffer.from(message);
  out.writeUInt16BE(id, 0);
  return out;
}

/** The response code of the header (without the part that EDNS adds). */
export const rcodeOf = (message: Uint8Array): number => (message[3] ?? 0) & 0x0f;

/**
 * A reply to `query`: a response with its id that repeats its question, in whatever case. Servers leave the question out of
 * failures; one that says "no error" must repeat it.
 */
export function answers(query: Uint8Array, reply: Uint8Array): boolean {
  if (reply.length < HEADER_BYTES || reply[0] !== query[0] || reply[1] !== query[1] || ((reply[2] ?? 0) & 0x80) === 0) return false;
  if (reply[4] === 0 && reply[5] === 0 && rcodeOf(reply) !== 0) return true;
  if (reply[4] !== query[4] || reply[5] !== query[5]) return false;
  const end = questionEnd(query);
  // Not exactly one plain question: the id and the address that it comes from have to do.
  if (end === undefined) return true;
  if (reply.length < end) return false;
  for (let i = HEADER_BYTES; i < end; i++) if (fold(query[i] ?? 0) !== fold(reply[i] ?? 0)) return false;
  return true;
}

function questionEnd(m: Uint8Array): number | undefined {
  if (m[4] !== 0 || m[5] !== 1) return undefined;
  let at = HEADER_BYTES;
  for (;;) {
    const length = m[at];
    if (length === undefined || length > 63) return undefined;
    at += 1 + length;
    if (length === 0) return at + QUESTION_TAIL_BYTES <= m.length ? at + QUESTION_TAIL_BYTES : undefined;
  }
}

/** Folds lengths of labels and types too, which is harmless: equal octets stay equal, and lengths are below 64. */
const fold = (octet: number): number => (octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet);

/** RFC 1035 4.2.2: two octets of length, then the message. */
export function framed(message: Uint8Array): Buffer {
  const out = Buffer.alloc(2 + message.length);
  out.writeUInt16BE(message.length);
  out.set(message, 2);
  return out;
}

/** The first whole message of a TCP stream and what follows it; undefined while it is incomplete. */
export function takeFrame(stream: Buffer): { readonly message: Buffer; readonly rest: Buffer } | undefined {
  if (stream.length < 2) return undefined;
  const end = 2 + stream.readUInt16BE(0);
  return stream.length < end ? undefined : { message: stream.subarray(2, end), rest: stream.subarray(end) };
}
