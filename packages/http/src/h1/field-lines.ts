// Owns reading field lines (RFC 9112 §5): names in lower case, values trimmed, nothing lenient.
import { H1Error } from "./limits.ts";
import { expectedName, findName, hashStep, lastValue, lowerText, nameAt, nameLength, noteOrder, sameValue, START, valueText } from "../known-names.ts";
import { COLON, CR, HTAB, LF, NAME, SP, VALUE } from "../octets.ts";

/** The Host lines of a request: how many, and what the last one says. */
export interface HostLines { lines: number; value: string }

/**
 * The lines of `bytes[from, to)`, each ended by CRLF, appended to `fields` as names and values in turn. Throws H1Error: line folding, a blank before the
 * colon, a control character, a bare CR, more than `most`. With `host` its lines go there instead.
 */
export function readFieldLines(bytes: Uint8Array, from: number, to: number, fields: string[], most: number, host?: HostLines): void {
  let at = from;
  let lines = 0;
  let before = START;
  while (at < to) {
    if (++lines > most) throw new H1Error(431, `more than ${most} fields`);
    let known = expectedName(before, bytes, at);
    let name: string;
    if (known >= 0) {
      at += nameLength(known);
      name = nameAt(known);
    } else {
      const start = at;
      let hash = 0;
      for (let lower = NAME[bytes[at] ?? 0] ?? 0; lower !== 0; lower = NAME[bytes[++at] ?? 0] ?? 0) hash = hashStep(hash, lower);
      if (at === start || bytes[at] !== COLON) throw badName(bytes, start, at);
      known = findName(hash, bytes, start, at);
      name = known < 0 ? lowerText(bytes, start, at) : nameAt(known);
      noteOrder(before, known);
    }
    before = known < 0 ? START : known;
    at++;
    while (bytes[at] === SP || bytes[at] === HTAB) at++;
    let value: string;
    const same = at + sameValue(known, bytes, at);
    if (same > at && bytes[same] === CR && bytes[same + 1] === LF) {
      value = lastValue(known);
      at = same;
    } else {
      const begin = at;
      while (VALUE[bytes[at] ?? 0] === 1) at++;
      if (bytes[at] !== CR || bytes[at + 1] !== LF) throw new H1Error(400, `field ${name}: octet ${bytes[at] ?? 0} is not allowed in a value`);
      let end = at;
      while (end > begin && (bytes[end - 1] === SP || bytes[end - 1] === HTAB)) end--;
      value = valueText(known, bytes, begin, end);
    }
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
