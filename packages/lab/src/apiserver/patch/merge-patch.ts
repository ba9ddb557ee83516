// Owns JSON Merge Patch (RFC 7396).
import { cloneJson, isObject, type Json, type JsonObject } from "../json.ts";
import { catchRefusal, own, PatchRefusal, requireJson, type Patched } from "./patched.ts";

/** Merges `patch` into a copy of `doc`: null deletes, objects merge, everything else replaces. */
export function applyMergePatch(doc: Json, patch: unknown): Patched {
  return catchRefusal(() => {
    const checked = requireJson(patch, "merge patch");
    if (!isObject(checked)) throw new PatchRefusal(400, "a merge patch of an object must be an object");
    return mergeInto(cloneJson(requireJson(doc, "document")), checked);
  });
}

function mergeInto(target: Json | undefined, patch: JsonObject): JsonObject {
  const merged: JsonObject = isObject(target) ? target : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else if (isObject(value)) merged[key] = mergeInto(own(merged, key), value);
    else merged[key] = cloneJson(value);
  }
  return merged;
}
