// Owns the order of merged lists: elements that a patch names stand in the patch's order, the others keep the server's.
import { isObject, type Json } from "../json.ts";

/** Two elements have equal identities when the merge takes them for the same one. "" has no identity. */
export function identity(item: Json, mergeKey: string): string {
  if (mergeKey === "" || !isObject(item)) return JSON.stringify(item);
  return Object.hasOwn(item, mergeKey) ? JSON.stringify(item[mergeKey]) : "";
}

function positions(list: readonly Json[], mergeKey: string): Map<string, number> {
  const found = new Map<string, number>();
  list.forEach((item, i) => {
    const id = identity(item, mergeKey);
    if (!found.has(id)) found.set(id, i);
  });
  return found;
}

/**
 * Orders `merged`. Elements that `order` names follow it; the rest keep the relative order of `server` and stand as
 * far forward as that order puts them before the next named element.
 */
export function arrange(merged: readonly Json[], order: readonly Json[], server: readonly Json[], mergeKey: string): Json[] {
  const wanted = positions(order, mergeKey);
  const known = positions(server, mergeKey);
  const rank = (from: Map<string, number>, item: Json): number => from.get(identity(item, mergeKey)) ?? -1;
  const named = merged.filter((item) => rank(wanted, item) >= 0).toSorted((a, b) => rank(wanted, a) - rank(wanted, b));
  const others = merged.filter((item) => rank(wanted, item) < 0).toSorted((a, b) => rank(known, a) - rank(known, b));
  const result: Json[] = [];
  let next = 0;
  for (const item of named) {
    const place = rank(known, item);
    for (let other = others[next]; other !== undefined; other = others[next]) {
      const stood = rank(known, other);
      if (place < 0 || stood < 0 || stood > place) break;
      result.push(other);
      next++;
    }
    result.push(item);
  }
  return [...result, ...others.slice(next)];
}
