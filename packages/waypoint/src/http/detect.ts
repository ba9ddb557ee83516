// Owns telling HTTP/1, HTTP/2 and everything else apart by a connection's first octets.

/** RFC 9113 §3.4. */
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/** A method: the longest registered one has 17 octets. */
const METHOD_MAX = 32;
/** A request line is looked for its version so far; longer ones are taken for HTTP, whose parser has a bound of its own. */
const LINE_MAX = 8192;
/** A target begins with a path, `*`, a scheme or, of CONNECT, a host. */
const TARGET_FIRST = /[/*A-Za-z[0-9]/;

/** `more`: the octets so far are the beginning of either. */
export type Detected = "http1" | "http2" | "other" | "more";

export function detectProtocol(bytes: Uint8Array): Detected {
  let same = 0;
  while (same < bytes.length && same < PREFACE.length && bytes[same] === PREFACE.charCodeAt(same)) same++;
  if (same === PREFACE.length) return "http2";
  if (same === bytes.length) return "more";
  if (same > 4) return "other"; // PRI is nobody's method
  let at = 0;
  while (at < bytes.length && at < METHOD_MAX && isUpper(bytes[at] ?? 0)) at++;
  if (at === bytes.length) return "more";
  if (at === 0 || bytes[at] !== 0x20) return "other";
  if (at + 1 === bytes.length) return "more";
  if (!TARGET_FIRST.test(String.fromCharCode(bytes[at + 1] ?? 0))) return "other";
  const lf = bytes.indexOf(0x0a);
  if (lf < 0) return bytes.length > LINE_MAX ? "http1" : "more";
  const end = String.fromCharCode(...bytes.subarray(Math.max(0, lf - 9), lf + 1));
  return /HTTP\/\d\.\d\r?\n$/.test(end) ? "http1" : "other";
}

const isUpper = (c: number): boolean => (c >= 0x41 && c <= 0x5a) || c === 0x2d || c === 0x5f;
