// Owns the tree of a template: which actions belong together, and what each pipeline calls.
import { TemplateError } from "./error.ts";
import { lexTemplate, type Piece, type Word } from "./lex.ts";

export type Operand =
  | { readonly kind: "literal"; readonly value: string | number | boolean; readonly line: number }
  | { readonly kind: "path"; readonly root: "." | `$${string}`; readonly fields: readonly string[]; readonly line: number }
  | { readonly kind: "pipeline"; readonly pipeline: Pipeline; readonly line: number };
export type Command =
  | { readonly kind: "value"; readonly operand: Operand; readonly line: number }
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Operand[]; readonly line: number };
/** The value of each command is the last argument of the next. */
export type Pipeline = readonly [Command, ...Command[]];

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "print"; readonly pipeline: Pipeline; readonly line: number }
  | { readonly kind: "if" | "with"; readonly pipeline: Pipeline; readonly body: readonly Node[]; readonly otherwise: readonly Node[]; readonly line: number }
  | { readonly kind: "range"; readonly pipeline: Pipeline; readonly key: string | undefined; readonly value: string | undefined; readonly body: readonly Node[]; readonly line: number };

export interface Template { readonly file: string; readonly nodes: readonly Node[]; readonly defines: ReadonlyMap<string, readonly Node[]> }

/** Deeper nesting is a mistake, and would be one of the reader's stack. */
const DEPTH_MAX = 50;
const KEYWORDS = new Set(["if", "else", "end", "with", "range", "define", "template", "block", "break", "continue", "nil"]);

