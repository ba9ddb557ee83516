// Owns the parents that a route names: services and entries of the mesh, and which others are ours to answer for.
import type { Fields, Reader } from "../decode.ts";

export interface ParentRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly sectionName: string | undefined;
  readonly port: number | undefined;
  /** As the user wrote it: status repeats it. */
  readonly written: Fields;
}

/** `Service/namespace/name` or `ServiceEntry/namespace/name`; undefined: a parent of another kind. */
export function parentKey(p: Pick<ParentRef, "group" | "kind" | "namespace" | "name">): string | undefined {
  if (p.group === "" && p.kind === "Service") return `Service/${p.namespace}/${p.name}`;
  if (p.group === "networking.istio.io" && p.kind === "ServiceEntry") return `ServiceEntry/${p.namespace}/${p.name}`;
  return undefined;
}

/** Of Gateway API's CRDs. */
const PARENTS_MAX = 32;

export function readParents(reader: Reader, value: unknown, namespace: string): ParentRef[] {
  const list = reader.list(value, "spec.parentRefs") ?? [];
  if (list.length > PARENTS_MAX) reader.refuse("spec.parentRefs", `has more than ${PARENTS_MAX} entries`);
  return list.slice(0, PARENTS_MAX).flatMap((p, i) => {
    const at = `spec.parentRefs[${i}]`;
    const fields = reader.object(p, at, ["group", "kind", "namespace", "name", "sectionName", "port"]);
    const name = reader.text(fields?.["name"], `${at}.name`);
    if (fields === undefined || name === undefined) return [];
    return [{
      group: reader.text(fields["group"], `${at}.group`) ?? "gateway.networking.k8s.io", kind: reader.text(fields["kind"], `${at}.kind`) ?? "Gateway",
      namespace: reader.text(fields["namespace"], `${at}.namespace`) ?? namespace, name,
      sectionName: reader.text(fields["sectionName"], `${at}.sectionName`),
      port: fields["port"] === undefined ? undefined : reader.port(fields["port"], `${at}.port`), written: fields,
    }];
  });
}
