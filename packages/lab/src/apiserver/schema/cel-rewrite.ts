// Owns what happens to a CEL expression between parsing and planning: optional selection, metering, and unknown names.
import type { parse } from "@bufbuild/cel";

export type Expr = NonNullable<ReturnType<typeof parse>["expr"]>;
type Call = Extract<Expr["exprKind"], { case: "callExpr" }>["value"];

/** Marks a selection written as `a.?b`; the parser does not know that form. */
const OPTIONAL = "__optional__";
/** The function that counts one step of a loop and passes the loop's condition on. */
export const METER = "__meter__";
/** Reads an optional member; an optional value is a list of one or no item. */
export const OPTIONAL_SELECT = "__optionalSelect__";
/** Reads a member of what an optional holds. */
export const OPTIONAL_CHAIN = "__optionalChain__";
/** Handled by the evaluator itself, hence in no list of functions. */
const BUILT_IN: ReadonlySet<string> = new Set([
  "_&&_", "_||_", "_?_:_", "_[_]", "@not_strictly_false", "__not_strictly_false__",
]);
const RETURN_OPTIONAL: ReadonlySet<string> = new Set([OPTIONAL_SELECT, OPTIONAL_CHAIN, "or", "optMap", "optFlatMap"]);

/** Writes `.?name` so that the parser takes it; texts in quotes stay. Throws for the index form, which is not supported. */
export function markOptionals(source: string): string {
  let result = "";
  for (let i = 0; i < source.length; ) {
    const quote = source[i];
    if (quote === '"' || quote === "'") {
      const end = endOfText(source, i, quote);
      result += source.slice(i, end);
      i = end;
    } else if (source.startsWith("[?", i) || source.startsWith("{?", i)) {
      throw new Error("optional index and optional entries are not supported");
    } else if (source.startsWith(".?", i)) {
      result += `.${OPTIONAL}`;
      i += 2;
    } else result += source[i++];
  }
  return result;
}

function endOfText(source: string, start: number, quote: string): number {
  const raw = /[rR]$/.test(source.slice(0, start));
  const fence = source.startsWith(quote.repeat(3), start) ? quote.repeat(3) : quote;
  for (let i = start + fence.length; i < source.length; i++) {
    if (!raw && source[i] === "\\") i++;
    else if (source.startsWith(fence, i)) return i + fence.length;
  }
  return source.length;
}

/** What an expression mentions. */
export interface Mentions {
  functions: Set<string>;
  identifiers: Set<string>;
}

/** Rewrites `expr` in place and collects what it mentions. `names` are functions with a dot, such as `optional.of`. */
export function rewrite(expr: Expr, bound: ReadonlySet<string>, names: ReadonlySet<string>, mentions: Mentions): void {
  const kind = expr.exprKind;
  const inside = (child: Expr | undefined, more: readonly string[] = []): void => {
    if (child !== undefined) rewrite(child, more.length === 0 ? bound : bound.union(new Set(more)), names, mentions);
  };
  switch (kind.case) {
    case "identExpr":
      if (!bound.has(kind.value.name)) mentions.identifiers.add(kind.value.name);
      return;
    case "selectExpr":
      inside(kind.value.operand);
      rewriteSelect(expr);
      return;
    case "callExpr":
      rewriteCall(kind.value, inside, names, mentions);
      return;
    case "listExpr":
      for (const element of kind.value.elements) inside(element);
      return;
    case "structExpr":
      for (const entry of kind.value.entries) {
        if (entry.keyKind.case === "mapKey") inside(entry.keyKind.value);
        inside(entry.value);
      }
      return;
    case "comprehensionExpr": {
      const loop = kind.value;
      const variables = [loop.iterVar, loop.iterVar2, loop.accuVar].filter((name) => name !== "");
      inside(loop.iterRange);
      inside(loop.accuInit);
      for (const part of [loop.loopCondition, loop.loopStep, loop.result]) inside(part, variables);
      if (loop.loopCondition !== undefined) wrap(loop.loopCondition, METER);
      return;
    }
    default:
      return;
  }
}

function rewriteCall(
  call: Call,
  inside: (child: Expr | undefined, more?: readonly string[]) => void,
  names: ReadonlySet<string>,
  mentions: Mentions,
): void {
  const target = call.target?.exprKind;
  const qualified = target?.case === "identExpr" ? `${target.value.name}.${call.function}` : "";
  if (names.has(qualified)) {
    mentions.functions.add(qualified);
    for (const argument of call.args) inside(argument);
    return;
  }
  if (!BUILT_IN.has(call.function)) mentions.functions.add(call.function);
  inside(call.target);
  for (const argument of call.args) inside(argument);
}

function rewriteSelect(expr: Expr): void {
  if (expr.exprKind.case !== "selectExpr") return;
  const { operand, field, testOnly } = expr.exprKind.value;
  if (operand === undefined) return;
  const marked = field.startsWith(OPTIONAL);
  const chained = isOptional(operand);
  if (!marked && !chained) return;
  if (testOnly) throw new Error("has() of an optional selection is not supported");
  const name = marked ? field.slice(OPTIONAL.length) : field;
  asCall(expr, chained ? OPTIONAL_CHAIN : OPTIONAL_SELECT, [operand, text(expr, name)]);
}

function isOptional(expr: Expr): boolean {
  return expr.exprKind.case === "callExpr" && RETURN_OPTIONAL.has(expr.exprKind.value.function);
}

function text(like: Expr, value: string): Expr {
  return { ...like, exprKind: { case: "constExpr", value: constant(value) } };
}

function constant(value: string): Extract<Expr["exprKind"], { case: "constExpr" }>["value"] {
  return { $typeName: "cel.expr.Constant", constantKind: { case: "stringValue", value } };
}

function asCall(expr: Expr, name: string, args: Expr[]): void {
  const value: Call = { $typeName: "cel.expr.Expr.Call", function: name, args };
  expr.exprKind = { case: "callExpr", value };
}

function wrap(expr: Expr, name: string): void {
  asCall(expr, name, [{ ...expr, exprKind: expr.exprKind }]);
}
