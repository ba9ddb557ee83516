// Owns RFC 6901 JSON pointers: text to tokens, and array indexes.

/** Longest pointer, in tokens. Deeper ones address nothing that a stored document may hold. */
const MAX_TOKENS = 512;

/** `/a~1b/0` → `["a/b", "0"]`; null when the text is not a pointer. Other escapes stand for themselves, as in Kubernetes. */
export function parsePointer(text: string): string[] | null {
  if (text === "") return [];
  if (!text.startsWith("/")) return null;
  const tokens = text.slice(1).split("/", MAX_TOKENS + 1);
  if (tokens.length > MAX_TOKENS) return null;
  const parsed: string[] = [];
  for (const token of tokens) {
    parsed.push(token.replaceAll("~1", "/").replaceAll("~0", "~"));
  }
  return parsed;
}

/** A decimal index without sign or leading zero (RFC 6901 §4); null for anything else. */
export function parseIndex(token: string): number | null {
  return /^(0|[1-9][0-9]{0,8})$/.test(token) ? Number(token) : null;
}
