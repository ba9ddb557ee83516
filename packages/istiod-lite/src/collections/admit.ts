// Owns the least shape an object must have before translations may look at it: everything they take for granted, and no more.
import { err, ok, problem, type Problem, type Result } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import type { Sources } from "./graph.ts";
import { meshConfigProblems } from "./mesh-config.ts";

export type SourceName = keyof Sources;

type Record_ = Readonly<Record<string, unknown>>;

/** The object without null fields, or everything that keeps it out. The API server checks all of this for its built-in kinds; files and permissive CRDs do not. */
export function admit(source: SourceName, raw: unknown): Result<KubeObject> {
  const object = withoutNulls(raw);
  const problems = problemsOf(source, object);
  // Its shape is what was just checked.
  return problems.length > 0 ? err(problems) : ok(object as KubeObject);
}

/** A field that is null is absent, as Kubernetes reads it; a null in a list is something else and stays. Copies only what it changes. */
function withoutNulls(value: unknown): unknown {
  if (!hasNullField(value)) return value;
  if (Array.isArray(value)) return value.map(withoutNulls);
  return Object.fromEntries(Object.entries(value as Record_).flatMap(([k, v]) => (v === null ? [] : [[k, withoutNulls(v)]])));
}

/** Most objects have none: this runs over every one that comes in, so it allocates nothing. */
function hasNullField(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) {
    for (const item of value) if (hasNullField(item)) return true;
    return false;
  }
  for (const key in value) {
    const field = (value as Record_)[key];
    if (field === null || (typeof field === "object" && hasNullField(field))) return true;
  }
  return false;
}

function problemsOf(source: SourceName, object: unknown): Problem[] {
  const out: Problem[] = [];
  const o = mapping(object, "", out);
  const meta = mapping(o?.["metadata"], "metadata", out);
  if (o === undefined || meta === undefined) return out.length > 0 ? out : [problem("metadata", "is missing")];
  text(meta, "name", "metadata", out, true);
  if (CLUSTER_SCOPED.includes(source)) text(meta, "namespace", "metadata", out, false);
  else text(meta, "namespace", "metadata", out, true);
  for (const field of ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "generateName"]) text(meta, field, "metadata", out, false);
  for (const field of ["labels", "annotations"]) strings(meta[field], `metadata.${field}`, out);
  owners(meta["ownerReferences"], out);
  SHAPES[source]?.(o, out);
  return out;
}

const CLUSTER_SCOPED: readonly SourceName[] = ["namespaces", "nodes", "gatewayClasses"];

const CONFIG_MAP: (o: Record_, out: Problem[]) => void = (o, out) => {
  strings(o["data"], "data", out);
  // One setting that is not understood keeps all of them as they were.
  if (out.length === 0) out.push(...meshConfigProblems(o as KubeObject));
};

