// Owns writing a volume's files so that a reader sees all old ones or all new ones: a folder by date behind the link `..data`.
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { VolumeFile } from "../plan/volume-files.ts";

const DATA = "..data";

/** Writes only when something differs. Returns whether it did. `gid` (fsGroup) gets to read every file. */
export function writeAtomically(dir: string, files: readonly VolumeFile[], gid: number | undefined): boolean {
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const current = linkOf(join(dir, DATA));
  if (current !== undefined && sameFiles(join(dir, current), files)) return false;
  const next = mkdtempSync(join(dir, "..v"));
  chmodSync(next, 0o755);
  for (const f of files) {
    const path = join(next, f.path);
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    const mode = gid === undefined ? f.mode : f.mode | 0o040;
    writeFileSync(path, f.data, { mode });
    chmodSync(path, mode);
    if (gid !== undefined) chownSync(path, 0, gid);
  }
  const names = new Set(files.map((f) => f.path.split("/")[0] ?? ""));
  symlinkSync(next.slice(dir.length + 1), join(dir, `${DATA}_new`));
  renameSync(join(dir, `${DATA}_new`), join(dir, DATA));
  for (const name of names) if (linkOf(join(dir, name)) === undefined) symlinkSync(`${DATA}/${name}`, join(dir, name));
  for (const name of readdirSync(dir)) if (!name.startsWith("..") && !names.has(name)) rmSync(join(dir, name), { recursive: true, force: true });
  if (current !== undefined) rmSync(join(dir, current), { recursive: true, force: true });
  return true;
}

function sameFiles(dir: string, files: readonly VolumeFile[]): boolean {
  const there = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).length;
  return there === files.length && files.every((f) => {
    try {
      return readFileSync(join(dir, f.path)).equals(f.data);
    } catch {
      return false;
    }
  });
}

function linkOf(path: string): string | undefined {
  const there = lstatSync(path, { throwIfNoEntry: false });
  return there?.isSymbolicLink() === true ? readlinkSync(path) : undefined;
}
