// Owns finding members that a JSON text gives twice, which a parser drops without a word.
import { MAX_JSON_DEPTH } from "../json.ts";

/** More than these are not worth a warning each. */
const FOUND_MAX = 16;
const TOKEN = /[{}[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}[\],:"]+/gy;

interface Level {
  /** Names seen so far; null in a list. */
  readonly names: Set<string> | null;
  readonly path: string;
  key: string;
  index: number;
}

/** Dotted paths of members given more than once; `text` is valid JSON. */
export function duplicateMembers(text: string): string[] {
  const found: string[] = [];
  const levels: Level[] = [];
  let expectKey = false;
  TOKEN.lastIndex = 0;
  for (let at = 0; at < text.length && found.length < FOUND_MAX; ) {
    while (at < text.length && /\s/.test(text[at] as string)) at++;
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0];
    if (token === undefined || levels.length > MAX_JSON_DEPTH) return found;
    at += token.length;
    const top = levels.at(-1);
    if (token === "{" || token === "[") {
      levels.push({ names: token === "{" ? new Set() : null, path: top === undefined ? "" : here(top), key: "", index: 0 });
      expectKey = token === "{";
    } else if (token === "}" || token === "]") {
      levels.pop();
      expectKey = false;
    } else if (token === "," && top !== undefined) {
      top.index += 1;
      expectKey = top.names !== null;
    } else if (expectKey && top?.names !== null && top !== undefined && token.startsWith('"')) {
      top.key = JSON.parse(token) as string;
      if (top.names.has(top.key)) found.push(here(top));
      top.names.add(top.key);
      expectKey = false;
    }
  }
  return found;
}

function here(level: Level): string {
  if (level.names === null) return `${level.path}[${level.index}]`;
  return level.path === "" ? level.key : `${level.path}.${level.key}`;
}
