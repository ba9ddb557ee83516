// Owns turning a pattern's tree into a program for the machine in run.ts.
import { err, ok, type Result } from "../../result.ts";
import type { CharSet } from "./char-set.ts";
import type { Node } from "./syntax.ts";

export type Instruction =
  | { readonly op: "set"; readonly set: CharSet }
  /** Tries `first`, then `second`. */
  | { readonly op: "split"; readonly first: number; readonly second: number }
  | { readonly op: "jump"; readonly to: number }
  | { readonly op: "save"; readonly slot: number }
  | { readonly op: "assert"; readonly what: "begin" | "end" | "word" | "not-word" }
  | { readonly op: "match" };

/** Instructions. With the longest text (run.ts) this bounds one match to some ten milliseconds, whatever pattern and text are. */
const PROGRAM_MAX = 1000;

export function compileProgram(root: Node): Result<readonly Instruction[], string> {
  const code: Instruction[] = [];
  if (!emit(code, root)) return err(`the pattern is too complex (more than ${PROGRAM_MAX} steps)`);
  code.push({ op: "match" });
  return ok(code);
}

function emit(code: Instruction[], node: Node): boolean {
  if (code.length > PROGRAM_MAX) return false;
  switch (node.kind) {
    case "empty": return true;
    case "set": code.push({ op: "set", set: node.set }); return true;
    case "assert": code.push({ op: "assert", what: node.what }); return true;
    case "sequence": return node.parts.every((part) => emit(code, part));
    case "group": {
      code.push({ op: "save", slot: node.index * 2 });
      const fits = emit(code, node.node);
      code.push({ op: "save", slot: node.index * 2 + 1 });
      return fits;
    }
    case "either": return emitEither(code, node.options);
    case "repeat": return emitRepeat(code, node);
  }
}

function emitEither(code: Instruction[], options: readonly Node[]): boolean {
  const exits: number[] = [];
  for (const [i, option] of options.entries()) {
    const last = i === options.length - 1;
    const split = code.length;
    if (!last) code.push({ op: "jump", to: 0 });
    if (!emit(code, option)) return false;
    if (last) break;
    exits.push(code.length);
    code.push({ op: "jump", to: 0 });
    code[split] = { op: "split", first: split + 1, second: code.length };
  }
  for (const exit of exits) code[exit] = { op: "jump", to: code.length };
  return true;
}

function emitRepeat(code: Instruction[], { node, min, max, greedy }: Extract<Node, { kind: "repeat" }>): boolean {
  for (let i = 0; i < min; i++) if (!emit(code, node)) return false;
  const split = (at: number, into: number, past: number): void => {
    code[at] = greedy ? { op: "split", first: into, second: past } : { op: "split", first: past, second: into };
  };
  if (max === Infinity) {
    const at = code.length;
    code.push({ op: "jump", to: 0 });
    if (!emit(code, node)) return false;
    code.push({ op: "jump", to: at });
    split(at, at + 1, code.length);
    return true;
  }
  const open: number[] = [];
  for (let i = min; i < max; i++) {
    open.push(code.length);
    code.push({ op: "jump", to: 0 });
    if (!emit(code, node)) return false;
  }
  for (const at of open) split(at, at + 1, code.length);
  return true;
}
