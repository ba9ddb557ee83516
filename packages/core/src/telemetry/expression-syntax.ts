// Owns reading an expression (CEL's grammar without messages, maps, macros and arithmetic beyond + and -): text in, tree out, bounded in length and depth.
import { err, ok, type Result } from "../result.ts";

export type Node =
  | { readonly kind: "literal"; readonly value: string | number | boolean | null }
  | { readonly kind: "list"; readonly items: readonly Node[] }
  /** Names joined by dots: `request.headers.host`. */
  | { readonly kind: "name"; readonly path: string }
  | { readonly kind: "index"; readonly of: Node; readonly key: Node }
  | { readonly kind: "not" | "minus"; readonly of: Node }
  | { readonly kind: "choose"; readonly when: Node; readonly yes: Node; readonly no: Node }
  | { readonly kind: "binary"; readonly operator: string; readonly left: Node; readonly right: Node }
  /** `on` undefined: a function. */
  | { readonly kind: "call"; readonly name: string; readonly on: Node | undefined; readonly args: readonly Node[] };

/** Characters: a filter is a line or two. */
const TEXT_MAX = 4_096;
/** Of brackets, signs and choices within each other. */
const DEPTH_MAX = 32;
/** Operators that bind alike, the loosest first. */
const LEVELS: readonly (readonly string[])[] = [["||"], ["&&"], ["==", "!=", "<=", ">=", "<", ">", "in"], ["+", "-"]];
const TOKEN = /\s*(?:(r?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))|([0-9]+(?:\.[0-9]+)?u?(?![0-9A-Za-z_.]))|([A-Za-z_][A-Za-z0-9_]*)|(\|\||&&|[=!<>]=|[-+!<>?:.,()[\]])|(\S))/y;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\\": "\\", '"': '"', "'": "'", "`": "`", "?": "?" };
const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([["true", true], ["false", false], ["null", null]]);

type TokenKind = "text" | "number" | "word" | "sign" | "end";
interface Token { readonly kind: TokenKind; readonly text: string; readonly at: number }

class SyntaxProblem extends Error {}

export function parseExpression(text: string): Result<Node, string> {
  if (text.length > TEXT_MAX) return err(`the expression has ${text.length} characters, at most ${TEXT_MAX} are read`);
  try {
    return ok(new Parser(text).whole());
  } catch (error) {
    if (error instanceof SyntaxProblem) return err(error.message);
    throw error;
  }
}

class Parser {
  readonly #text: string;
  #next: Token;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    this.#next = this.#read(0);
  }

  whole(): Node {
    const node = this.#expression();
    if (this.#next.kind !== "end") this.#fail("was not expected");
    return node;
  }

  #fail(why: string, { text, at }: Token = this.#next): never {
    throw new SyntaxProblem(`at ${at}: ${text === "" ? "the end" : `"${text.slice(0, 40)}"`} ${why}`);
  }

  #read(from: number): Token {
    TOKEN.lastIndex = from;
    const m = TOKEN.exec(this.#text);
    if (m === null) return { kind: "end", text: "", at: this.#text.length };
    const [whole, quoted, number, word, sign, other] = m;
    const text = quoted ?? number ?? word ?? sign ?? other ?? "";
    const token: Token = { kind: quoted !== undefined ? "text" : number !== undefined ? "number" : word !== undefined ? "word" : "sign", text, at: from + whole.length - text.length };
    if (other !== undefined) this.#fail("is not understood", token);
    return token;
  }

  #take(): Token {
    const taken = this.#next;
    this.#next = this.#read(taken.at + taken.text.length);
    return taken;
  }

  #isSign(text: string): boolean {
    return this.#next.kind === "sign" && this.#next.text === text;
  }

  #accept(sign: string): boolean {
    if (!this.#isSign(sign)) return false;
    this.#take();
    return true;
  }

  #expect(sign: string): void {
    if (!this.#accept(sign)) this.#fail(`stands where "${sign}" should`);
  }

  #deeper<T>(read: () => T): T {
    if (++this.#depth > DEPTH_MAX) this.#fail(`is more than ${DEPTH_MAX} deep`);
    const out = read();
    this.#depth--;
    return out;
  }

  #expression(): Node {
    return this.#deeper(() => {
      const when = this.#level(0);
      if (!this.#accept("?")) return when;
      const yes = this.#level(0);
      this.#expect(":");
      return { kind: "choose", when, yes, no: this.#expression() };
    });
  }

  #level(level: number): Node {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary();
    let left = this.#level(level + 1);
    while ((this.#next.kind === "sign" || this.#next.text === "in") && this.#next.kind !== "text" && operators.includes(this.#next.text)) {
      const operator = this.#take().text;
      left = { kind: "binary", operator, left, right: this.#level(level + 1) };
    }
    return left;
  }

  #unary(): Node {
    if (this.#accept("!")) return this.#deeper(() => ({ kind: "not", of: this.#unary() }));
    if (this.#accept("-")) return this.#deeper(() => ({ kind: "minus", of: this.#unary() }));
    let node = this.#primary();
    for (;;) {
      if (this.#accept(".")) {
        const name = this.#next.kind === "word" ? this.#take().text : this.#fail("is not a name");
        if (this.#accept("(")) node = { kind: "call", name, on: node, args: this.#list(")") };
        else if (node.kind === "name") node = { kind: "name", path: `${node.path}.${name}` };
        else this.#fail(`: only attributes have parts such as "${name}"`);
      } else if (this.#accept("[")) {
        node = { kind: "index", of: node, key: this.#expression() };
        this.#expect("]");
      } else return node;
    }
  }

  #primary(): Node {
    const token = this.#take();
    switch (token.kind) {
      case "text": return { kind: "literal", value: this.#unquoted(token) };
      case "number": return { kind: "literal", value: Number(token.text.replace("u", "")) };
      case "word": {
        const constant = CONSTANTS.get(token.text);
        if (constant !== undefined) return { kind: "literal", value: constant };
        if (this.#accept("(")) return { kind: "call", name: token.text, on: undefined, args: this.#list(")") };
        return { kind: "name", path: token.text };
      }
      case "sign": {
        if (token.text === "[") return { kind: "list", items: this.#list("]") };
        if (token.text !== "(") return this.#fail("was not expected", token);
        const inner = this.#expression();
        this.#expect(")");
        return inner;
      }
      case "end": return this.#fail("came too early", token);
    }
  }

  #list(end: string): Node[] {
    const items: Node[] = [];
    if (this.#accept(end)) return items;
    for (;;) {
      items.push(this.#expression());
      if (this.#accept(end)) return items;
      this.#expect(",");
    }
  }

  #unquoted(token: Token): string {
    const { text } = token;
    if (text.startsWith("r")) return text.slice(2, -1);
    return text.slice(1, -1).replace(/\\(.)/gs, (_, c: string) => ESCAPES[c] ?? this.#fail(`has an escape \\${c} that is not available here`, token));
  }
}
