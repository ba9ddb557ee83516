// Owns expressions over one request (the part of CEL that filters of access logs are written in): read once, then evaluated without any state.
// Language: https://github.com/google/cel-spec; attributes: Envoy's (intro/arch_overview/advanced/attributes).
import { err, ok, type Result } from "../result.ts";
import { compileRegex } from "../route/regex/regex.ts";
import { parseExpression, type Node } from "./expression-syntax.ts";

/** Text, number, truth: what an attribute may be. undefined: there is none, and whatever asks for it fails. */
export type Attribute = string | number | boolean;
/** Milliseconds, apart from plain numbers: they compare only with each other. */
interface Duration { readonly durationMs: number }
type Value = Attribute | Duration | null | readonly Value[];
/** An error of CEL: it stays one but for `||` and `&&`, whose other side may decide. */
const FAULT = Symbol("fault");
type Outcome = Value | typeof FAULT;
type Eval<R> = (record: R) => Outcome;

/** What a record knows. */
export interface Attributes<R> {
  value(name: string): ((record: R) => Attribute | undefined) | undefined;
  /** A map by header name, lower case. */
  map(name: string): ((record: R, key: string) => string | undefined) | undefined;
}

export const ATTRIBUTES: ReadonlySet<string> = new Set([
  "request.path", "request.url_path", "request.host", "request.scheme", "request.method", "request.referer", "request.useragent", "request.id", "request.protocol", "request.query", "request.duration", "request.size",
  "response.code", "response.code_details", "response.grpc_status", "response.size", "source.address", "source.port", "destination.address", "destination.port",
  "connection.mtls", "connection.uri_san_peer_certificate", "connection.requested_server_name", "upstream.address", "upstream.port", "xds.route_name", "xds.cluster_name",
]);
const MAPS: ReadonlySet<string> = new Set(["request.headers", "response.headers", "response.trailers"]);
const DURATIONS: ReadonlySet<string> = new Set(["request.duration"]);

/** A text of the value, be it a number or a truth; undefined: there is none, or it is of another kind. */
export type TextOf<R> = (record: R) => string | undefined;
/** True only where the expression is true: what fails, or is no truth, is not (as in Envoy's filter). */
export type Predicate<R> = (record: R) => boolean;

/** Errors say what is not understood, and where. */
export function compilePredicate<R>(text: string, attributes: Attributes<R>): Result<Predicate<R>, string> {
  const made = compile(text, attributes);
  if (!made.ok) return made;
  const evaluate = made.value;
  return ok((record) => evaluate(record) === true);
}

export function compileText<R>(text: string, attributes: Attributes<R>): Result<TextOf<R>, string> {
  const made = compile(text, attributes);
  if (!made.ok) return made;
  const evaluate = made.value;
  return ok((record) => {
    const value = evaluate(record);
    return value === FAULT || value === null || typeof value === "object" ? undefined : String(value);
  });
}

/** What is not understood; undefined: nothing. For whoever tells its author. */
export function expressionProblem(text: string): string | undefined {
  const made = compile<undefined>(text, { value: () => () => undefined, map: () => () => undefined });
  return made.ok ? undefined : made.error;
}

function compile<R>(text: string, attributes: Attributes<R>): Result<Eval<R>, string> {
  const parsed = parseExpression(text);
  if (!parsed.ok) return parsed;
  const compiler = new Compiler(attributes);
  const evaluate = compiler.compile(parsed.value);
  return compiler.problem === undefined ? ok(evaluate) : err(compiler.problem);
}

class Compiler<R> {
  readonly #attributes: Attributes<R>;
  problem: string | undefined;

  constructor(attributes: Attributes<R>) {
    this.#attributes = attributes;
  }

