// Owns how the tidy test sees the repository: its own text files, read once, without what is installed, generated or recorded.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

export interface SourceFile {
  /** Relative to the root, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

const SKIP = new Set(["node_modules", ".git", ".tools", ".state", "coverage", "gen"]);
const TEXT = /\.(ts|mjs|js|md|json|ya?ml|go|proto|toml)$|^(ambit|run|LICENSE|\.[a-z]+(rc|config|attributes|ignore))$/;

function* walk(dir: string): Generator<string> {
  for (const entry of readdirSync(join(ROOT, dir), { withFileTypes: true })) {
    if (SKIP.has(entry.name)) continue;
    const path = dir === "" ? entry.name : `${dir}/${entry.name}`;
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile() && TEXT.test(entry.name)) yield path;
  }
}

const read = (path: string): SourceFile => {
  const text = readFileSync(join(ROOT, path), "utf8");
  return { path, text, lines: text.split("\n") };
};

let cached: readonly SourceFile[] | undefined;
export const tree = (): readonly SourceFile[] => (cached ??= [...walk("")].sort().map(read));

/** Folders of packages/ that are packages. */
export const packageNames = (): readonly string[] => readdirSync(join(ROOT, "packages")).sort();

export const CODE = /\.(ts|mjs)$/;
export const TEST = /\.(test|fixture)\.ts$|^test\/|\/testing\/|^packages\/testkit\//;

/** `PATH:LINE: what` for each line that `pattern` matches; `allow` forgives a line. */
export function hits(files: readonly SourceFile[], pattern: RegExp, allow: (line: string, file: SourceFile) => boolean = () => false): string[] {
  return files.flatMap((file) => file.lines.flatMap((line, i) => {
    const found = pattern.exec(line);
    return found === null || allow(line, file) ? [] : [`${file.path}:${i + 1}: ${found[0]}`];
  }));
}
