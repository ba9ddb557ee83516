// Owns what was measured: every value of every round, their medians, and the table that sets the ways side by side.
import type { Way } from "./rig.ts";

export interface Row { readonly metric: string; readonly unit: string; readonly values: Readonly<Partial<Record<Way, readonly number[]>>> }

export class Results {
  readonly #rows = new Map<string, { unit: string; values: Partial<Record<Way, number[]>> }>();

  add(way: Way, metric: string, unit: string, value: number): void {
    const row = this.#rows.get(metric) ?? { unit, values: {} };
    this.#rows.set(metric, row);
    (row.values[way] ??= []).push(value);
  }

  rows(): Row[] {
    return [...this.#rows].map(([metric, row]) => ({ metric, ...row }));
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length === 0 ? NaN : sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** Three significant digits, no exponent. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 4)).replace(/\B(?=(\d{3})+(?!\d)(?!.*\.\d*))/g, ",");
}

/** Medians of each way, and ours as a multiple of plain and of the real one. */
export function table(rows: readonly Row[], ways: readonly Way[]): string {
  const ratios = (["plain", "real"] as const).filter((w) => ways.includes(w));
  const head = ["metric", "unit", ...ways, ...ratios.map((w) => `ambit/${w}`)];
  const lines = rows.map(({ metric, unit, values }) => {
    const of = (way: Way) => median(values[way] ?? []);
    return [metric, unit, ...ways.map((w) => figure(of(w))), ...ratios.map((w) => { const ratio = of("ambit") / of(w); return Number.isFinite(ratio) ? ratio.toFixed(2) : "-"; })];
  });
  const all = [head, head.map(() => "---"), ...lines];
  const widths = head.map((_, i) => Math.max(...all.map((l) => (l[i] ?? "").length)));
  return all.map((line) => `| ${line.map((cell, i) => (cell === "---" ? "-".repeat(widths[i] ?? 3) : i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |`).join("\n");
}
