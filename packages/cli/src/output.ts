// Owns how the CLI prints: one set of rows, shown as table, JSON or YAML.
import Table from "cli-table3";
import { dump } from "js-yaml";

export const FORMATS = ["table", "json", "yaml"] as const;
export type Format = (typeof FORMATS)[number];

export interface View {
  /** The complete value for json and yaml. */
  readonly value: unknown;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Shown instead of an empty table. */
  readonly empty?: string;
}

export function render(view: View, format: Format): string {
  if (format === "json") return `${JSON.stringify(view.value, null, 2)}\n`;
  if (format === "yaml") return dump(view.value, { lineWidth: 120, noRefs: true });
  if (view.rows.length === 0) return `${view.empty ?? "nothing found"}\n`;
  const none = { top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "", left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "   " };
  const table = new Table({ head: [...view.columns], chars: none, style: { "padding-left": 0, "padding-right": 0, head: [], border: [] } });
  for (const row of view.rows) table.push([...row]);
  return `${table.toString().split("\n").map((line) => line.trimEnd()).join("\n")}\n`;
}

export const print = (text: string): void => void process.stdout.write(text);
