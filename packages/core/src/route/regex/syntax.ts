// Owns reading a pattern: RE2 syntax, ASCII only, into a tree. What RE2 has and this has not is refused by name.
import { err, ok, type Result } from "../../result.ts";
import { anyOf, classNamed, foldCase, inverse, posixClass, single, type CharSet } from "./char-set.ts";

export type Node =
  | { readonly kind: "empty" }
  | { readonly kind: "set"; readonly set: CharSet }
  | { readonly kind: "assert"; readonly what: "begin" | "end" | "word" | "not-word" }
  | { readonly kind: "sequence"; readonly parts: readonly Node[] }
  | { readonly kind: "either"; readonly options: readonly Node[] }
  | { readonly kind: "repeat"; readonly node: Node; readonly min: number; readonly max: number; readonly greedy: boolean }
  | { readonly kind: "group"; readonly node: Node; readonly index: number };

export interface Parsed { readonly root: Node; readonly groups: number }

/** Characters: longer ones are no route's path, and Gateway API allows 1024. */
const PATTERN_MAX = 1024;
/** As RE2. */
const REPEAT_MAX = 1000;
/** Groups inside groups: the reader recurses. */
const DEPTH_MAX = 100;

export function parsePattern(pattern: string): Result<Parsed, string> {
  if (pattern.length > PATTERN_MAX) return err(`the pattern is longer than ${PATTERN_MAX} characters`);
  // oxlint-disable-next-line no-control-regex -- the whole of ASCII is meant
  if (!/^[\x00-\x7f]*$/.test(pattern)) return err("the pattern has characters beyond ASCII");
  const reader = new Reader(pattern);
  try {
    return ok({ root: reader.whole(), groups: reader.groups });
  } catch (error) {
    if (error instanceof Refusal) return err(`${error.message} at position ${reader.at}`);
    throw error;
  }
}

class Refusal extends Error {}
interface Flags { readonly ignoreCase: boolean; readonly dotAll: boolean }

class Reader {
  readonly #text: string;
  at = 0;
  groups = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Node {
    const node = this.#either({ ignoreCase: false, dotAll: false });
    if (this.at < this.#text.length) throw new Refusal("a `)` without its `(`");
    return node;
  }

  #either(outer: Flags): Node {
    let flags = outer;
    const options: Node[] = [];
    let parts: Node[] = [];
    for (;;) {
      const char = this.#text[this.at];
      if (char === undefined || char === ")") break;
      if (char === "|") {
        this.at++;
        options.push(sequence(parts));
        parts = [];
        continue;
      }
      const changed = this.#flagsHere(flags);
      if (changed !== undefined) {
        flags = changed;
        continue;
      }
      parts.push(this.#repeated(this.#atom(flags)));
    }
    options.push(sequence(parts));
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { kind: "either", options };
  }

  /** `(?i)` for the rest of this group. */
  #flagsHere(flags: Flags): Flags | undefined {
    const found = /^\(\?([a-zA-Z-]+)\)/.exec(this.#text.slice(this.at, this.at + 16));
    if (found?.[1] === undefined) return undefined;
    this.at += found[0].length;
    return withFlags(flags, found[1]);
  }

  #atom(flags: Flags): Node {
    const char = this.#text[this.at++] ?? "";
    switch (char) {
      case "(": return this.#group(flags);
      case "[": return this.#class(flags);
      case ".": return { kind: "set", set: flags.dotAll ? inverse(anyOf([])) : inverse(single(10)) };
      case "^": return { kind: "assert", what: "begin" };
      case "$": return { kind: "assert", what: "end" };
      case "*": case "+": case "?": throw new Refusal(`nothing to repeat before \`${char}\``);
      case "\\": return this.#escape(flags);
      default: return literal(char.charCodeAt(0), flags);
    }
  }

