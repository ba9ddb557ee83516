// Owns `pnpm check`: everything that judges the source without running it. Prints one line a step, details only of failures.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const STEPS: readonly (readonly [string, readonly string[]])[] = [
  ["types", ["tsc", "-p", "."]],
  ["lint", ["oxlint", "--quiet"]],
  ["boundaries", ["depcruise", "--config", ".dependency-cruiser.mjs", "packages"]],
  ["unused", ["knip", "--no-progress"]],
];

export interface CheckResult { readonly name: string; readonly ok: boolean; readonly output: string }

export function check(): CheckResult[] {
  return STEPS.map(([name, [program = "", ...args]]) => {
    const done = spawnSync(join(ROOT, "node_modules", ".bin", program), args, { cwd: ROOT, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
    const result = { name, ok: done.status === 0, output: `${done.stdout ?? ""}${done.stderr ?? ""}${done.error?.message ?? ""}` };
    process.stdout.write(`${result.ok ? "✓" : "✗"} ${name}\n${result.ok ? "" : `${result.output.trimEnd()}\n`}`);
    return result;
  });
}

if (import.meta.main) process.exitCode = check().every((r) => r.ok) ? 0 : 1;
