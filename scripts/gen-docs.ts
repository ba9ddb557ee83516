// Owns the generated parts of docs/: errors.md from the fault table, the tables of operations.md from each config.ts and from the codes of `ambit check`.
// `pnpm gen:docs` writes them; the tidy test calls the same functions and refuses a file that is not current.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ENV as CNI, UNSUPPORTED as CNI_UNSUPPORTED } from "../packages/cni/src/config.ts";
import { CODES } from "../packages/cli/src/check/model/finding.ts";
import { FAULT_CODES, faultRow } from "../packages/core/src/fault/codes.ts";
import { SCHEMA as ISTIOD } from "../packages/istiod-lite/src/config.ts";
import { parseDuration, type EnvSchema, type EnvVar } from "../packages/runtime/src/config.ts";
import { SCHEMA as WAYPOINT } from "../packages/waypoint/src/config.ts";
import { SCHEMA as ZTUNNEL, UNSUPPORTED } from "../packages/ztunnel/src/config.ts";

const DOCS = join(import.meta.dirname, "../docs");

export function renderErrors(): string {
  const rows = FAULT_CODES.map((code) => {
    const row = faultRow(code);
    return `| \`${code}\` | ${row.kind} | ${row.flag} | ${row.hbone ?? "–"} | ${row.names} |`;
  });
  return [
    "# Failures", "",
    "Generated from `packages/core/src/fault/codes.ts` by `pnpm gen:docs`; do not edit.", "",
    "A **verdict** is a no, a **fault** is the world failing, a **reject** refuses input, a **defect** is our own mistake and ends the process.",
    "The code stands in the access line (`code`), the flag in metrics (`response_flags`); HBONE is the status that a tunnel's peer gets",
    "(–: the stream is reset, there is nothing to say).", "",
    "| code | kind | flag | HBONE | the message names |",
    "|---|---|---|---:|---|",
    ...rows, "",
  ].join("\n");
}

function renderEnv(schema: EnvSchema): string {
  const rows = Object.values(schema).map((v) => `| \`${v.env}\` | ${defaultOf(v)} | ${v.help} |`);
  return ["| variable | default | meaning |", "|---|---|---|", ...rows].join("\n");
}

function defaultOf(v: EnvVar<unknown>): string {
  if (v.default === undefined) return "**required**";
  if (v.default === "") return "–";
  if (v.parse === parseDuration) return `\`${durationText(Number(v.default))}\``;
  return `\`${String(v.default)}\``;
}

function durationText(ms: number): string {
  const [size, unit] = ([[3_600_000, "h"], [60_000, "m"], [1000, "s"]] as const).find(([each]) => ms >= each && ms % each === 0) ?? [1, "ms"];
  return `${ms / size}${unit}`;
}

function renderUnsupported(unsupported: Readonly<Record<string, readonly string[]>>): string {
  const rows = Object.entries(unsupported).map(([name, allowed]) => `| \`${name}\` | ${allowed.map((a) => `\`${a}\``).join(", ") || "unset only"} |`);
  return ["| variable | accepted |", "|---|---|", ...rows].join("\n");
}

function renderChecks(): string {
  const rows = Object.entries(CODES).map(([code, c]) => `| \`${code}\` | ${c.name} | ${c.level} | ${c.about} |`);
  return ["| code | name | level | found when |", "|---|---|---|---|", ...rows].join("\n");
}

const SECTIONS: Readonly<Record<string, () => string>> = {
  "env ztunnel": () => renderEnv(ZTUNNEL), "unsupported ztunnel": () => renderUnsupported(UNSUPPORTED), "env waypoint": () => renderEnv(WAYPOINT), "env istiod-lite": () => renderEnv(ISTIOD), "env cni": () => renderEnv(CNI), "unsupported cni": () => renderUnsupported(CNI_UNSUPPORTED),
  "check codes": renderChecks,
};

/** The same text with every `<!-- generated: NAME -->` … `<!-- /generated -->` section written anew. Throws on an unknown or missing one. */
export function renderOperations(text: string): string {
  const seen = new Set<string>();
  const next = text.replace(/(<!-- generated: ([^>]+) -->\n)[^]*?(<!-- \/generated -->)/g, (_all, open: string, name: string, close: string) => {
    const section = SECTIONS[name];
    if (section === undefined) throw new Error(`docs/operations.md: no generator for "${name}"`);
    seen.add(name);
    return `${open}${section()}\n${close}`;
  });
  for (const name of Object.keys(SECTIONS)) if (!seen.has(name)) throw new Error(`docs/operations.md: section "${name}" is missing`);
  return next;
}

if (import.meta.main) {
  writeFileSync(join(DOCS, "errors.md"), renderErrors());
  const operations = join(DOCS, "operations.md");
  writeFileSync(operations, renderOperations(readFileSync(operations, "utf8")));
}
