// Owns `ambit why`: where a connection would go and which policy decides, from the very functions that decide it.
import { Option, type Command } from "commander";
import { formatSocketAddress } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { seededRandom } from "@ambit/runtime";
import { explainConnection } from "@ambit/ztunnel/pure";
import type { ClusterOptions } from "../cluster.ts";
import { documentsIn, objectsOfCluster } from "../objects.ts";
import { FORMATS, print, render, type Format } from "../output.ts";
import { UsageError } from "../usage-error.ts";
import { modelOf } from "../why/model.ts";
import { findDestination, findSource } from "../why/question.ts";

type Options = ClusterOptions & { readonly output: Format; readonly file?: string[] };
const NETWORK = "";

export function addWhy(program: Command): void {
  program.command("why").description("where a connection would go, and which policy decides: the mesh's own code, asked offline")
    .argument("<from>", "NAMESPACE/POD (or the name of its Deployment)").argument("<to>", "service.namespace[:port], NAMESPACE/POD:port or IP:port")
    .option("-f, --file <path...>", "objects from YAML files or folders instead of a cluster").option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table")).action(why);
}

async function why(from: string, to: string, options: Options): Promise<void> {
  const objects = options.file === undefined ? await objectsOfCluster(options) : fromFiles(options.file);
  const { state, problems } = modelOf(objects);
  const view = state.view();
  const source = findSource(view, from);
  if (!source.ok) throw new UsageError(source.error);
  const destination = findDestination(view, to, source.value.namespace, NETWORK);
  if (!destination.ok) throw new UsageError(destination.error);
  // The choice among endpoints is by chance; which one does not change the answer, and a fixed seed makes it repeatable.
  const answer = explainConnection({ view, source: source.value, destination: destination.value, network: NETWORK, random: seededRandom(1) });
  const value = { from: source.value.uid, to: formatSocketAddress(destination.value), ...answer, problems };
  if (options.output === "table") {
    print(`${answer.outcome.toUpperCase()}: ${source.value.uid} → ${to} (${value.to}) ${answer.summary}\n`);
    print(`\n${render({ value, columns: ["STEP", "SAW", "CHOSE"], rows: answer.steps.map((s) => [s.step, s.saw, s.chose]) }, "table")}`);
    if (answer.policy.length > 0) print(`\n${answer.policy.join("\n")}\n`);
    if (problems.length > 0) print(`\nnot understood, and therefore refused:\n${problems.map((p) => `  ${p}`).join("\n")}\n`);
  } else print(render({ value, columns: [], rows: [] }, options.output));
  if (answer.outcome === "denied") process.exitCode = 1;
}

function fromFiles(paths: readonly string[]): KubeObject[] {
  const { documents, problems: [problem] } = documentsIn(paths);
  if (problem !== undefined) throw new UsageError(`${problem.file}:${problem.line}: ${problem.message}`);
  return documents.map((d) => d.object);
}
