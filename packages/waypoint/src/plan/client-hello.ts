// Owns reading the server name off the first octets of a TLS connection (RFC 8446 §4.1.2, RFC 6066 §3), which are otherwise passed on untouched.

/** A ClientHello with post-quantum shares and a ticket stays below; what is longer has no name for us. */
export const HELLO_MAX_OCTETS = 16 * 1024;

export type Hello =
  /** It is not complete yet. */
  | { readonly kind: "more" }
  /** `sni`: in small letters; undefined: none was sent. */
  | { readonly kind: "hello"; readonly sni: string | undefined }
  | { readonly kind: "not-tls" };

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const NAME = /^(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;
const MORE: Hello = { kind: "more" };
const NOT_TLS: Hello = { kind: "not-tls" };

/** Total: any octets give an answer. The hello may be split over several records. */
export function readClientHello(bytes: Uint8Array): Hello {
  const parts: Uint8Array[] = [];
  let have = 0;
  let needed = 4;
  for (let at = 0; have < needed; ) {
    if (bytes.length < at + 1) return MORE;
    if (bytes[at] !== HANDSHAKE) return NOT_TLS;
    if (bytes.length < at + 5) return MORE;
    if (bytes[at + 1] !== 3) return NOT_TLS;
    const length = u16(bytes, at + 3);
    if (length === 0 || length > 16_384) return NOT_TLS;
    const part = bytes.subarray(at + 5, at + 5 + length);
    parts.push(part);
    have += part.length;
    if (have >= 4 && needed === 4) {
      const head = join(parts);
      if (head[0] !== CLIENT_HELLO) return NOT_TLS;
      needed = 4 + ((head[1] ?? 0) << 16 | u16(head, 2));
      if (needed > HELLO_MAX_OCTETS) return NOT_TLS;
    }
    if (part.length < length && have < needed) return MORE;
    at += 5 + length;
  }
  return { kind: "hello", sni: serverName(join(parts).subarray(4, needed)) };
}

/** undefined also for a hello whose inside is broken: it has no name that could be trusted. */
function serverName(body: Uint8Array): string | undefined {
  let at = 2 + 32;
  at += 1 + (body[at] ?? 0);
  at += 2 + u16(body, at);
  at += 1 + (body[at] ?? 0);
  const end = at + 2 + u16(body, at);
  at += 2;
  if (end > body.length) return undefined;
  while (at + 4 <= end) {
    const type = u16(body, at);
    const length = u16(body, at + 2);
    at += 4;
    if (at + length > end) return undefined;
    if (type === SERVER_NAME) return nameIn(body.subarray(at, at + length));
    at += length;
  }
  return undefined;
}

function nameIn(list: Uint8Array): string | undefined {
  const length = u16(list, 3);
  if (u16(list, 0) !== list.length - 2 || list[2] !== HOST_NAME || 5 + length > list.length) return undefined;
  const name = String.fromCharCode(...list.subarray(5, 5 + length)).toLowerCase();
  return NAME.test(name) ? name : undefined;
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) { out.set(p, at); at += p.length; }
  return out;
}
