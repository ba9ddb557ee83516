// Owns finding where the elements of an array stand in a JSON text, so that it can be edited and given back to the octet.

export interface Span { readonly start: number; readonly end: number }

/** Strings, brackets and the rest; white space only separates. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g;

/**
 * Of the array that the outermost object has under `key` (the last such key, as JSON.parse reads it). `text` must be JSON; undefined where there is no
 * such array.
 */
export function elementsOf(text: string, key: string): readonly Span[] | undefined {
  let found: Span[] | undefined;
  let depth = 0;
  let before = ["", ""];
  /** Depth within the array that is looked for; its elements begin here. */
  let inside: number | undefined;
  let element: { start: number; end: number } | undefined;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    const end = index + token.length;
    const opens = token === "[" || token === "{";
    const closes = token === "]" || token === "}";
    if (closes) depth--;
    if (inside !== undefined && depth >= inside && token !== "," ) element = { start: element?.start ?? index, end };
    if (inside !== undefined && (depth < inside || (depth === inside && token === ","))) {
      if (element !== undefined) found?.push(element);
      element = undefined;
      if (depth < inside) inside = undefined;
    }
    if (inside === undefined && token === "[" && depth === 1 && before[1] === ":" && isKey(before[0], key)) {
      found = [];
      inside = depth + 1;
    } else if (inside === undefined && depth === 1 && before[1] === ":" && isKey(before[0], key)) found = undefined;
    if (opens) depth++;
    before = [before[1] ?? "", token];
  }
  return found;
}

function isKey(token: string | undefined, key: string): boolean {
  return token?.startsWith('"') === true && JSON.parse(token) === key;
}
