// Owns JSON Patch (RFC 6902): a list of operations applied in order, all or nothing.
import { cloneJson, equalJson, isObject, MAX_JSON_DEPTH, type Json } from "../json.ts";
import { parseIndex, parsePointer } from "./json-pointer.ts";
import { catchRefusal, own, PatchRefusal, requireJson, type Patched } from "./patched.ts";

/** Operations in one patch; the same bound as Kubernetes. */
const MAX_OPERATIONS = 10_000;
/** Values that `copy` may add in one patch, counted in nodes: repeated copies of a copy grow exponentially. */
const MAX_COPIED_NODES = 200_000;

type Operation = { op: string; path: string[]; text: string; from: string[]; value: Json | undefined; index: number };
type Budget = { nodes: number };

/** Applies RFC 6902 `ops` to a copy of `doc`. 400 for what is no list, 422 for operations that are malformed or do not apply. */
export function applyJsonPatch(doc: Json, ops: unknown): Patched {
  return catchRefusal(() => {
    if (!Array.isArray(ops)) throw new PatchRefusal(400, "a JSON patch must be an array of operations");
    if (ops.length > MAX_OPERATIONS) {
      throw new PatchRefusal(
        422,
        `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${ops.length}`,
      );
    }
    const operations = ops.map(decodeOperation);
    const root: Json[] = [cloneJson(requireJson(doc, "document"))];
    const budget: Budget = { nodes: MAX_COPIED_NODES };
    for (const operation of operations) applyOne(root, operation, budget);
    return root[0] ?? null;
  });
}

function decodeOperation(raw: unknown, index: number): Operation {
  const where = `operation ${index}`;
  const entry = requireJson(raw, where);
  if (!isObject(entry)) throw new PatchRefusal(422, `${where}: not an object`);
  const op = own(entry, "op");
  const known = ["add", "remove", "replace", "move", "copy", "test"];
  if (typeof op !== "string" || !known.includes(op)) {
    throw new PatchRefusal(422, `${where}: op must be one of ${known.join(", ")}`);
  }
  const text = own(entry, "path");
  const path = typeof text === "string" ? parsePointer(text) : null;
  if (path === null) throw new PatchRefusal(422, `${where}: path is not a JSON pointer`);
  let from: string[] = [];
  if (op === "move" || op === "copy") {
    const source = own(entry, "from");
    const parsed = typeof source === "string" ? parsePointer(source) : null;
    if (parsed === null) throw new PatchRefusal(422, `${where}: from is not a JSON pointer`);
    from = parsed;
  }
  // A missing value is null, as Kubernetes' engine has it.
  const value = own(entry, "value");
  return { op, path, text: String(text), from, value, index };
}

function applyOne(root: Json[], operation: Operation, budget: Budget): void {
  const { op, path, value } = operation;
  // The document sits at index 0 of a one-element array, so that the root has a parent like every other value.
  switch (op) {
    case "add":
      return add(root, path, cloneJson(value ?? null), operation);
    case "remove":
      remove(root, path, operation);
      return;
    case "replace":
      return replace(root, path, cloneJson(value ?? null), operation);
    case "test": {
      // Like Kubernetes: an absent member counts as null.
      const found = read(root, path);
      if (!equalJson(found ?? null, value ?? null)) refuse(operation, "testing value failed: it differs");
      return;
    }
    case "copy": {
      const source = read(root, operation.from);
      if (source === undefined) return refuse(operation, "from names nothing in the document");
      spend(budget, source, operation);
      return add(root, path, cloneJson(source), operation);
    }
    default: {
      const inside = operation.from.length < path.length && operation.from.every((token, i) => token === path[i]);
      if (inside) return refuse(operation, "cannot move a value into itself");
      const source = read(root, operation.from);
      if (source === undefined) return refuse(operation, "from names nothing in the document");
      remove(root, operation.from, operation);
      return add(root, path, source, operation);
    }
  }
}

function refuse(operation: Operation, why: string): never {
  throw new PatchRefusal(422, `operation ${operation.index}: ${operation.op} ${operation.text}: ${why}`);
}

function spend(budget: Budget, value: Json, operation: Operation): void {
  const pending: { value: Json; depth: number }[] = [{ value, depth: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    budget.nodes--;
    if (budget.nodes < 0) refuse(operation, "the patch copies too much");
    if (next.depth > MAX_JSON_DEPTH) refuse(operation, `nested deeper than ${MAX_JSON_DEPTH} levels`);
    if (typeof next.value !== "object" || next.value === null) continue;
    for (const child of Object.values(next.value)) pending.push({ value: child, depth: next.depth + 1 });
  }
}

function read(root: Json[], path: readonly string[]): Json | undefined {
  let at: Json | undefined = root[0];
  for (const token of path) {
    if (Array.isArray(at)) {
      const index = parseIndex(token);
      at = index === null ? undefined : at[index];
    } else if (isObject(at)) at = own(at, token);
    else return undefined;
    if (at === undefined) return undefined;
  }
  return at;
}

function parentOf(root: Json[], path: readonly string[], operation: Operation): { parent: Json; token: string } {
  const token = path.at(-1);
  if (token === undefined) return { parent: root, token: "0" };
  const parent = read(root, path.slice(0, -1));
  if (parent === undefined) return refuse(operation, "the parent is missing in the document");
  return { parent, token };
}

function add(root: Json[], path: readonly string[], value: Json, operation: Operation): void {
  if (path.length === 0) {
    root[0] = value;
    return;
  }
  const { parent, token } = parentOf(root, path, operation);
  if (isObject(parent)) {
    parent[token] = value;
    return;
  }
  if (!Array.isArray(parent)) return refuse(operation, "the parent is neither an object nor an array");
  const index = token === "-" ? parent.length : parseIndex(token);
  if (index === null) return refuse(operation, `${JSON.stringify(token)} is not an array index`);
  if (index > parent.length) return refuse(operation, `index ${index} is past the end (${parent.length})`);
  parent.splice(index, 0, value);
}

function remove(root: Json[], path: readonly string[], operation: Operation): void {
  if (path.length === 0) {
    root[0] = null;
    return;
  }
  const { parent, token } = parentOf(root, path, operation);
  if (isObject(parent)) {
    if (!Object.hasOwn(parent, token)) return refuse(operation, "unable to remove a missing key");
    delete parent[token];
    return;
  }
  if (Array.isArray(parent)) parent.splice(existingIndex(parent, token, operation), 1);
  else refuse(operation, "the parent is neither an object nor an array");
}

function replace(root: Json[], path: readonly string[], value: Json, operation: Operation): void {
  const { parent, token } = parentOf(root, path, operation);
  if (isObject(parent)) {
    // Kubernetes' engine puts a missing member there as well, against the letter of RFC 6902.
    parent[token] = value;
    return;
  }
  if (Array.isArray(parent)) parent[existingIndex(parent, token, operation)] = value;
  else refuse(operation, "the parent is neither an object nor an array");
}

function existingIndex(parent: readonly Json[], token: string, operation: Operation): number {
  const index = parseIndex(token);
  if (index === null) return refuse(operation, `${JSON.stringify(token)} is not an array index`);
  if (index >= parent.length) return refuse(operation, `index ${index} is past the end (${parent.length})`);
  return index;
}