  compile(node: Node): Eval<R> {
    switch (node.kind) {
      case "literal": { const { value } = node; return () => value; }
      case "list": { const items = node.items.map((n) => this.compile(n)); return (r) => allOf(items, r); }
      case "name": return this.#attribute(node.path);
      case "index": return this.#index(node.of, node.key);
      case "not": { const of = this.compile(node.of); return (r) => { const v = of(r); return typeof v === "boolean" ? !v : FAULT; }; }
      case "minus": { const of = this.compile(node.of); return (r) => { const v = of(r); return typeof v === "number" ? -v : FAULT; }; }
      case "choose": {
        const [when, yes, no] = [this.compile(node.when), this.compile(node.yes), this.compile(node.no)];
        return (r) => { const v = when(r); return typeof v === "boolean" ? (v ? yes(r) : no(r)) : FAULT; };
      }
      case "binary": return node.operator === "in" ? this.#within(node.left, node.right) : binary(node.operator, this.compile(node.left), this.compile(node.right));
      case "call": return this.#call(node);
    }
  }

  #fail(problem: string): Eval<R> {
    this.problem ??= problem;
    return () => FAULT;
  }

  #attribute(path: string): Eval<R> {
    if (MAPS.has(path)) return this.#fail(`${path} is a map: ask for one entry, or for a name "in" it`);
    const read = ATTRIBUTES.has(path) ? this.#attributes.value(path) : undefined;
    if (ATTRIBUTES.has(path) && read === undefined) return () => FAULT;
    if (read === undefined) {
      const map = [...MAPS].find((m) => path.startsWith(`${m}.`));
      return map === undefined ? this.#fail(`${path} is no attribute that is known here`) : this.#entry(map, () => path.slice(map.length + 1));
    }
    if (DURATIONS.has(path)) return (r) => { const v = read(r); return typeof v === "number" ? { durationMs: v } : FAULT; };
    return (r) => read(r) ?? FAULT;
  }

  #index(of: Node, key: Node): Eval<R> {
    if (of.kind === "name" && MAPS.has(of.path)) return this.#entry(of.path, this.compile(key));
    const [list, at] = [this.compile(of), this.compile(key)];
    return (r) => { const [l, i] = [list(r), at(r)]; return Array.isArray(l) && typeof i === "number" ? ((l as readonly Value[])[i] ?? FAULT) : FAULT; };
  }

  #entry(map: string, key: Eval<R>): Eval<R> {
    const read = this.#attributes.map(map);
    return (r) => { const k = key(r); return typeof k === "string" ? (read?.(r, k.toLowerCase()) ?? FAULT) : FAULT; };
  }

  #within(left: Node, right: Node): Eval<R> {
    const value = this.compile(left);
    if (right.kind === "name" && MAPS.has(right.path)) {
      const entry = this.#entry(right.path, value);
      return (r) => (value(r) === FAULT ? FAULT : entry(r) !== FAULT);
    }
    const list = this.compile(right);
    return (r) => {
      const v = value(r);
      const l = list(r);
      return v === FAULT || !Array.isArray(l) ? FAULT : (l as readonly Value[]).some((x) => equal(x, v));
    };
  }

  #call({ name, on, args }: Extract<Node, { kind: "call" }>): Eval<R> {
    const [first] = args;
    if (on !== undefined) return this.#method(name, on, args);
    if (args.length !== 1 || first === undefined) return this.#fail(`${name}() with ${args.length} arguments is not available here`);
    if (name === "has") {
      const tested = first.kind === "name" || first.kind === "index" ? this.compile(first) : this.#fail("has() asks for an attribute");
      return (r) => tested(r) !== FAULT;
    }
    if (name === "duration") {
      const ms = first.kind === "literal" && typeof first.value === "string" ? milliseconds(first.value) : undefined;
      return ms === undefined ? this.#fail('duration() needs a text such as "1.5s"') : () => ({ durationMs: ms });
    }
    const of = this.compile(first);
    switch (name) {
      case "size": return (r) => { const v = of(r); return typeof v === "string" ? [...v].length : Array.isArray(v) ? v.length : FAULT; };
      case "string": return (r) => { const v = of(r); return v === FAULT || v === null || typeof v === "object" ? FAULT : String(v); };
      case "int": return (r) => { const v = of(r); return typeof v === "number" ? Math.trunc(v) : typeof v === "string" && /^-?[0-9]{1,15}$/.test(v) ? Number(v) : FAULT; };
      default: return this.#fail(`the function ${name}() is not available here`);
    }
  }

  #method(name: string, on: Node, args: readonly Node[]): Eval<R> {
    const [argument] = args;
    if (argument === undefined || args.length > 1) return this.#fail(`${name}() needs one argument`);
    const [text, part] = [this.compile(on), this.compile(argument)];
    const texts = (test: (text: string, part: string) => boolean): Eval<R> => (r) => { const [t, p] = [text(r), part(r)]; return typeof t === "string" && typeof p === "string" ? test(t, p) : FAULT; };
    switch (name) {
      case "startsWith": return texts((t, p) => t.startsWith(p));
      case "endsWith": return texts((t, p) => t.endsWith(p));
      case "contains": return texts((t, p) => t.includes(p));
      case "matches": {
        if (argument.kind !== "literal" || typeof argument.value !== "string") return this.#fail("matches() needs a regular expression as it is");
        const regex = compileRegex(argument.value);
        if (!regex.ok) return this.#fail(`matches(): ${regex.error}`);
        return texts((t) => regex.value.finds(t));
      }
      default: return this.#fail(`the function ${name}() is not available here`);
    }
  }
}

