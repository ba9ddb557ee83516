// Owns reading DER (X.690): definite lengths, one element after another; everything must fit.

export interface Element { readonly tag: number; readonly body: Uint8Array; /** With its tag and length. */ readonly whole: Uint8Array }

/** Throws on anything that is not a sequence of elements. Lengths of up to four octets. */
export function elements(bytes: Uint8Array): Element[] {
  const out: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] ?? 0;
    let length = bytes[at + 1] ?? 0x80;
    let start = at + 2;
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0 || octets > 4) throw new Error("bad DER length");
      length = 0;
      for (let i = 0; i < octets; i++) length = length * 256 + (bytes[start + i] ?? 0);
      start += octets;
    }
    if ((tag & 0x1f) === 0x1f || start + length > bytes.length) throw new Error("bad DER element");
    out.push({ tag, body: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) });
    at = start + length;
  }
  return out;
}

/** The body of an element of this kind; throws an error that names what was expected. */
export function expectTag(element: Element | undefined, tag: number, what: string): Uint8Array {
  if (element?.tag !== tag) throw new Error(`no ${what}`);
  return element.body;
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
