// Owns `ambit install` and `ambit upgrade`: what the command line says, as an order; what came of it, as lines.
import { Option, type Command } from "commander";
import { dump } from "js-yaml";
import { layValues, setValues, ValuesError, type ValueMap } from "@ambit/charts";
import { parseDuration } from "@ambit/runtime";
import { connect, type ClusterOptions } from "../cluster.ts";
import { profileNames, readCharts, readCrds, readProfile, readValuesFile } from "../install/charts-on-disk.ts";
import { install as bring, readInventory, type Outcome } from "../install/install.ts";
import { installationOf } from "../install/plan/installation.ts";
import { DEFAULT_REVISION } from "../install/plan/mesh-objects.ts";
import { print } from "../output.ts";
import { Progress } from "../progress.ts";
import { UsageError } from "../usage-error.ts";
import { version } from "../version.ts";

const NAMES = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

interface Options extends ClusterOptions {
  readonly set: readonly string[]; readonly setString: readonly string[]; readonly values: readonly string[]; readonly profile?: string;
  readonly revision: string; readonly namespace: string; readonly dryRun?: true | "client" | "server"; readonly includeCrds?: boolean;
  readonly wait: boolean; readonly timeout: string; readonly takeOver?: boolean; readonly resetValues?: boolean;
}

export function addInstall(program: Command): void {
  const gather = (value: string, before: readonly string[]): readonly string[] => [...before, value];
  const command = (name: string, description: string): Command => program.command(name).description(description)
    .option("--profile <platform>", `values of a platform: ${profileNames().join(", ")}`)
    .option("-f, --values <file>", "a file of values; may be repeated, later ones win", gather, [])
    .option("--set <key=value>", "one value, after all files; may be repeated", gather, []).option("--set-string <key=value>", "the same, never a number or boolean", gather, [])
    .option("--reset-values", "forget the values of earlier runs; otherwise these are laid over them")
    .option("-r, --revision <name>", "a second control plane of this name beside the first, and nothing else", DEFAULT_REVISION)
    .option("-n, --namespace <namespace>", "the mesh's namespace", "istio-system")
    .addOption(new Option("--dry-run [how]", "client (default): print the YAML; server: let the server judge, and change nothing").choices(["client", "server"]))
    .option("--include-crds", "with --dry-run=client: print the custom resource definitions, too")
    .option("-w, --wait", "return when everything is ready", true).option("--no-wait").option("--timeout <duration>", "how long to wait", "5m")
    .option("--take-over", "make objects and fields ours that belong to others")
    .option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab");
  command("install", "put the mesh into a cluster, or bring it to these values; again: nothing changes").action((o: Options) => run(o, false));
  command("upgrade", "bring an installed mesh to this version, part by part").action((o: Options) => run(o, true));
}

async function run(o: Options, upgrade: boolean): Promise<void> {
  if (!NAMES.test(o.revision) || o.revision.length > 40) throw new UsageError(`--revision: "${o.revision}" is not a name such as canary`, { exitCode: 2 });
  if (!NAMES.test(o.namespace) || o.namespace.length > 63) throw new UsageError(`--namespace: "${o.namespace}" is not a name`, { exitCode: 2 });
  const timeoutMs = durationOf(o.timeout);
  const said = valuesOf(o);
  if (o.dryRun === true || o.dryRun === "client") return printYaml(o, said);
  const progress = new Progress();
  const client = connect(o);
  try {
    const before = await readInventory(client, o.namespace, o.revision);
    if (upgrade && before === undefined) throw new UsageError(`nothing to upgrade: no record of an installation${o.revision === DEFAULT_REVISION ? "" : ` of revision ${o.revision}`} in namespace ${o.namespace}; ambit install makes one`);
    const first = o.revision === DEFAULT_REVISION ? before : await readInventory(client, o.namespace, DEFAULT_REVISION);
    if (o.revision !== DEFAULT_REVISION && first === undefined)
      throw new UsageError(`a revision stands beside the mesh, and there is none in namespace ${o.namespace} that ambit install made: install it first, without --revision`);
    // A second control plane starts from the settings of the first.
    const values = o.resetValues === true ? said : layValues((before ?? first)?.values ?? {}, said);
    const dryRun = o.dryRun === "server";
    const outcome = await understood(() => bring({
      client, charts: readCharts(), crds: readCrds(), namespace: o.namespace, revision: o.revision, version: version(), values, before, dryRun,
      takeOver: o.takeOver === true, waitMs: o.wait && !dryRun ? timeoutMs : undefined, onStep: (text) => progress.step(text), onWarning: (text) => progress.line(`! ${text}`),
    }));
    progress.done(sentence(outcome, { dryRun, from: before?.version }));
    if (dryRun) print([...outcome.changes.created.map((n) => `+ ${n}`), ...outcome.changes.changed.map((n) => `~ ${n}`), ...outcome.pruned.map((n) => `- ${n}`)].map((l) => `${l}\n`).join(""));
  } finally {
    client.close();
  }
}

function valuesOf(o: Options): ValueMap {
  let values = o.profile === undefined ? {} : readProfile(o.profile);
  for (const file of o.values) values = layValues(values, readValuesFile(file));
  try {
    for (const text of o.set) values = setValues(values, text);
    for (const text of o.setString) values = setValues(values, text, true);
  } catch (error) {
    throw new UsageError(`--set: ${error instanceof Error ? error.message : String(error)}`, { cause: error, exitCode: 2 });
  }
  const { global } = values;
  if (typeof global === "object" && global !== null && "revision" in global) throw new UsageError("global.revision is for Helm: here it is --revision", { exitCode: 2 });
  return values;
}

/** Needs no cluster. */
async function printYaml(o: Options, values: ValueMap): Promise<void> {
  const { stages } = await understood(async () => installationOf(readCharts(), { namespace: o.namespace, revision: o.revision, version: version(), values }));
  const objects = [...(o.includeCrds === true ? readCrds() : []), ...stages.flatMap((s) => s.objects)];
  print(objects.map((object) => `---\n${dump(object, { lineWidth: -1, noRefs: true })}`).join(""));
}

/** What is wrong with the values is the caller's to mend. */
async function understood<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ValuesError) throw new UsageError(error.message, { cause: error, exitCode: 2 });
    throw error;
  }
}

function sentence({ changes, pruned, crds }: Outcome, { dryRun, from }: { dryRun: boolean; from: string | undefined }): string {
  const counts = [[changes.created.length, "created"], [changes.changed.length, "changed"], [pruned.length, "pruned"], [crds, "definitions new"]] as const;
  const said = counts.filter(([n]) => n > 0).map(([n, what]) => `${n} ${what}`).join(", ");
  if (dryRun) return said === "" ? "a run would change nothing" : `a run would do this: ${said}`;
  const what = from === undefined ? `ambit ${version()} is installed` : from === version() ? `ambit ${version()} stands as asked for` : `upgraded from ${from} to ${version()}`;
  return said === "" ? `${what}: nothing had to change` : `${what}: ${said}, ${changes.unchanged.length} unchanged`;
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch {
    throw new UsageError(`--timeout: "${text}" is not a duration such as 5m`, { exitCode: 2 });
  }
}
