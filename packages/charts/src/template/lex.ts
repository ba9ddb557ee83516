// Owns cutting a template into text and the words of its actions, with Go's trimming of white space.
import { TemplateError } from "./error.ts";

export type Word =
  | { readonly kind: "name"; readonly text: string; readonly line: number }
  | { readonly kind: "string"; readonly value: string; readonly line: number }
  | { readonly kind: "number"; readonly value: number; readonly line: number }
  /** `.`, `.A.B`, `$`, `$.A`, `$x.A`: where it starts and the fields after it. */
  | { readonly kind: "path"; readonly root: "." | `$${string}`; readonly fields: readonly string[]; readonly line: number }
  | { readonly kind: "sign"; readonly text: "(" | ")" | "|" | ":=" | ","; readonly line: number };

export type Piece =
  | { readonly kind: "text"; readonly text: string; readonly line: number }
  | { readonly kind: "action"; readonly words: readonly Word[]; readonly line: number };

const SPACE = /\s/;
/** Fields directly after one another, as Go reads them: no space between. */
const PATH = /^(\$[A-Za-z0-9_]*)?((?:\.[A-Za-z_][A-Za-z0-9_]*)+|\.)?/;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", '"': '"', "\\": "\\" };

/** Throws a TemplateError naming file and line. */
export function lexTemplate(file: string, source: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let line = 1;
  let trimNext = false;
  for (;;) {
    const open = source.indexOf("{{", at);
    let text = source.slice(at, open === -1 ? source.length : open);
    const textLine = line;
    line += newlines(text);
    if (trimNext) text = text.trimStart();
    const trimsBefore = open !== -1 && source[open + 2] === "-" && SPACE.test(source[open + 3] ?? "");
    if (trimsBefore) text = text.trimEnd();
    if (text !== "") pieces.push({ kind: "text", text, line: textLine });
    if (open === -1) return pieces;
    const start = open + (trimsBefore ? 4 : 2);
    const { end, next, trimsAfter, words } = lexAction(file, source, start, line + newlines(source.slice(open, start)));
    if (words !== undefined) pieces.push({ kind: "action", words, line });
    line += newlines(source.slice(open, end));
    at = next;
    trimNext = trimsAfter;
  }
}

interface Action { readonly end: number; readonly next: number; readonly trimsAfter: boolean; readonly words: readonly Word[] | undefined }

function lexAction(file: string, source: string, from: number, firstLine: number): Action {
  const words: Word[] = [];
  let at = from;
  let line = firstLine;
  const fail = (message: string): never => { throw new TemplateError(file, line, message); };
  if (source.startsWith("/*", at)) {
    const close = source.indexOf("*/", at);
    if (close === -1) fail("a comment does not end");
    const closed = closing(source, close + 2);
    if (closed === undefined) fail("after a comment only the end of its action may stand");
    else return { ...closed, words: undefined };
  }
  for (;;) {
    while (SPACE.test(source[at] ?? "") && closing(source, at) === undefined) {
      if (source[at] === "\n") line += 1;
      at += 1;
    }
    const closed = closing(source, at);
    if (closed !== undefined) return { ...closed, words };
    const c = source[at];
    if (c === undefined) return fail("an action does not end");
    if (c === '"') {
      const { value, next } = lexString(source, at, fail);
      words.push({ kind: "string", value, line });
      at = next;
    } else if (c === "(" || c === ")" || c === "|" || c === ",") {
      words.push({ kind: "sign", text: c, line });
      at += 1;
    } else if (source.startsWith(":=", at)) {
      words.push({ kind: "sign", text: ":=", line });
      at += 2;
    } else if (c === "." || c === "$") {
      const [text = "", root = ".", fields = ""] = PATH.exec(source.slice(at, at + 512)) ?? [];
      if (text === "") fail(`"${c}" is not understood here`);
      words.push({ kind: "path", root: root as "." | `$${string}`, fields: fields.split(".").filter((f) => f !== ""), line });
      at += text.length;
      endsWord(source, at, fail);
    } else if (/[0-9]/.test(c)) {
      const [digits = ""] = /^[0-9]{1,15}/.exec(source.slice(at, at + 16)) ?? [];
      words.push({ kind: "number", value: Number(digits), line });
      at += digits.length;
      endsWord(source, at, fail);
    } else if (/[A-Za-z_]/.test(c)) {
      const [name = ""] = /^[A-Za-z_][A-Za-z0-9_]*/.exec(source.slice(at, at + 128)) ?? [];
      words.push({ kind: "name", text: name, line });
      at += name.length;
      endsWord(source, at, fail);
    } else fail(`"${c}" is not understood in an action`);
  }
}

/** `}}` or ` -}}` at this place. */
function closing(source: string, at: number): Omit<Action, "words"> | undefined {
  if (source.startsWith("}}", at)) return { end: at + 2, next: at + 2, trimsAfter: false };
  if (SPACE.test(source[at] ?? "") && source.startsWith("-}}", at + 1)) return { end: at + 4, next: at + 4, trimsAfter: true };
  return undefined;
}

function lexString(source: string, from: number, fail: (message: string) => never): { value: string; next: number } {
  let value = "";
  for (let at = from + 1; ; at++) {
    const c = source[at];
    if (c === undefined || c === "\n") return fail("a string does not end");
    if (c === '"') return { value, next: at + 1 };
    if (c !== "\\") {
      value += c;
      continue;
    }
    const escaped = ESCAPES[source[++at] ?? ""];
    if (escaped === undefined) return fail(`the escape \\${source[at] ?? ""} is not understood`);
    value += escaped;
  }
}

function endsWord(source: string, at: number, fail: (message: string) => never): void {
  const c = source[at];
  if (c !== undefined && !SPACE.test(c) && !"()|,}".includes(c) && !source.startsWith(":=", at)) fail(`"${c}" is not understood after a word`);
}

const newlines = (text: string): number => text.split("\n").length - 1;
