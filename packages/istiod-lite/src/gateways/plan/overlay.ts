// Owns laying a user's partial object over ours, as a strategic merge patch does it: maps merge, lists of named things merge by name.
import { problem, type Problem } from "@ambit/core";

export type Json = { readonly [field: string]: unknown };

/** Where a list is a set of things with a name, the field that names them (Kubernetes' patchMergeKey). Other lists are replaced. */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  containers: "name", initContainers: "name", env: "name", volumes: "name", imagePullSecrets: "name", secrets: "name",
  volumeMounts: "mountPath", topologySpreadConstraints: "topologyKey", hostAliases: "ip",
};
/** `ports` of a container and of a Service have different keys: the one that its items have. */
const PORT_KEYS = ["containerPort", "port"] as const;
/** Deeper than any Kubernetes object. */
const DEPTH_MAX = 32;

/** null deletes a field; `$patch: delete` deletes an item, `$patch: replace` replaces a map. Other directives are refused. */
export function overlay(base: Json, patch: Json): { readonly value: Json; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const value = mergeMaps(base, patch, "", problems, 0);
  return { value, problems };
}

function mergeMaps(base: Json, patch: Json, path: string, problems: Problem[], depth: number): Json {
  if (depth > DEPTH_MAX) {
    problems.push(problem(path, `is nested deeper than ${DEPTH_MAX}`));
    return base;
  }
  const directive = patch["$patch"];
  if (directive === "replace") return without(patch, "$patch");
  if (directive !== undefined && directive !== "merge") problems.push(problem(`${path}$patch`, `${JSON.stringify(directive)} is not supported here`));
  const out: Record<string, unknown> = { ...base };
  for (const [field, value] of Object.entries(without(patch, "$patch"))) {
    const at = path === "" ? field : `${path}.${field}`;
    if (field.startsWith("$")) problems.push(problem(at, "this directive is not supported"));
    else if (field === "__proto__") problems.push(problem(at, "is not a field"));
    else if (value === null) delete out[field];
    else if (isMap(value) && isMap(out[field])) out[field] = mergeMaps(out[field], value, at, problems, depth + 1);
    else if (Array.isArray(value) && Array.isArray(out[field])) out[field] = mergeLists(field, out[field], value, at, problems, depth + 1);
    else out[field] = value;
  }
  return out;
}

function mergeLists(field: string, base: readonly unknown[], patch: readonly unknown[], path: string, problems: Problem[], depth: number): readonly unknown[] {
  const key = field === "ports" ? PORT_KEYS.find((k) => patch.some((p) => isMap(p) && k in p)) : MERGE_KEYS[field];
  if (key === undefined) return patch;
  const out = [...base];
  for (const [i, item] of patch.entries()) {
    if (!isMap(item) || item[key] === undefined) {
      problems.push(problem(`${path}[${i}]`, `has no ${key}, by which this list is merged`));
      continue;
    }
    const at = out.findIndex((b) => isMap(b) && b[key] === item[key]);
    const old = out[at];
    if (item["$patch"] === "delete") {
      if (at >= 0) out.splice(at, 1);
    } else if (isMap(old)) out[at] = mergeMaps(old, item, `${path}[${i}]`, problems, depth);
    else out.push(item);
  }
  return out;
}

const isMap = (v: unknown): v is Json => typeof v === "object" && v !== null && !Array.isArray(v);
const without = (map: Json, field: string): Json => Object.fromEntries(Object.entries(map).filter(([k]) => k !== field));
