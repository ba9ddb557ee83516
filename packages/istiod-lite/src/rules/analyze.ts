// Owns the check of a whole set of objects before they are in any cluster: every rule of the control plane, told as findings. Pure.
import { objectKey, type KubeObject } from "@ambit/kube";
import { admit, nameOf } from "../collections/admit.ts";
import { buildMesh } from "../collections/graph.ts";
import { groupOf, placed, SOURCE_KINDS, sourceOf } from "../collections/kinds.ts";
import { decodeMeshConfig, isMeshConfig } from "../collections/mesh-config.ts";
import type { Settings } from "../collections/settings.ts";
import { FINDINGS, type Finding, type FindingKind } from "./findings.ts";
import { remarksOnKeys } from "./keys.ts";

/** Kinds of these groups configure a mesh: one that is not read is worth a word. */
const MESH_GROUPS = /(^|\.)istio\.io$|^gateway\.networking\.k8s\.io$/;
const OUR_KINDS: ReadonlySet<string> = new Set(Object.values(SOURCE_KINDS).filter((k) => MESH_GROUPS.test(k.group)).map((k) => k.kind));

/** Reasons of Gateway API and of ours for something that nothing defines. */
const NOT_FOUND = ["BackendNotFound", "TargetNotFound"];
/** The first place in the object that a condition's words name. */
const PATH = /\b(spec\.[^\s:,;]+)/;

/** Findings in the order of the objects, then of their paths. */
export function analyzeObjects(objects: readonly KubeObject[], settings: Settings): Finding[] {
  const mesh = buildMesh(settings);
  const out: Finding[] = [];
  /** Kind of status and key → which object. */
  const indexes = new Map<string, number>();
  mesh.batch(() => objects.forEach((raw, index) => {
    const say = (kind: FindingKind, path: string, message: string): void => void out.push({ ...kind, index, object: nameOf(raw), path, message });
    const source = sourceOf(raw);
    if (source === undefined) return sayUnread(raw, say);
    const object = placed(raw, source);
    const id = `${source}/${objectKey(object)}`;
    if (indexes.has(id)) return say(FINDINGS.duplicate, "metadata.name", `${nameOf(object)} is there twice: the first one counts`);
    indexes.set(id, index);
    const admitted = admit(source, object);
    if (!admitted.ok) return admitted.error.forEach((p) => say(FINDINGS.invalid, p.path, `${p.path} ${p.message}`));
    for (const field of ["labels", "annotations"] as const)
      for (const r of remarksOnKeys(admitted.value.metadata[field] ?? {})) say(FINDINGS.unknownKey, `metadata.${field}.${r.key}`, r.message);
    if (isMeshConfig(admitted.value)) {
      const config = decodeMeshConfig(admitted.value);
      for (const name of config.ok ? config.value.withoutEffect : []) say(FINDINGS.withoutEffect, "data.mesh", `${name} has no effect in this mesh`);
    }
    // Its shape is admitted.
    mesh.sources[source].set((source === "gateways" ? presumedReady(admitted.value) : admitted.value) as never);
  }));
  for (const status of mesh.statuses.list()) {
    const index = indexes.get(`${status.kind}/${status.namespace}/${status.name}`) ?? indexes.get(`${status.kind}/${status.name}`);
    if (index === undefined) continue;
    const object = nameOf(objects[index] ?? { metadata: { name: status.name } });
    for (const p of status.problems) out.push({ ...FINDINGS.invalid, index, object, path: p.path, message: `${p.path} ${p.message}` });
    if (status.problems.length > 0) continue;
    for (const c of [...status.conditions, ...[...(status.parents ?? []), ...(status.ancestors ?? [])].flatMap((p) => p.conditions)]) {
      if (c.status === "True" && c.reason !== "UnsupportedValue" && c.type !== "istio.io/WaypointMissing") continue;
      const unbound = c.reason === "WaypointIsNotReady" && c.message.includes("does not exist");
      const missing = unbound || NOT_FOUND.includes(c.reason);
      const path = unbound ? "metadata.labels.istio.io/use-waypoint" : (PATH.exec(c.message)?.[1] ?? "");
      out.push({ ...(missing ? FINDINGS.missing : FINDINGS.condition), index, object, path, message: missing ? c.message : `${c.type}=${c.status} ${c.reason}: ${c.message}` });
    }
  }
  return out.sort((a, b) => a.index - b.index || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

function sayUnread(o: KubeObject, say: (kind: FindingKind, path: string, message: string) => void): void {
  const group = groupOf(o.apiVersion ?? "");
  if (MESH_GROUPS.test(group)) say(FINDINGS.unknownKind, "kind", `${o.kind} of ${o.apiVersion} is not read by this mesh: it has no effect`);
  else if (OUR_KINDS.has(o.kind ?? "") && o.kind !== "Gateway") say(FINDINGS.unknownKind, "apiVersion", `${o.kind} is a kind of the mesh, but not in ${o.apiVersion}: it has no effect`);
}

/** An address that documents use (RFC 5737); it stands for the one that a waypoint will get. */
const PRESUMED_IP = "192.0.2.1";

/** In files nobody has run a waypoint yet: what binds to it is judged as if it ran. */
function presumedReady(gateway: KubeObject): KubeObject {
  const status = gateway["status"] as { addresses?: readonly unknown[] } | undefined;
  if ((status?.addresses?.length ?? 0) > 0) return gateway;
  return { ...gateway, status: { ...status, addresses: [{ type: "IPAddress", value: PRESUMED_IP }] } };
}