const SHAPES: Partial<Readonly<Record<SourceName, (o: Record_, out: Problem[]) => void>>> = {
  configMaps: CONFIG_MAP,
  pods: (o, out) => {
    const spec = mapping(o["spec"], "spec", out, true);
    const status = mapping(o["status"], "status", out);
    text(spec ?? {}, "nodeName", "spec", out, false);
    text(spec ?? {}, "serviceAccountName", "spec", out, false);
    for (const list of ["containers", "initContainers"])
      each(spec?.[list], `spec.${list}`, out, (c, at) => each(c["ports"], `${at}.ports`, out, (p, where) => {
        port(p, "containerPort", where, out);
        for (const field of ["name", "protocol"]) text(p, field, where, out, false);
      }));
    if (spec !== undefined && !Array.isArray(spec["containers"])) out.push(problem("spec.containers", "is missing"));
    each(status?.["podIPs"], "status.podIPs", out, (p, at) => text(p, "ip", at, out, true));
    text(status ?? {}, "podIP", "status", out, false);
    each(status?.["conditions"], "status.conditions", out, () => undefined);
  },
  services: (o, out) => {
    const spec = mapping(o["spec"], "spec", out, true) ?? {};
    strings(spec["selector"], "spec.selector", out);
    for (const field of ["type", "clusterIP", "internalTrafficPolicy", "trafficDistribution"]) text(spec, field, "spec", out, false);
    for (const field of ["clusterIPs", "ipFamilies"]) texts(spec[field], `spec.${field}`, out);
    each(spec["ports"], "spec.ports", out, (p, at) => {
      port(p, "port", at, out);
      for (const field of ["name", "protocol", "appProtocol"]) text(p, field, at, out, false);
      const target = p["targetPort"];
      if (target !== undefined && typeof target !== "string" && !(typeof target === "number" && Number.isInteger(target) && target >= 0 && target <= 65_535))
        out.push(problem(`${at}.targetPort`, "must be a port or the name of one"));
    });
  },
  endpointSlices: (o, out) => {
    each(o["endpoints"], "endpoints", out, (e, at) => {
      if (!Array.isArray(e["addresses"])) out.push(problem(`${at}.addresses`, "is missing"));
      texts(e["addresses"], `${at}.addresses`, out);
      mapping(e["conditions"], `${at}.conditions`, out);
      const ref = mapping(e["targetRef"], `${at}.targetRef`, out) ?? {};
      for (const field of ["kind", "name", "uid"]) text(ref, field, `${at}.targetRef`, out, false);
    });
    text(o, "addressType", "", out, true);
    each(o["ports"], "ports", out, (p, at) => {
      for (const field of ["name", "protocol"]) text(p, field, at, out, false);
      // Without a number it stands for every port; there is nothing to map then.
      if (p["port"] !== undefined) port(p, "port", at, out);
    });
  },
};

function mapping(value: unknown, path: string, out: Problem[], needed = false): Record_ | undefined {
  if (value === undefined || value === null) {
    if (needed) out.push(problem(path, "is missing"));
    return undefined;
  }
  if (typeof value === "object" && !Array.isArray(value)) return value as Record_;
  out.push(problem(path, "must be an object"));
  return undefined;
}

function text(from: Record_, field: string, path: string, out: Problem[], needed: boolean): void {
  const value = from[field];
  if (value === undefined && !needed) return;
  if (typeof value !== "string" || (needed && value === "")) out.push(problem(path === "" ? field : `${path}.${field}`, value === undefined ? "is missing" : "must be a non-empty string"));
}

function strings(value: unknown, path: string, out: Problem[]): void {
  for (const [key, v] of Object.entries(mapping(value, path, out) ?? {})) if (typeof v !== "string") out.push(problem(`${path}.${key}`, "must be a string"));
}

function texts(value: unknown, path: string, out: Problem[]): void {
  if (value === undefined || value === null) return;
  if (!Array.isArray(value)) out.push(problem(path, "must be a list"));
  else value.forEach((v, i) => { if (typeof v !== "string") out.push(problem(`${path}[${i}]`, "must be a string")); });
}

function each(value: unknown, path: string, out: Problem[], check: (item: Record_, path: string) => void): void {
  if (value === undefined || value === null) return;
  if (!Array.isArray(value)) {
    out.push(problem(path, "must be a list"));
    return;
  }
  value.forEach((v, i) => {
    const item = mapping(v, `${path}[${i}]`, out, true);
    if (item !== undefined) check(item, `${path}[${i}]`);
  });
}

function port(from: Record_, field: string, path: string, out: Problem[]): void {
  const n = from[field];
  if (typeof n !== "number" || !Number.isInteger(n) || n < 1 || n > 65_535) out.push(problem(`${path}.${field}`, "must be a port from 1 to 65535"));
}

function owners(value: unknown, out: Problem[]): void {
  each(value, "metadata.ownerReferences", out, (o, at) => { for (const field of ["kind", "name"]) text(o, field, at, out, true); });
}

/** How an object is called in logs and problems. */
export const nameOf = (o: KubeObject): string => `${o.kind ?? "object"} ${o.metadata?.namespace === undefined ? "" : `${o.metadata.namespace}/`}${o.metadata?.name ?? "?"}`;
