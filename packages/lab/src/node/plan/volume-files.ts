// Owns which files a ConfigMap, Secret, downward or projected volume consists of.
import { fieldValue, resourceValue, type NodeFacts } from "./downward.ts";
import type { DownwardFile, KeyItem, NodePod, Volume } from "./pod-spec.ts";

export interface VolumeFile { readonly path: string; readonly data: Uint8Array; readonly mode: number }
export type VolumeFiles = { readonly files: readonly VolumeFile[] } | { readonly problem: string };
export interface VolumeData {
  /** Bytes by key; undefined = the object does not exist. */
  configMap(name: string): Readonly<Record<string, Uint8Array>> | undefined;
  secret(name: string): Readonly<Record<string, Uint8Array>> | undefined;
  /** The current token of a projection, by its index; undefined = not there yet. */
  token(index: number): string | undefined;
  readonly node: NodeFacts;
}

const DEFAULT_MODE = 0o644;
/** The total of one volume; etcd's own bound on an object is 1.5 MiB and a projection has a few. */
const VOLUME_MAX_BYTES = 16 * 1024 * 1024;

export function volumeFiles(pod: NodePod, volume: Volume, data: VolumeData): VolumeFiles {
  const files: VolumeFile[] = [];
  const problems: string[] = [];
  const add = (path: string, bytes: Uint8Array, mode: number) => {
    if (!isSafePath(path)) problems.push(`path "${path}" must be relative, without ".."`);
    else files.push({ path, data: bytes, mode });
  };
  const keyed = (kind: string, name: string, from: Readonly<Record<string, Uint8Array>> | undefined, items: readonly KeyItem[] | undefined, optional: boolean | undefined, mode: number) => {
    if (from === undefined) {
      if (optional !== true) problems.push(`${kind} "${name}" not found`);
      return;
    }
    for (const item of items ?? Object.keys(from).map((key): KeyItem => ({ key, path: key }))) {
      const bytes = from[item.key];
      if (bytes !== undefined) add(item.path, bytes, item.mode ?? mode);
      else if (optional !== true) problems.push(`references non-existent key "${item.key}" in ${kind} "${name}"`);
    }
  };
  const downward = (items: readonly DownwardFile[] | undefined, mode: number) => {
    for (const item of items ?? []) {
      const first = pod.spec.containers[0];
      const text = item.fieldRef !== undefined ? fieldValue(pod, item.fieldRef.fieldPath, data.node)
        : item.resourceFieldRef !== undefined && first !== undefined ? resourceValue(pod, first, item.resourceFieldRef, data.node) : undefined;
      if (text === undefined) problems.push(`downwardAPI item "${item.path}" refers to something that is not supported`);
      else add(item.path, new TextEncoder().encode(text), item.mode ?? mode);
    }
  };
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap !== undefined) keyed("configmap", configMap.name, data.configMap(configMap.name), configMap.items, configMap.optional, configMap.defaultMode ?? DEFAULT_MODE);
  if (secret !== undefined) keyed("secret", secret.secretName, data.secret(secret.secretName), secret.items, secret.optional, secret.defaultMode ?? DEFAULT_MODE);
  if (downwardAPI !== undefined) downward(downwardAPI.items, downwardAPI.defaultMode ?? DEFAULT_MODE);
  const mode = projected?.defaultMode ?? DEFAULT_MODE;
  for (const [i, source] of (projected?.sources ?? []).entries()) {
    if (source.configMap !== undefined) keyed("configmap", source.configMap.name, data.configMap(source.configMap.name), source.configMap.items, source.configMap.optional, mode);
    if (source.secret !== undefined) keyed("secret", source.secret.name, data.secret(source.secret.name), source.secret.items, source.secret.optional, mode);
    if (source.downwardAPI !== undefined) downward(source.downwardAPI.items, mode);
    if (source.serviceAccountToken !== undefined) {
      const token = data.token(i);
      if (token === undefined) problems.push(`no token for service account "${pod.spec.serviceAccountName ?? "default"}" yet`);
      else add(source.serviceAccountToken.path, new TextEncoder().encode(token), mode);
    }
  }
  if (problems.length > 0) return { problem: problems.join("; ") };
  if (files.reduce((n, f) => n + f.data.length, 0) > VOLUME_MAX_BYTES) return { problem: `its files exceed ${VOLUME_MAX_BYTES} bytes` };
  // Where two sources give one path the last one wins, as upstream.
  return { files: [...new Map(files.map((f) => [f.path, f])).values()] };
}

/** Relative, no "..", and nothing that would collide with the volume's own `..data`. */
export function isSafePath(path: string): boolean {
  return path !== "" && !path.startsWith("/") && !path.startsWith("..") && !path.includes("\0") && path.split("/").every((p) => p !== "" && p !== "." && p !== "..");
}

/** When a token of this life must be replaced: at 80 % of it, at the latest after a day. */
export function refreshTokenAt(issuedMs: number, expiresMs: number): number {
  return Math.min(issuedMs + 0.8 * (expiresMs - issuedMs), issuedMs + 24 * 3600 * 1000);
}

/** Names of the objects a pod's volumes and environment refer to. */
export function referencedObjects(pod: NodePod): { readonly configMaps: readonly string[]; readonly secrets: readonly string[] } {
  const configMaps = new Set<string>();
  const secrets = new Set<string>();
  for (const v of pod.spec.volumes ?? []) {
    if (v.configMap !== undefined) configMaps.add(v.configMap.name);
    if (v.secret !== undefined) secrets.add(v.secret.secretName);
    for (const s of v.projected?.sources ?? []) {
      if (s.configMap !== undefined) configMaps.add(s.configMap.name);
      if (s.secret !== undefined) secrets.add(s.secret.name);
    }
  }
  for (const c of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
    for (const f of c.envFrom ?? []) {
      if (f.configMapRef !== undefined) configMaps.add(f.configMapRef.name);
      if (f.secretRef !== undefined) secrets.add(f.secretRef.name);
    }
    for (const e of c.env ?? []) {
      if (e.valueFrom?.configMapKeyRef?.name !== undefined) configMaps.add(e.valueFrom.configMapKeyRef.name);
      if (e.valueFrom?.secretKeyRef?.name !== undefined) secrets.add(e.valueFrom.secretKeyRef.name);
    }
  }
  return { configMaps: [...configMaps], secrets: [...secrets] };
}
