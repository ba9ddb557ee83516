// Owns golden cases: a folder each with input.yaml and expected.yaml; `GOLDEN=update` rewrites the latter.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dump, loadAll } from "js-yaml";

/** The input documents of a case. A document that nobody took fails the case: a golden must not test nothing. */
export class GoldenInput {
  readonly name: string;
  readonly #documents: readonly unknown[];
  readonly #taken = new Set<number>();

  constructor(name: string, documents: readonly unknown[]) {
    this.name = name;
    this.#documents = documents;
  }

  /** Hands out the documents that `wanted` accepts, and counts them as read. */
  take(wanted: (document: Record<string, unknown>) => boolean): Record<string, unknown>[] {
    const out: Record<string, unknown>[] = [];
    this.#documents.forEach((d, i) => {
      const document = d as Record<string, unknown>;
      if (!wanted(document)) return;
      this.#taken.add(i);
      out.push(document);
    });
    return out;
  }

  unread(): string[] {
    return this.#documents.flatMap((d, i) => (this.#taken.has(i) ? [] : [`document ${i + 1} (${String((d as { kind?: unknown } | null)?.kind ?? "no kind")})`]));
  }
}

const INPUT = "input.yaml";
const EXPECTED = "expected.yaml";
const WIDTH = 140;

/** Names of the cases below `folder`, sorted. Throws when a folder is not a whole case: an expectation without input tests nothing. */
export function goldenCases(folder: string): string[] {
  const names = readdirSync(folder, { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name).sort();
  for (const name of names) {
    const stray = readdirSync(join(folder, name)).filter((f) => f !== INPUT && f !== EXPECTED);
    if (stray.length > 0) throw new Error(`${join(folder, name)}: ${stray.join(", ")} is neither ${INPUT} nor ${EXPECTED}`);
    if (!existsSync(join(folder, name, INPUT))) throw new Error(`${join(folder, name)} has no ${INPUT}`);
  }
  return names;
}

/** Runs one case. Values must be plain data; keys are sorted, so that equal meaning is equal text. */
export function checkGolden(folder: string, name: string, run: (input: GoldenInput) => unknown, update = process.env["GOLDEN"] === "update"): void {
  const documents = loadAll(readFileSync(join(folder, name, INPUT), "utf8")).filter((d) => d !== null && d !== undefined);
  const input = new GoldenInput(name, documents);
  const actual = dump(run(input), { sortKeys: true, lineWidth: WIDTH, noRefs: true });
  assert.deepEqual(input.unread(), [], `${name}: nobody read these documents of ${INPUT}`);
  const path = join(folder, name, EXPECTED);
  if (update) return writeFileSync(path, actual);
  assert.ok(existsSync(path), `${name} has no ${EXPECTED}: write it with GOLDEN=update and review it`);
  assert.equal(actual, readFileSync(path, "utf8"), `${name}: differs from ${EXPECTED}; if it should, GOLDEN=update and review the diff`);
}