export function parseTemplate(file: string, source: string): Template {
  const pieces = lexTemplate(file, source);
  const defines = new Map<string, readonly Node[]>();
  let at = 0;
  const fail = (line: number, message: string): never => { throw new TemplateError(file, line, message); };

  /** Up to an `end` or `else` that belongs to somebody above, which is returned. */
  const block = (depth: number): { nodes: Node[]; closer: Extract<Piece, { kind: "action" }> | undefined } => {
    const nodes: Node[] = [];
    for (let piece = pieces[at]; piece !== undefined; piece = pieces[at]) {
      at += 1;
      if (piece.kind === "text") {
        nodes.push({ kind: "text", text: piece.text });
        continue;
      }
      const [first] = piece.words;
      if (depth > DEPTH_MAX) fail(piece.line, `actions are nested more than ${DEPTH_MAX} deep`);
      if (first?.kind !== "name" || !KEYWORDS.has(first.text)) {
        if (first === undefined) fail(piece.line, "an action is empty");
        nodes.push({ kind: "print", pipeline: pipelineOf(piece.words, piece.line), line: piece.line });
        continue;
      }
      const rest = piece.words.slice(1);
      switch (first.text) {
        case "if":
        case "with":
          nodes.push(branch(first.text, rest, piece.line, depth));
          break;
        case "range":
          nodes.push(loop(rest, piece.line, depth));
          break;
        case "define":
          define(rest, piece.line, depth);
          break;
        case "end":
        case "else":
          return { nodes, closer: piece };
        default:
          fail(piece.line, `"${first.text}" is not in the part of the template language that is read here`);
      }
    }
    return { nodes, closer: undefined };
  };

  const ended = (from: number, what: string, closer: Piece | undefined): void => {
    if (closer?.kind !== "action") return fail(from, `"${what}" has no end`);
    if (closer.words.length !== 1 || (closer.words[0] as { text?: string }).text !== "end") fail(closer.line, `"${what}" of line ${from} needs an end here`);
  };

  const branch = (kind: "if" | "with", condition: readonly Word[], line: number, depth: number): Node => {
    const pipeline = pipelineOf(condition, line);
    const { nodes: body, closer } = block(depth + 1);
    if (closer === undefined) return fail(line, `"${kind}" has no end`);
    const [word, ...after] = closer.words;
    if (word?.kind === "name" && word.text === "else") {
      const [chained, ...next] = after;
      if (chained === undefined) {
        const other = block(depth + 1);
        ended(line, kind, other.closer);
        return { kind, pipeline, body, otherwise: other.nodes, line };
      }
      if (kind !== "if" || chained.kind !== "name" || chained.text !== "if") return fail(closer.line, "only `else` and `else if` of an `if` are understood");
      return { kind, pipeline, body, otherwise: [branch("if", next, closer.line, depth + 1)], line };
    }
    ended(line, kind, closer);
    return { kind, pipeline, body, otherwise: [], line };
  };

  const loop = (words: readonly Word[], line: number, depth: number): Node => {
    const assigns = words.findIndex((w) => w.kind === "sign" && w.text === ":=");
    const names = assigns === -1 ? [] : words.slice(0, assigns).filter((w) => !(w.kind === "sign" && w.text === ","));
    for (const n of names) if (n.kind !== "path" || n.fields.length > 0 || n.root === "." || n.root === "$") fail(line, "a range assigns to one or two variables");
    if (assigns !== -1 && (names.length > 2 || assigns !== names.length * 2 - 1)) fail(line, "a range assigns to one or two variables");
    const pipeline = pipelineOf(words.slice(assigns + 1), line);
    const { nodes: body, closer } = block(depth + 1);
    ended(line, "range", closer);
    const [key, value] = names.length === 2 ? [rootOf(names[0]), rootOf(names[1])] : [undefined, rootOf(names[0])];
    return { kind: "range", pipeline, key, value, body, line };
  };

  const define = (words: readonly Word[], line: number, depth: number): void => {
    const [name] = words;
    if (name?.kind !== "string" || words.length !== 1 || depth > 0) return fail(line, "define takes a name and stands at the top");
    const { nodes, closer } = block(depth + 1);
    ended(line, "define", closer);
    if (defines.has(name.value)) fail(line, `"${name.value}" is defined twice`);
    defines.set(name.value, nodes);
  };

  const pipelineOf = (words: readonly Word[], line: number, depth = 0): Pipeline => {
    if (depth > DEPTH_MAX) fail(line, `parentheses are nested more than ${DEPTH_MAX} deep`);
    const commands: Command[] = [];
    let operands: (Operand | { readonly kind: "function"; readonly name: string; readonly line: number })[] = [];
    const close = (at: number): void => {
      const [first, ...args] = operands;
      operands = [];
      if (first === undefined) return fail(at, "a value is missing");
      for (const a of args) if (a.kind === "function") fail(a.line, `${a.name} needs parentheses around its call`);
      if (first.kind === "function") commands.push({ kind: "call", name: first.name, args: args as Operand[], line: first.line });
      else if (args.length > 0) fail(first.line, "only a function takes arguments");
      else commands.push({ kind: "value", operand: first, line: first.line });
    };
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as Word;
      if (word.kind === "path") operands.push(word);
      else if (word.kind === "string" || word.kind === "number") operands.push({ kind: "literal", value: word.value, line: word.line });
      else if (word.kind === "name") {
        if (word.text === "true" || word.text === "false") operands.push({ kind: "literal", value: word.text === "true", line: word.line });
        else if (KEYWORDS.has(word.text)) fail(word.line, `"${word.text}" is not a value`);
        else operands.push({ kind: "function", name: word.text, line: word.line });
      } else if (word.text === "|") close(word.line);
      else if (word.text === "(") {
        const end = matching(words, i);
        if (end === -1) fail(word.line, "a parenthesis does not end");
        operands.push({ kind: "pipeline", pipeline: pipelineOf(words.slice(i + 1, end), word.line, depth + 1), line: word.line });
        i = end;
      } else fail(word.line, `"${word.text}" is not understood here`);
    }
    close(line);
    const [head, ...tail] = commands;
    if (head === undefined) return fail(line, "a value is missing");
    for (const c of tail) if (c.kind !== "call") fail(c.line, "what follows a | must be a function");
    return [head, ...tail];
  };

  const { nodes, closer } = block(0);
  if (closer !== undefined) fail(closer.line, "an end or else that belongs to nothing");
  return { file, nodes, defines };
}

function matching(words: readonly Word[], from: number): number {
  let depth = 0;
  for (let i = from; i < words.length; i++) {
    const w = words[i];
    if (w?.kind !== "sign") continue;
    if (w.text === "(") depth += 1;
    else if (w.text === ")" && --depth === 0) return i;
  }
  return -1;
}

const rootOf = (w: Word | undefined): string | undefined => (w?.kind === "path" ? w.root : undefined);