  #group(flags: Flags): Node {
    if (++this.#depth > DEPTH_MAX) throw new Refusal("groups nested too deep");
    let inner = flags;
    let index: number | undefined;
    if (this.#text[this.at] !== "?") index = ++this.groups;
    else {
      const opened = /^\?(?:P?<[A-Za-z_][A-Za-z0-9_]*>|([a-zA-Z-]*):)/.exec(this.#text.slice(this.at));
      if (opened === null) throw new Refusal("a kind of group that is not supported (look-around, atomic, conditional)");
      this.at += opened[0].length;
      if (opened[1] === undefined) index = ++this.groups;
      else if (opened[1] !== "") inner = withFlags(flags, opened[1]);
    }
    const node = this.#either(inner);
    if (this.#text[this.at++] !== ")") throw new Refusal("a `(` without its `)`");
    this.#depth--;
    return index === undefined ? node : { kind: "group", node, index };
  }

  #repeated(node: Node): Node {
    const found = /^(?:([*+?])|\{(\d{1,4})(?:(,)(\d{1,4})?)?\})(\??)/.exec(this.#text.slice(this.at, this.at + 16));
    if (found === null) return node;
    this.at += found[0].length;
    const [, sign, low, comma, high, lazy] = found;
    const min = sign === undefined ? Number(low) : sign === "+" ? 1 : 0;
    const max = sign === undefined ? (comma === undefined ? min : high === undefined ? Infinity : Number(high)) : sign === "?" ? 1 : Infinity;
    if (min > REPEAT_MAX || (max !== Infinity && max > REPEAT_MAX)) throw new Refusal(`a repeat of more than ${REPEAT_MAX}`);
    if (max < min) throw new Refusal("a repeat whose end is before its start");
    if (/^[*+?]/.test(this.#text.slice(this.at, this.at + 1))) throw new Refusal("a repeat of a repeat");
    return { kind: "repeat", node, min, max, greedy: lazy === "" };
  }

  #escape(flags: Flags): Node {
    const char = this.#text[this.at++];
    if (char === undefined) throw new Refusal("a `\\` at the end");
    switch (char) {
      case "A": return { kind: "assert", what: "begin" };
      case "z": return { kind: "assert", what: "end" };
      case "b": return { kind: "assert", what: "word" };
      case "B": return { kind: "assert", what: "not-word" };
      case "Q": return this.#quoted(flags);
    }
    const named = classNamed(char);
    if (named !== undefined) return { kind: "set", set: named };
    return literal(this.#escapedCode(char), flags);
  }

  #quoted(flags: Flags): Node {
    const end = this.#text.indexOf("\\E", this.at);
    const text = end < 0 ? this.#text.slice(this.at) : this.#text.slice(this.at, end);
    this.at += text.length + (end < 0 ? 0 : 2);
    return sequence([...text].map((c) => literal(c.charCodeAt(0), flags)));
  }

  #escapedCode(char: string): number {
    const control = { n: 10, r: 13, t: 9, f: 12, v: 11, a: 7 }[char];
    if (control !== undefined) return control;
    if (char === "x") {
      const hex = /^(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})/.exec(this.#text.slice(this.at, this.at + 10));
      const code = Number.parseInt(hex?.[1] ?? hex?.[2] ?? "", 16);
      if (hex === null || code > 0xff) throw new Refusal("an `\\x` that names no byte");
      this.at += hex[0].length;
      return code;
    }
    if (/[0-9]/.test(char)) throw new Refusal("back references and octal escapes are not supported");
    if (/[A-Za-z]/.test(char)) throw new Refusal(`\`\\${char}\` is not supported`);
    return char.charCodeAt(0);
  }

  #class(flags: Flags): Node {
    const negated = this.#text[this.at] === "^";
    if (negated) this.at++;
    const sets: CharSet[] = [];
    for (let first = true; ; first = false) {
      const char = this.#text[this.at];
      if (char === undefined) throw new Refusal("a `[` without its `]`");
      if (char === "]" && !first) break;
      sets.push(this.#classItem(char));
    }
    this.at++;
    const set = flags.ignoreCase ? foldCase(anyOf(sets)) : anyOf(sets);
    return { kind: "set", set: negated ? inverse(set) : set };
  }

  #classItem(char: string): CharSet {
    const posix = /^\[:(\^?)([a-z]+):\]/.exec(this.#text.slice(this.at, this.at + 16));
    if (posix?.[2] !== undefined) {
      const set = posixClass(posix[2]);
      if (set === undefined) throw new Refusal(`no class is called [:${posix[2]}:]`);
      this.at += posix[0].length;
      return posix[1] === "^" ? inverse(set) : set;
    }
    if (char === "\\") {
      const named = classNamed(this.#text[this.at + 1] ?? "");
      if (named !== undefined) {
        this.at += 2;
        return named;
      }
    }
    const low = this.#classCode();
    if (this.#text[this.at] !== "-" || this.#text[this.at + 1] === "]") return single(low);
    this.at++;
    const high = this.#classCode();
    if (high < low) throw new Refusal("a range whose end is before its start");
    return anyOf([{ low, high }]);
  }

  #classCode(): number {
    const char = this.#text[this.at++];
    if (char === undefined) throw new Refusal("a `[` without its `]`");
    return char === "\\" ? this.#escapedCode(this.#text[this.at++] ?? "") : char.charCodeAt(0);
  }
}

const sequence = (parts: readonly Node[]): Node => (parts.length === 0 ? { kind: "empty" } : parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: "sequence", parts });
const literal = (code: number, flags: Flags): Node => ({ kind: "set", set: flags.ignoreCase ? foldCase(single(code)) : single(code) });

function withFlags(flags: Flags, text: string): Flags {
  let on = true;
  let { ignoreCase, dotAll } = flags;
  for (const char of text) {
    if (char === "-") on = false;
    else if (char === "i") ignoreCase = on;
    else if (char === "s") dotAll = on;
    else throw new Refusal(`the flag \`${char}\` is not supported`);
  }
  return { ignoreCase, dotAll };
}
