// Owns what is known of the npm packages in an image: names, versions, licences, and the integrity that the lockfile pins.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import type { TarEntry } from "./archive/tar.ts";
import type { NpmPackage } from "./sbom.ts";

const NOTICES = /^(?:LICEN[CS]E|NOTICE|COPYING)(?:\.\w+)?$/i;

interface Manifest { readonly name: string; readonly version: string; readonly license?: unknown }

/** `folder`: of the package, with its package.json. */
export function npmPackage(folder: string, integrities: ReadonlyMap<string, string>): NpmPackage {
  const m = manifestOf(folder);
  return { name: m.name, version: m.version, license: typeof m.license === "string" ? m.license : undefined, integrity: integrities.get(`${m.name}@${m.version}`) };
}

/** Terms of the licence travel with the package, as they ask for. */
export function noticesOf(folder: string): TarEntry[] {
  const { name } = manifestOf(folder);
  return readdirSync(folder).filter((f) => NOTICES.test(f)).map((f) => ({ path: `usr/share/licenses/npm/${name}/${f}`, type: "file", mode: 0o644, body: readFileSync(join(folder, f)) }));
}

/** `name@version` → integrity, from pnpm-lock.yaml. */
export function readIntegrities(repo: string): Map<string, string> {
  const lock = load(readFileSync(join(repo, "pnpm-lock.yaml"), "utf8")) as { packages?: Record<string, { resolution?: { integrity?: string } }> };
  return new Map(Object.entries(lock.packages ?? {}).flatMap(([key, p]) => (p.resolution?.integrity === undefined ? [] : [[key, p.resolution.integrity] as const])));
}

const manifestOf = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
