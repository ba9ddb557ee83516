// Owns the lookup of rows by address, for built-in kinds and for those that CustomResourceDefinitions add while running.
import type { Row } from "./row.ts";

export interface VersionInfo {
  readonly group: string;
  readonly version: string;
  readonly rows: readonly Row[];
}

export interface GroupInfo {
  readonly group: string;
  readonly versions: readonly VersionInfo[];
}

export class Registry {
  readonly #builtin: readonly Row[];
  readonly #custom = new Map<string, readonly Row[]>();
  #index = new Map<string, Row>();
  #byBucket = new Map<string, Row>();
  #groups: readonly GroupInfo[] = [];
  #generation = 0;

  constructor(builtin: readonly Row[]) {
    this.#builtin = builtin;
    this.#reindex();
  }

  /** Rises with every change, for caches of discovery and OpenAPI documents. */
  get generation(): number {
    return this.#generation;
  }

  find(group: string, version: string, resource: string): Row | undefined {
    return this.#index.get(`${group}/${version}/${resource}`);
  }

  /** Any row of a bucket: the built-in's stored version or the CRD's. */
  byBucket(bucket: string): Row | undefined {
    return this.#byBucket.get(bucket);
  }

  /** Groups in order of preference: core, built-in, custom by name; versions best first. */
  groups(): readonly GroupInfo[] {
    return this.#groups;
  }

  hasBuiltinGroup(group: string): boolean {
    return this.#builtin.some((row) => row.group === group);
  }

  hasVersion(group: string, version: string): boolean {
    return this.#groups.some((g) => g.group === group && g.versions.some((v) => v.version === version));
  }

  rows(): readonly Row[] {
    return [...this.#index.values()];
  }

  /** Serves the rows of a CRD, in place of those it had; none stops serving it. */
  setCustom(crd: string, rows: readonly Row[]): void {
    if (rows.length === 0) this.#custom.delete(crd);
    else this.#custom.set(crd, rows);
    this.#reindex();
  }

  #reindex(): void {
    this.#generation += 1;
    this.#index = new Map();
    this.#byBucket = new Map();
    const groups = new Map<string, Map<string, Row[]>>();
    for (const row of [...this.#builtin, ...[...this.#custom.values()].flat()]) {
      this.#index.set(`${row.group}/${row.version}/${row.resource}`, row);
      if (row.toStored === null || !this.#byBucket.has(row.bucket)) this.#byBucket.set(row.bucket, row);
      const versions = groups.get(row.group) ?? new Map<string, Row[]>();
      groups.set(row.group, versions);
      const rows = versions.get(row.version) ?? [];
      versions.set(row.version, rows);
      rows.push(row);
    }
    this.#groups = [...groups].map(([group, versions]) => ({
      group,
      versions: [...versions]
        .map(([version, rows]) => ({ group, version, rows }))
        .sort((a, b) => compareVersions(a.version, b.version)),
    }));
  }
}

/** Kubernetes' order of versions: stable before beta before alpha, higher first, then other names by alphabet. */
export function compareVersions(a: string, b: string): number {
  const left = rank(a);
  const right = rank(b);
  if (left === null || right === null) return left === right ? (a < b ? -1 : 1) : left === null ? 1 : -1;
  for (let i = 0; i < 3; i++) {
    const difference = (right[i] as number) - (left[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

function rank(version: string): number[] | null {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (match === null) return null;
  const stage = match[2] === undefined ? 2 : match[2] === "beta" ? 1 : 0;
  return [stage, Number(match[1]), Number(match[3] ?? "0")];
}
