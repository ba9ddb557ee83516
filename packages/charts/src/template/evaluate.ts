// Owns running a template: text out, or the file and line of what went wrong. Nothing missing is printed as nothing.
import { TemplateError } from "./error.ts";
import { callFunction } from "./functions.ts";
import type { Command, Node, Operand, Pipeline, Template } from "./parse.ts";
import { isMap, isTrue, keysOf, printed, type Value } from "./value.ts";

/** Includes within includes: more is a template that includes itself. */
const INCLUDE_DEPTH_MAX = 30;
/** Far above any manifest; a loop over a loop stops here. */
const OUTPUT_MAX_CHARS = 4 * 1024 * 1024;

interface Scope { readonly dot: Value; readonly variables: ReadonlyMap<string, Value>; readonly file: string; readonly depth: number }

/** `partials` are what `include` finds, with the file each is in. */
export function evaluateTemplate(template: Template, data: Value, partials: ReadonlyMap<string, { readonly nodes: readonly Node[]; readonly file: string }>): string {
  let size = 0;

  const run = (nodes: readonly Node[], scope: Scope): string => {
    let out = "";
    for (const node of nodes) {
      const text = node.kind === "text" ? node.text : act(node, scope);
      size += text.length;
      if (size > OUTPUT_MAX_CHARS) throw new TemplateError(scope.file, node.kind === "text" ? 1 : node.line, `more than ${OUTPUT_MAX_CHARS} characters come out`);
      out += text;
    }
    return out;
  };

  const act = (node: Exclude<Node, { kind: "text" }>, scope: Scope): string => {
    const value = valueOf(node.pipeline, scope);
    switch (node.kind) {
      case "print": {
        const p = printed(value);
        if ("problem" in p) throw new TemplateError(scope.file, node.line, p.problem);
        return p.text;
      }
      case "if":
        return run(isTrue(value) ? node.body : node.otherwise, scope);
      case "with":
        return isTrue(value) ? run(node.body, { ...scope, dot: value }) : run(node.otherwise, scope);
      case "range":
        return entriesOf(value, scope.file, node.line).map(([key, item]) => {
          const variables = new Map(scope.variables);
          if (node.key !== undefined) variables.set(node.key, key);
          if (node.value !== undefined) variables.set(node.value, item);
          return run(node.body, { ...scope, dot: item, variables });
        }).join("");
    }
  };

  const valueOf = (pipeline: Pipeline, scope: Scope): Value => {
    let value: Value = undefined;
    pipeline.forEach((command, i) => { value = i === 0 ? commandOf(command, scope, []) : commandOf(command, scope, [value]); });
    return value;
  };

  const commandOf = (command: Command, scope: Scope, last: readonly Value[]): Value => {
    if (command.kind === "value") return operandOf(command.operand, scope);
    const { name, args, line } = command;
    // These two stop at the first argument that decides.
    if ((name === "and" || name === "or") && args.length > 0 && last.length === 0) {
      let value: Value = undefined;
      for (const a of args) {
        value = operandOf(a, scope);
        if (isTrue(value) === (name === "or")) break;
      }
      return value;
    }
    const values = [...args.map((a) => operandOf(a, scope)), ...last];
    if (name !== "include") {
      const result = callFunction(name, values);
      if ("problem" in result) throw new TemplateError(scope.file, line, result.problem);
      return result.value;
    }
    const [partial, dot] = values;
    const found = typeof partial === "string" ? partials.get(partial) : undefined;
    if (found === undefined || values.length !== 2) throw new TemplateError(scope.file, line, found === undefined ? `no template "${String(partial)}" is defined` : "include takes a name and a value");
    if (scope.depth >= INCLUDE_DEPTH_MAX) throw new TemplateError(scope.file, line, `templates include one another more than ${INCLUDE_DEPTH_MAX} deep`);
    return run(found.nodes, { dot: dot as Value, variables: new Map([["$", dot as Value]]), file: found.file, depth: scope.depth + 1 });
  };

  const operandOf = (operand: Operand, scope: Scope): Value => {
    if (operand.kind === "literal") return operand.value;
    if (operand.kind === "pipeline") return valueOf(operand.pipeline, scope);
    const { root, fields, line } = operand;
    if (root !== "." && !scope.variables.has(root)) throw new TemplateError(scope.file, line, `there is no variable ${root}`);
    let value = root === "." ? scope.dot : scope.variables.get(root);
    let path: string = root === "." ? "" : root;
    for (const field of fields) {
      if (!isMap(value)) throw new TemplateError(scope.file, line, `${path === "" ? "the value here" : path} has no fields, so no .${field}`);
      value = Object.hasOwn(value, field) ? value[field] : undefined;
      path = `${path}.${field}`;
    }
    return value;
  };

  return run(template.nodes, { dot: data, variables: new Map([["$", data]]), file: template.file, depth: 0 });
}

function entriesOf(value: Value, file: string, line: number): readonly (readonly [Value, Value])[] {
  if (Array.isArray(value)) return (value as readonly Value[]).map((item, i) => [i, item] as const);
  if (isMap(value)) return keysOf(value).map((k) => [k, value[k]] as const);
  if (value === undefined || value === null) return [];
  throw new TemplateError(file, line, `a range goes over a list or a map, not over ${typeof value}`);
}
