// Owns making mount points in an overlay before it is mounted: in its upper folder, with the attributes the lower one has.
import { chmodSync, lchownSync, lstatSync, mkdirSync, writeFileSync, type Stats } from "node:fs";
import { dirname, join } from "node:path";

export interface Layer { readonly path: string; readonly lower: string; readonly upper: string }

/**
 * Makes `target` (absolute, without links) exist in the layer it belongs to. Inside the mounted overlay that may be forbidden: in a user
 * namespace the machine's folders belong to nobody we are.
 */
export function makeMountPoint(layers: readonly Layer[], base: string | undefined, target: string, file: boolean): void {
  const layer = layers.filter((l) => l.path === "/" || target === l.path || target.startsWith(`${l.path}/`)).sort((a, b) => b.path.length - a.path.length)[0];
  if (layer === undefined) {
    if (base === undefined) throw new Error(`${target}: in no layer of the root`);
    mkdirSync(join(base, file ? dirname(target) : target), { recursive: true });
    if (file) writeFileSync(join(base, target), "", { flag: "a" });
    return;
  }
  const parts = target.slice(layer.path === "/" ? 0 : layer.path.length).split("/").filter((p) => p !== "");
  let [lower, upper] = [layer.lower, layer.upper];
  for (const [i, part] of parts.entries()) {
    lower = join(lower, part);
    upper = join(upper, part);
    const below = lstatSync(lower, { throwIfNoEntry: false });
    if (file && i === parts.length - 1) {
      if (below === undefined) writeFileSync(upper, "", { flag: "a" });
      return;
    }
    // A file where a folder is needed: mount(8) says it better than we could.
    if (below !== undefined && !below.isDirectory()) return;
    if (lstatSync(upper, { throwIfNoEntry: false }) !== undefined) continue;
    mkdirSync(upper, { mode: 0o755 });
    if (below !== undefined) copyAttributes(upper, below);
  }
}

export function copyAttributes(path: string, from: Stats): void {
  try {
    lchownSync(path, from.uid, from.gid);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "EPERM" && code !== "EINVAL") throw error; // an id that is not ours to give: it stays ours
  }
  chmodSync(path, from.mode & 0o7777);
}
