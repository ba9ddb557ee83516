// Owns `ambit why`: where a connection would go and which policy decides, from the very functions that decide it.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { formatSocketAddress } from "@ambit/core";
import { isNotFound, parseManifests, type KubeObject } from "@ambit/kube";
import { SOURCE_KINDS } from "@ambit/istiod-lite/pure";
import { seededRandom } from "@ambit/runtime";
import { explainConnection } from "@ambit/ztunnel/pure";
import { connect, type ClusterOptions } from "../cluster.ts";
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
  const objects = options.file === undefined ? await fromCluster(options) : options.file.flatMap(fromFile);
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

async function fromCluster(options: ClusterOptions): Promise<KubeObject[]> {
  const client = connect(options);
  try {
    const lists = await Promise.all(Object.values(SOURCE_KINDS).map(async (kind) => {
      const { items } = await client.list(kind).catch((error: unknown) => {
        // A CRD that is not installed has no objects.
        if (isNotFound(error)) return { items: [] as KubeObject[] };
        throw error;
      });
      return items.map((item) => ({ ...item, kind: kind.kind, apiVersion: kind.group === "" ? kind.version : `${kind.group}/${kind.version}` }));
    }));
    return lists.flat();
  } finally {
    client.close();
  }
}

function fromFile(path: string): KubeObject[] {
  try {
    const files = statSync(path).isDirectory() ? readdirSync(path).filter((f) => /\.ya?ml$/.test(f)).sort().map((f) => join(path, f)) : [path];
    return files.flatMap((file) => parseManifests(readFileSync(file, "utf8"), file));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
