// Owns `ambit uninstall`: what may go, and what is said about it.
import { Option, type Command } from "commander";
import { KINDS, type KubeClient } from "@ambit/kube";
import { parseDuration } from "@ambit/runtime";
import { connect, type ClusterOptions } from "../cluster.ts";
import { readInventory } from "../install/install.ts";
import { inventoryName } from "../install/plan/inventory.ts";
import { DEFAULT_REVISION } from "../install/plan/mesh-objects.ts";
import { uninstall as takeAway, usersOf } from "../install/uninstall.ts";
import { print } from "../output.ts";
import { Progress } from "../progress.ts";
import { UsageError } from "../usage-error.ts";

interface Options extends ClusterOptions { readonly revision: string; readonly namespace: string; readonly purge?: boolean; readonly dryRun?: boolean; readonly timeout: string }

export function addUninstall(program: Command): void {
  program.command("uninstall").description("take the mesh away: pods leave it first, nodes become what they were; objects of users stay")
    .addOption(new Option("-r, --revision <name>", "only the control plane of this name").default(DEFAULT_REVISION)).option("-n, --namespace <namespace>", "the mesh's namespace", "istio-system")
    .option("--purge", "also the custom resource definitions that ambit install made, with every object of their kinds")
    .option("--dry-run", "only say what would be removed").option("--timeout <duration>", "how long pods of one part may take to end", "2m")
    .option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab").action(run);
}

async function run(o: Options): Promise<void> {
  let waitMs: number;
  try {
    waitMs = parseDuration(o.timeout);
  } catch {
    throw new UsageError(`--timeout: "${o.timeout}" is not a duration such as 2m`, { exitCode: 2 });
  }
  const progress = new Progress();
  const client = connect(o);
  try {
    const inventory = await readInventory(client, o.namespace, o.revision);
    if (inventory === undefined) throw new UsageError(`nothing to uninstall: no record of an installation${o.revision === DEFAULT_REVISION ? "" : ` of revision ${o.revision}`} in namespace ${o.namespace}. What Helm installed, helm uninstall removes`);
    if (o.purge === true && o.revision !== DEFAULT_REVISION) throw new UsageError("--purge goes with the whole mesh, not with one revision", { exitCode: 2 });
    await (o.revision === DEFAULT_REVISION ? refuseOthers(client, o.namespace) : refuseInUse(client, o));
    const users = o.revision === DEFAULT_REVISION ? await usersOf(client) : [];
    for (const sentence of users) progress.line(`! ${sentence}`);
    const removed = await takeAway({ client, namespace: o.namespace, revision: o.revision, inventory, purge: o.purge === true, dryRun: o.dryRun === true, waitMs, onStep: (text) => progress.step(text), onWarning: (text) => progress.line(`! ${text}`) });
    progress.done(`${o.dryRun === true ? "a run would remove" : "removed"} ${removed.length} objects${o.purge === true || o.revision !== DEFAULT_REVISION ? "" : "; custom resource definitions stay (--purge removes those that ambit install made)"}`);
    if (o.dryRun === true) print(removed.map((n) => `- ${n}\n`).join(""));
  } finally {
    client.close();
  }
}

/** Its nodes' parts serve every revision. */
async function refuseOthers(client: KubeClient, namespace: string): Promise<void> {
  const { items } = await client.list(KINDS.configMaps, namespace, { labelSelector: "app.kubernetes.io/managed-by=ambit" });
  const prefix = `${inventoryName(DEFAULT_REVISION)}-`;
  const others = items.map((m) => m.metadata.name).filter((n) => n.startsWith(prefix)).map((n) => n.slice(prefix.length));
  if (others.length > 0) throw new UsageError(`other control planes stand beside it: ambit uninstall --revision ${others.join(", then --revision ")} first`);
}

/** Somebody still asks this control plane. */
async function refuseInUse(client: KubeClient, o: Options): Promise<void> {
  const users: string[] = [];
  for (const d of (await client.list(KINDS.daemonSets, o.namespace)).items) if (JSON.stringify(d["spec"]).includes(`istiod-${o.revision}.${o.namespace}.svc`)) users.push(`DaemonSet ${d.metadata.name} (ambit upgrade --set ztunnel.revision=${DEFAULT_REVISION})`);
  const gateways = await client.list(KINDS.gateways, undefined, { labelSelector: `istio.io/rev=${o.revision}` }).catch(() => ({ items: [] }));
  users.push(...gateways.items.map((g) => `Gateway ${g.metadata.namespace ?? ""}/${g.metadata.name} (take its label istio.io/rev away)`));
  if (users.length > 0) throw new UsageError(`revision ${o.revision} is in use by ${users.slice(0, 5).join(", ")}${users.length > 5 ? ` and ${users.length - 5} more` : ""}`);
}
