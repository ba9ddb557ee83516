// Owns the generated parts of docs/: errors.md from the fault table, and the environment tables of operations.md from each config.ts.
// `pnpm docs` writes them; the tidy test calls the same functions and refuses a file that is not current.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ENV as CNI } from "../packages/cni/src/config.ts";
import { FAULT_CODES, faultRow } from "../packages/core/src/fault/codes.ts";
import { SCHEMA as ISTIOD } from "../packages/istiod-lite/src/config.ts";
import { parseDuration, type EnvSchema, type EnvVar } from "../packages/runtime/src/config.ts";
import { SCHEMA as ZTUNNEL, UNSUPPORTED } from "../packages/ztunnel/src/config.ts";

const DOCS = join(import.meta.dirname, "../docs");

export function renderErrors(): string {
  const cell = (value: string | number | undefined): string => String(value ?? "–");
  const rows = FAULT_CODES.map((code) => {
    const row = faultRow(code);
    return `| \`${code}\` | ${row.kind} | ${row.flag} | ${cell(row.hbone)} | ${cell(row.http)} | ${row.level} | ${row.retry} | ${row.names} |`;
  });
  return [
    "# Failures", "",
    "Generated from `packages/core/src/fault/codes.ts` by `pnpm docs`; do not edit.", "",
    "A **verdict** is a no, a **fault** is the world failing, a **reject** refuses input, a **defect** is our own mistake and ends the process.",
    "`code` stands in the access line (`code`), `flag` in metrics (`response_flags`). *HBONE* is the status a tunnel peer gets, *HTTP* what a",
    "waypoint will answer its client (no waypoint is built yet); – means that the stream is reset or nothing can be said.", "",
    "| code | kind | flag | HBONE | HTTP | log level | retry | the message names |",
    "|---|---|---|---:|---:|---|---|---|",
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
  if (v.parse === parseDuration) return `\`${Number(v.default) / 1000}s\``;
  return `\`${String(v.default)}\``;
}

function renderUnsupported(): string {
  const rows = Object.entries(UNSUPPORTED).map(([name, allowed]) => `| \`${name}\` | ${allowed.map((a) => `\`${a}\``).join(", ") || "unset only"} |`);
  return ["| variable | accepted |", "|---|---|", ...rows].join("\n");
}

const SECTIONS: Readonly<Record<string, () => string>> = {
  "env ztunnel": () => renderEnv(ZTUNNEL), "unsupported ztunnel": renderUnsupported, "env istiod-lite": () => renderEnv(ISTIOD), "env cni": () => renderEnv(CNI),
};

/** The same text with every `<!-- generated: NAME -->` … `<!-- /generated -->` section written anew. Throws on an unknown or missing one. */
export function renderOperations(text: string): string {
  const seen = new Set<string>();
  const next = text.replace(/(<!-- generated: ([^>]+) -->\n)[^]*?(\n<!-- \/generated -->)/g, (_all, open: string, name: string, close: string) => {
    const section = SECTIONS[name];
    if (section === undefined) throw new Error(`docs/operations.md: no generator for "${name}"`);
    seen.add(name);
    return `${open}${section()}${close}`;
  });
  for (const name of Object.keys(SECTIONS)) if (!seen.has(name)) throw new Error(`docs/operations.md: section "${name}" is missing`);
  return next;
}

if (import.meta.main) {
  writeFileSync(join(DOCS, "errors.md"), renderErrors());
  const operations = join(DOCS, "operations.md");
  writeFileSync(operations, renderOperations(readFileSync(operations, "utf8")));
}
