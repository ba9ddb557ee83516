// Owns `ambit check [--pre]`: what is wrong in a cluster, and what to do about it.
import { Option, type Command } from "commander";
import { gather } from "../check/gather.ts";
import { judgeBefore, judgeMesh } from "../check/judge.ts";
import type { Finding } from "../check/model/finding.ts";
import { connect, kubeconfigPath, type ClusterOptions } from "../cluster.ts";
import { FORMATS, print, render, type Format } from "../output.ts";

type Options = ClusterOptions & { readonly output: Format; readonly pre?: true };

export function addCheck(program: Command): void {
  program.command("check").description("what is wrong in a cluster and what to do about it; works when the mesh's own certificates have ended")
    .option("--pre", "what must hold before the mesh is installed").option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table")).action(check);
}

async function check(options: Options): Promise<void> {
  const client = connect(options);
  try {
    const pre = options.pre === true;
    const facts = await gather({ client, kubeconfig: kubeconfigPath(options), pre });
    const findings = (pre ? judgeBefore : judgeMesh)(facts);
    if (options.output !== "table") print(render({ value: findings, columns: [], rows: [] }, options.output));
    else print(findings.length === 0 ? `${pre ? "the mesh can be installed" : "nothing is wrong"}: ${facts.objects.nodes.length} nodes, ${facts.objects.pods.length} pods looked at\n` : findings.map(paragraph).join("\n"));
    if (findings.some((f) => f.level === "Error")) process.exitCode = 1;
  } finally {
    client.close();
  }
}

/** Long sentences do not fit a table's cells. */
export const paragraph = (f: Finding): string => `${f.level} [${f.code} ${f.name}] ${f.where}\n  ${f.what}\n  → ${f.mend}\n`;
