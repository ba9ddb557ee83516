// Owns how values are laid over one another, as Helm does: maps are merged, everything else replaced, null takes away.
import { isMap, type Value, type ValueMap } from "../template/value.ts";

/** Deeper values are a mistake, or an attack on whoever walks them. */
const DEPTH_MAX = 100;

/** `over` wins. A null stays, so that it still takes away what a later base has. */
export function layValues(base: ValueMap, over: ValueMap, depth = 0): ValueMap {
  if (depth > DEPTH_MAX) throw new Error(`values are nested more than ${DEPTH_MAX} deep`);
  const merged = new Map<string, Value>(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    const below = merged.get(key);
    merged.set(key, isMap(value) && isMap(below) ? layValues(below, value, depth + 1) : value);
  }
  return Object.fromEntries(merged);
}

/** What a chart gets: its defaults below, entries that are null gone. */
export const chartValues = (defaults: ValueMap, given: ValueMap): ValueMap => withoutNulls(layValues(defaults, given));

function withoutNulls(values: ValueMap, depth = 0): ValueMap {
  if (depth > DEPTH_MAX) throw new Error(`values are nested more than ${DEPTH_MAX} deep`);
  return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== null && v !== undefined).map(([k, v]) => [k, isMap(v) ? withoutNulls(v, depth + 1) : v]));
}
