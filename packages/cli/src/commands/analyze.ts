// Owns `ambit analyze`: would the mesh understand these objects, and do what they say? The control plane's own rules, asked before.
import { Option, type Command } from "commander";
import { atLeast, type Level } from "@ambit/istiod-lite/pure";
import { lineOf, reportOnCluster, reportOnFiles } from "../analyze/report.ts";
import type { ClusterOptions } from "../cluster.ts";
import { documentsIn, objectsOfCluster } from "../objects.ts";
import { FORMATS, print, render, type Format } from "../output.ts";

type Options = ClusterOptions & { readonly output: Format; readonly file?: string[]; readonly failureThreshold: Level; readonly outputThreshold: Level };
const LEVELS = ["Info", "Warning", "Error"] as const;

export function addAnalyze(program: Command): void {
  program.command("analyze").description("what the mesh would not understand or not do as written: files before they are applied, or a cluster")
    .option("-f, --file <path...>", "YAML files or folders, - for standard input, instead of a cluster").option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab")
    .addOption(new Option("--failure-threshold <level>", "fail from this level on").choices([...LEVELS]).default("Error" satisfies Level))
    .addOption(new Option("--output-threshold <level>", "show from this level on").choices([...LEVELS]).default("Info" satisfies Level))
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table")).action(analyze);
}

async function analyze(options: Options): Promise<void> {
  const read = options.file === undefined ? undefined : documentsIn(options.file);
  const objects = read === undefined ? await objectsOfCluster(options) : [];
  const rows = read === undefined ? reportOnCluster(objects) : reportOnFiles(read.documents, read.problems);
  const shown = rows.filter((r) => atLeast(r.level, options.outputThreshold));
  if (options.output !== "table") print(render({ value: shown, columns: [], rows: [] }, options.output));
  else {
    for (const row of shown) print(`${lineOf(row)}\n`);
    if (shown.length === 0) print(`no issues found in ${read?.documents.length ?? objects.length} objects\n`);
  }
  if (rows.some((r) => atLeast(r.level, options.failureThreshold))) process.exitCode = 1;
}