function allOf<R>(items: readonly Eval<R>[], record: R): Outcome {
  const out: Value[] = [];
  for (const item of items) {
    const value = item(record);
    if (value === FAULT) return FAULT;
    out.push(value);
  }
  return out;
}

function binary<R>(operator: string, left: Eval<R>, right: Eval<R>): Eval<R> {
  switch (operator) {
    // One side may decide although the other fails (CEL: Logical Operators).
    case "&&": return (r) => decided(left(r), () => right(r), false);
    case "||": return (r) => decided(left(r), () => right(r), true);
    case "==": return same(left, right, true);
    case "!=": return same(left, right, false);
    case "<": return ordered(left, right, (o) => o < 0);
    case "<=": return ordered(left, right, (o) => o <= 0);
    case ">": return ordered(left, right, (o) => o > 0);
    case ">=": return ordered(left, right, (o) => o >= 0);
    case "+": return (r) => {
      const [a, b] = [left(r), right(r)];
      return typeof a === "string" && typeof b === "string" ? a + b : typeof a === "number" && typeof b === "number" ? a + b : FAULT;
    };
    default: return (r) => { const [a, b] = [left(r), right(r)]; return typeof a === "number" && typeof b === "number" ? a - b : FAULT; };
  }
}

function same<R>(left: Eval<R>, right: Eval<R>, expected: boolean): Eval<R> {
  return (r) => {
    const a = left(r);
    const b = right(r);
    return a === FAULT || b === FAULT ? FAULT : equal(a, b) === expected;
  };
}

function decided(first: Outcome, second: () => Outcome, by: boolean): Outcome {
  if (first === by) return by;
  const other = second();
  if (other === by) return by;
  return typeof first === "boolean" && typeof other === "boolean" ? !by : FAULT;
}

function ordered<R>(left: Eval<R>, right: Eval<R>, holds: (order: number) => boolean): Eval<R> {
  return (r) => {
    const order = compare(left(r), right(r));
    return order === undefined ? FAULT : holds(order);
  };
}

function compare(a: Outcome, b: Outcome): number | undefined {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "string" && typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  return isDuration(a) && isDuration(b) ? a.durationMs - b.durationMs : undefined;
}

const isDuration = (v: Outcome): v is Duration => typeof v === "object" && v !== null && "durationMs" in v;

/** Of different kinds: not equal, and no error. */
function equal(a: Value, b: Value): boolean {
  if (isDuration(a) && isDuration(b)) return a.durationMs === b.durationMs;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && (a as readonly Value[]).every((v, i) => equal(v, (b as readonly Value[])[i] ?? null));
  return a === b;
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 0.001, ns: 0.000_001 };

function milliseconds(text: string): number | undefined {
  if (!/^-?(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:h|ms|us|ns|m|s)){1,6}$/.test(text)) return undefined;
  const sum = [...text.matchAll(/([0-9.]+)(h|ms|us|ns|m|s)/g)].reduce((total, [, n, unit]) => total + Number(n) * (UNIT_MS[unit ?? ""] ?? 0), 0);
  return text.startsWith("-") ? -sum : sum;
}
