// Owns the codecs' own memory: where it comes from, and text that becomes octets in it.

/** Octets of text from which the engine's own way is quicker than a loop. */
const LOOP_MAX = 12;

/** Memory that takes latin-1 text by itself, as node's Buffer does: one quick call, however long the text. Characters above U+00FF lose what is beyond 8 bits. */
interface Latin1Memory extends Uint8Array { latin1Write(text: string, at: number, octets: number): number }

let make: ((octets: number) => Uint8Array) | undefined;

/** Shells that have such memory, zeroed or not, give it here, once. Without it everything works, slower. */
export function useMemory(of: (octets: number) => Uint8Array): void {
  make = of;
}

/** Not zeroed. */
export const memory = (octets: number): Uint8Array => make?.(octets) ?? new Uint8Array(octets);

const takesText = (b: Uint8Array): b is Latin1Memory => "latin1Write" in b;

/** Latin-1 text to `b[at]`, where there is room for it; returns the offset behind it. Of characters the lower 8 bits. */
export function putText(b: Uint8Array, at: number, text: string): number {
  const octets = text.length;
  if (octets > LOOP_MAX && takesText(b)) b.latin1Write(text, at, octets);
  else for (let i = 0; i < octets; i++) b[at + i] = text.charCodeAt(i);
  return at + octets;
}
