// Owns applying one image layer to a root folder: files, links and whiteouts, never touching anything outside it.
import { chmodSync, closeSync, linkSync, lstatSync, lchownSync, mkdirSync, openSync, readdirSync, rmSync, symlinkSync, writeSync, fchmodSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { resolveInRoot } from "../paths.ts";
import type { TarEntry } from "./tar.ts";

export interface UnpackBudget { bytes: number; entries: number }

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";

/** Later layers win. Device files and FIFOs are left out: a container's /dev is made by the node. */
export async function applyLayer(root: string, entries: AsyncIterable<TarEntry>, budget: UnpackBudget): Promise<void> {
  for await (const entry of entries) {
    if (--budget.entries < 0) throw new Error("too many entries");
    budget.bytes -= entry.size;
    if (budget.bytes < 0) throw new Error(`${entry.path}: the image is larger than its bound`);
    await applyEntry(root, entry);
  }
}

async function applyEntry(root: string, entry: TarEntry): Promise<void> {
  const parts = entry.path.split("/").filter((p) => p !== "" && p !== ".");
  if (parts.includes("..") || entry.path.includes("\0")) throw new Error(`${JSON.stringify(entry.path)}: leads out of the image`);
  if (parts.length === 0) return; // the root itself
  const name = parts.at(-1) ?? "";
  // Links in the folder part are followed inside the root only; the last part is never followed.
  const parent = folder(root, parts.slice(0, -1).join("/"));
  if (name === OPAQUE) {
    for (const child of readdirSync(parent)) rmSync(join(parent, child), { recursive: true, force: true });
    return;
  }
  if (name.startsWith(WHITEOUT)) {
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") throw new Error(`${entry.path}: a whiteout of nothing`);
    rmSync(join(parent, hidden), { recursive: true, force: true });
    return;
  }
  const path = join(parent, name);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !(entry.type === "directory" && there.isDirectory())) rmSync(path, { recursive: true, force: true });
  switch (entry.type) {
    case "directory":
      mkdirSync(path, { recursive: true });
      own(path, entry);
      chmodSync(path, entry.mode);
      return;
    case "file": {
      const fd = openSync(path, "wx", 0o600);
      try {
        for await (const chunk of entry.content) for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
        own(path, entry);
        fchmodSync(fd, entry.mode);
      } finally {
        closeSync(fd);
      }
      return;
    }
    case "symlink":
      symlinkSync(entry.linkPath, path);
      own(path, entry);
      return;
    case "hardlink": {
      const target = entry.linkPath.split("/").filter((p) => p !== "" && p !== ".");
      if (target.includes("..") || target.length === 0) throw new Error(`${entry.path}: a hard link that leads out of the image`);
      const from = join(resolveInRoot(root, dirname(target.join("/"))), basename(target.join("/")));
      const kind = lstatSync(from, { throwIfNoEntry: false });
      if (kind === undefined || kind.isDirectory()) throw new Error(`${entry.path}: a hard link to "${entry.linkPath}", which is not a file of the image`);
      linkSync(from, path);
      return;
    }
    case "char": case "block": case "fifo":
      return;
  }
}

function folder(root: string, path: string): string {
  const at = resolveInRoot(root, path);
  const there = lstatSync(at, { throwIfNoEntry: false });
  if (there?.isDirectory() === true) return at;
  if (there !== undefined) throw new Error(`${path}: is not a folder`);
  mkdirSync(at, { recursive: true, mode: 0o755 });
  return at;
}

/** Without the right to give files away (a user namespace maps few ids) they stay ours. */
function own(path: string, entry: TarEntry): void {
  try {
    lchownSync(path, entry.uid, entry.gid);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "EPERM" && code !== "EINVAL") throw error;
  }
}
