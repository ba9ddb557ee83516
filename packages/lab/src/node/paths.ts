// Owns resolving a path inside another root without ever leaving it.
import { lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Linux' own bound on symlinks in one path. */
const LINKS_MAX = 40;

/**
 * `path` as a process chrooted to `root` would find it, as a path of ours: `..` stops at the root and absolute links start there.
 * What does not exist is taken as written. Throws on a loop.
 */
export function resolveInRoot(root: string, path: string): string {
  const left = path.split("/");
  let done: string[] = [];
  for (let links = 0; left.length > 0; ) {
    const part = left.shift() ?? "";
    if (part === "" || part === ".") continue;
    if (part === "..") { done.pop(); continue; }
    const here = join(root, ...done, part);
    const target = linkTarget(here);
    if (target === undefined) { done.push(part); continue; }
    if (++links > LINKS_MAX) throw new Error(`${path}: too many symbolic links`);
    if (target.startsWith("/")) done = [];
    left.unshift(...target.split("/"));
  }
  return join(root, ...done);
}

function linkTarget(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    return undefined; // missing, or below a file: the caller's own open says so
  }
}
