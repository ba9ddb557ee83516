// Owns reading the local configuration at the start: a bad one ends the start, with every problem named.
import { readFile } from "node:fs/promises";
import { describeProblems } from "@ambit/core";
import type { Batch } from "@ambit/proxy/state";
import type { Config } from "./config.ts";

export async function localBatches(source: Config["local"]): Promise<readonly Batch[]> {
  if (source === undefined) return [];
  // Few need it, and everybody's start is faster without a YAML parser.
  const { readLocalConfig } = await import("./decode-local.ts");
  const read = readLocalConfig("path" in source ? await readFile(source.path, "utf8") : source.text);
  if ("problems" in read) throw new Error(`bad local configuration${"path" in source ? ` ${source.path}` : ""}: ${describeProblems(read.problems)}`);
  return read.batches;
}
