// Owns which shared libraries a set of programs needs, and where in an image they go.
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import type { TarEntry } from "../archive/tar.ts";
import { readElf } from "./elf.ts";

/** Where one architecture's libraries are found: Debian's multiarch folders below `root` ("" for this machine). */
export interface LibrarySource { readonly root: string; readonly triplet: string; readonly machine: "x86-64" | "aarch64" }

export interface FoundLibrary {
  /** Where it was read from, links resolved. */
  readonly source: string;
  readonly entry: TarEntry;
}

/**
 * The programs' loader and every library that they, and those, name. Each goes to usr/lib/TRIPLET under the name it is asked by, which Debian's
 * loader searches without a cache. Throws with the name of one that cannot be found.
 */
export function librariesOf(programs: readonly { readonly path: string; readonly body: Buffer }[], from: LibrarySource): FoundLibrary[] {
  const folders = [`lib/${from.triplet}`, `usr/lib/${from.triplet}`, "lib", "usr/lib", "lib64"].map((f) => join(from.root, "/", f));
  const found = new Map<string, FoundLibrary>();
  const waiting = programs.map((p) => ({ name: p.path, body: p.body }));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const elf = readElf(next.body);
    if (elf === undefined) continue;
    if (elf.machine !== from.machine) throw new Error(`${next.name} is for ${elf.machine}, not ${from.machine}`);
    // The loader has the one path that programs name. Libraries name it too, but it is loaded then.
    const wanted = elf.needed.filter((name) => !name.startsWith("ld-linux")).map((name) => ({ base: name, path: `usr/lib/${from.triplet}/${name}` }));
    if (elf.interpreter !== undefined) wanted.push({ base: basename(elf.interpreter), path: `usr${elf.interpreter}` });
    for (const { base, path } of wanted) {
      if (found.has(base)) continue;
      const file = folders.map((f) => join(f, base)).find((f) => existsSync(f));
      if (file === undefined) throw new Error(`${next.name} needs ${base}, which is in none of ${folders.join(", ")}`);
      const source = realpathSync(file);
      const body = readFileSync(source);
      found.set(base, { source, entry: { path, type: "file", mode: 0o755, body } });
      waiting.push({ name: base, body });
    }
  }
  return [...found.values()];
}
