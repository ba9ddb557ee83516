// Owns reading field lines (RFC 9112 §5): names in lower case, values trimmed, nothing lenient.
import { H1Error } from "./limits.ts";
import { COLON, CR, HTAB, hashStep, learnedName, LF, NAME, nameAt, slotOf, SP, VALUE, valueText } from "../octets.ts";

/** The Host lines of a request: how many, and what the last one says. */
export interface HostLines { lines: number; value: string }

/**
 * The lines of `bytes[from, to)`, each ended by CRLF, appended to `fields` as names and values in turn. Throws H1Error: line folding, a blank before the
 * colon, a control character, a bare CR, more than `most`. With `host` its lines go there instead.
 */
export function readFieldLines(bytes: Uint8Array, from: number, to: number, fields: string[], most: number, host?: HostLines): void {
  let at = from;
  let lines = 0;
  while (at < to) {
    if (++lines > most) throw new H1Error(431, `more than ${most} fields`);
    const start = at;
    let hash = 0;
    let lower = NAME[bytes[at] ?? 0] ?? 0;
    while (lower !== 0) {
      hash = hashStep(hash, lower);
      lower = NAME[bytes[++at] ?? 0] ?? 0;
    }
    if (at === start || bytes[at] !== COLON) throw badName(bytes, start, at);
    const slot = slotOf(hash, bytes, start, at);
    const name = slot < 0 ? learnedName(hash, bytes, start, at) : nameAt(slot);
    at++;
    while (bytes[at] === SP || bytes[at] === HTAB) at++;
    const begin = at;
    while (VALUE[bytes[at] ?? 0] === 1) at++;
    if (bytes[at] !== CR || bytes[at + 1] !== LF) throw new H1Error(400, `field ${name}: octet ${bytes[at] ?? 0} is not allowed in a value`);
    let end = at;
    while (end > begin && (bytes[end - 1] === SP || bytes[end - 1] === HTAB)) end--;
    const value = valueText(slot, bytes, begin, end);
    at += 2;
    if (host === undefined || name !== "host") fields.push(name, value);
    else {
      host.lines++;
      host.value = value;
    }
  }
}

function badName(bytes: Uint8Array, start: number, at: number): H1Error {
  if (at === start && (bytes[at] === SP || bytes[at] === HTAB)) return new H1Error(400, "line folding in a field");
  if (at > start && (bytes[at] === SP || bytes[at] === HTAB)) return new H1Error(400, "a blank between field name and colon");
  return new H1Error(400, `octet ${bytes[at] ?? 0} is not allowed in a field name`);
}
