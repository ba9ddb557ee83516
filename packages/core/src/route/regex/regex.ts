// Owns regular expressions of routes: RE2 syntax in time linear in the text, however the pattern is made (no back-tracking).
import { err, ok, type Result } from "../../result.ts";
import { compileProgram } from "./program.ts";
import { Machine, TEXT_MAX } from "./run.ts";
import { parsePattern } from "./syntax.ts";

/** Steps of one call, some 50 ms at worst: far more than any sensible pattern and text need, and out of it means no match. */
const FUEL = 2_000_000;
/** Compiled patterns that are kept: far above what one configuration has. */
const KEPT_MAX = 4096;
const kept = new Map<string, Result<Regex, string>>();

/** Same pattern, same value. The error says what in the pattern is not supported. */
export function compileRegex(pattern: string): Result<Regex, string> {
  const known = kept.get(pattern);
  if (known !== undefined) return known;
  const made = make(pattern);
  if (kept.size >= KEPT_MAX) kept.clear();
  kept.set(pattern, made);
  return made;
}

function make(pattern: string): Result<Regex, string> {
  const parsed = parsePattern(pattern);
  if (!parsed.ok) return parsed;
  const program = compileProgram(parsed.value.root);
  return program.ok ? ok(new Regex(new Machine(program.value, parsed.value.groups), parsed.value.groups)) : program;
}

export class Regex {
  readonly #machine: Machine;
  readonly groups: number;

  constructor(machine: Machine, groups: number) {
    this.#machine = machine;
    this.groups = groups;
  }

  /** A text that is too long never matches. */
  matches(text: string): boolean {
    return text.length <= TEXT_MAX && Array.isArray(this.#machine.run(text, { from: 0, whole: true, fuel: { left: FUEL } }));
  }

  /** Somewhere in the text. A text that is too long never matches. */
  finds(text: string): boolean {
    return text.length <= TEXT_MAX && Array.isArray(this.#machine.run(text, { from: 0, whole: false, fuel: { left: FUEL } }));
  }

  /** Every match replaced; `\0` to `\9` in `template` are the whole and the groups, `\\` a backslash. An error: too long or too much work. */
  replaceAll(text: string, template: string): Result<string, string> {
    if (text.length > TEXT_MAX) return err(`longer than ${TEXT_MAX} characters`);
    const fuel = { left: FUEL };
    let out = "";
    let at = 0;
    while (at <= text.length) {
      const found = this.#machine.run(text, { from: at, whole: false, fuel });
      if (found === "spent") return err("the pattern needs too much work for this text");
      if (found === undefined) break;
      const [start = 0, end = 0] = found;
      out += text.slice(at, start) + fill(template, text, found);
      at = end;
      if (end === start) {
        out += text.slice(end, end + 1);
        at = end + 1;
      }
    }
    return ok(out + text.slice(at));
  }
}

const fill = (template: string, text: string, slots: readonly number[]): string =>
  template.replaceAll(/\\([0-9\\])/g, (_all, what: string) => (what === "\\" ? what : text.slice(Math.max(0, slots[Number(what) * 2] ?? 0), Math.max(0, slots[Number(what) * 2 + 1] ?? 0))));

/** What of a substitution's references the pattern has no group for. */
export function checkSubstitution(regex: Regex, template: string): string | undefined {
  const beyond = [...template.matchAll(/\\(.?)/g)].find(([, what]) => what !== "\\" && !(/^[0-9]$/.test(what ?? "") && Number(what) <= regex.groups));
  return beyond === undefined ? undefined : `\`${beyond[0]}\` in the substitution names no group of the pattern`;
}
