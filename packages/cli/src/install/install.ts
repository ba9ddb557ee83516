// Owns bringing a cluster to what the charts say: judged first, applied in order, what is no more wanted taken away, waited for.
import type { Chart, ValueMap } from "@ambit/charts";
import { applyManifests, KINDS, type KubeClient, type KubeObject } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";
import { UsageError } from "../usage-error.ts";
import { admissionAnswers } from "./admission.ts";
import { ClusterObjects, FIELD_MANAGER, type Change } from "./cluster-objects.ts";
import { installationOf, recordOf } from "./plan/installation.ts";
import { decodeInventory, idOf, inventoryName, nameOf, withoutThose, type Inventory, type ObjectId } from "./plan/inventory.ts";
import { compareVersions, foreignOwner, isOurs, planCrds } from "./plan/judge.ts";
import { DEFAULT_REVISION, INSTALLER } from "./plan/mesh-objects.ts";
import { isLate, waitingFor } from "./plan/rollout.ts";
import { untilRolledOut } from "./rollouts.ts";

/** Requests under way at once while standing objects are read. */
const READS_MAX = 8;
/** As what we are about to make. */
const OURS: KubeObject = { metadata: { name: "", labels: { "app.kubernetes.io/managed-by": INSTALLER } } };

export interface InstallOptions {
  readonly client: KubeClient;
  readonly charts: readonly Chart[];
  readonly crds: readonly KubeObject[];
  readonly namespace: string;
  readonly revision: string;
  readonly version: string;
  readonly values: ValueMap;
  /** What the last run recorded, if there was one. */
  readonly before: Inventory | undefined;
  /** Objects and fields of others become ours. */
  readonly takeOver: boolean;
  readonly dryRun: boolean;
  /** How long to wait for readiness, milliseconds; undefined: not at all. */
  readonly waitMs: number | undefined;
  readonly onStep: (text: string) => void;
  readonly onWarning: (text: string) => void;
}
export interface Outcome { readonly changes: Readonly<Record<Change, readonly string[]>>; readonly pruned: readonly string[]; readonly crds: number }

/** The record of an earlier run. Throws a UsageError where it cannot be understood. */
export async function readInventory(client: KubeClient, namespace: string, revision: string): Promise<Inventory | undefined> {
  const name = inventoryName(revision);
  const object = await new ClusterObjects(client).get({ apiVersion: "v1", kind: "ConfigMap", namespace, name });
  if (object === undefined) return undefined;
  const decoded = decodeInventory(object);
  if ("problem" in decoded) throw new UsageError(`ConfigMap ${namespace}/${name} is not the record that ambit install writes: ${decoded.problem}. Remove it to install anew; nothing will be pruned then`);
  return decoded;
}

export async function install(o: InstallOptions): Promise<Outcome> {
  const cluster = new ClusterObjects(o.client);
  const { before } = o;
  refuseDowngrade(o);
  const order = { namespace: o.namespace, revision: o.revision, version: o.version, values: o.values };
  const wanted = installationOf(o.charts, order);
  o.onStep("looking at what stands");
  const standing = await readAll(cluster, wanted.objects);
  refuseForeign(o, wanted.objects, standing);
  const crds = o.revision === DEFAULT_REVISION ? await installCrds(o) : 0;

  const changes: Record<Change, string[]> = { created: [], changed: [], unchanged: [] };
  const gone = withoutThose(before?.objects ?? [], wanted.objects);
  // A namespace that was there before us stays when we go; it never got our name.
  const owned = wanted.objects.filter((id) => id.kind !== "Namespace" || isOurs(standing.get(nameOf(id)) ?? OURS));
  const namespaceMissing = o.dryRun && standing.get(`Namespace ${o.namespace}`) === undefined && wanted.objects.some((id) => id.kind === "Namespace");
  const put = async (object: KubeObject): Promise<void> => {
    const id = idOf(object);
    // A server's dry run cannot look into a namespace that only a real run would make.
    const change = namespaceMissing && id.namespace !== undefined ? "created" : await cluster.apply(object, standing.get(nameOf(id)) ?? undefined, { force: o.takeOver, dryRun: o.dryRun });
    changes[change].push(nameOf(id));
  };

  const staged = before !== undefined && o.waitMs !== undefined && !o.dryRun;
  for (const [i, stage] of wanted.stages.entries()) {
    o.onStep(`applying ${stage.name}`);
    for (const object of stage.objects) {
      await put(ownNamespace(object, standing));
      // The record first: a run that is cut off must still be able to find what it made.
      if (!o.dryRun && i === 0 && object.kind === "Namespace") await record(o, recordOf(order, [...owned, ...gone]));
    }
    // All of it, not only this part: a ztunnel that has not found its new agent yet must not be replaced.
    if (staged) await ready(o, wanted.stages.flatMap((s) => s.objects));
  }
  if (!o.dryRun) await record(o, recordOf(order, [...owned, ...gone]));
  const pruned = await prune(o, cluster, gone);
  if (!o.dryRun) {
    await record(o, recordOf(order, owned));
    if (o.waitMs !== undefined) await ready(o, wanted.stages.flatMap((s) => s.objects));
  }
  return { changes, pruned, crds };
}

const record = (o: InstallOptions, object: KubeObject): Promise<unknown> => applyManifests(o.client, [object], { fieldManager: FIELD_MANAGER });

function refuseDowngrade({ before, version }: InstallOptions): void {
  if (before === undefined || compareVersions(version, before.version) >= 0) return;
  throw new UsageError(`${before.version} is installed, and this is ambit ${version}: going back is not supported, because an older version cannot know what a newer one wrote. Take ambit ${before.version} or later, or uninstall first`);
}

function refuseForeign(o: InstallOptions, ids: readonly ObjectId[], standing: ReadonlyMap<string, KubeObject | undefined>): void {
  if (o.takeOver) return;
  const foreign = ids.flatMap((id) => {
    const live = standing.get(nameOf(id));
    const owner = live === undefined || id.kind === "Namespace" ? undefined : foreignOwner(live);
    return owner === undefined ? [] : [`${nameOf(id)} belongs to ${owner}`];
  });
  if (foreign.length > 0) throw new UsageError(`not installed: ${foreign.slice(0, 3).join("; ")}${foreign.length > 3 ? `; and ${foreign.length - 3} more` : ""}. Go on with whoever installed it, or remove it first, or make all of it ours with --take-over`);
}

async function readAll(cluster: ClusterObjects, ids: readonly ObjectId[]): Promise<Map<string, KubeObject | undefined>> {
  const found = new Map<string, KubeObject | undefined>();
  for (let i = 0; i < ids.length; i += READS_MAX)
    await Promise.all(ids.slice(i, i + READS_MAX).map(async (id) => void found.set(nameOf(id), await cluster.get(id))));
  return found;
}

async function installCrds(o: InstallOptions): Promise<number> {
  const { items } = await o.client.list(KINDS.customResourceDefinitions);
  const plan = planCrds(o.crds, items);
  for (const { family, owner } of plan.reused) o.onStep(`definitions of ${family} are here already (${owner}): left as they are`);
  if (o.dryRun || plan.apply.length === 0) return plan.apply.filter((c) => !items.some((i) => i.metadata.name === c.metadata.name)).length;
  o.onStep(`applying ${plan.apply.length} custom resource definitions`);
  await applyManifests(o.client, plan.apply, { fieldManager: FIELD_MANAGER });
  return plan.apply.filter((c) => !items.some((i) => i.metadata.name === c.metadata.name)).length;
}

/** A namespace of somebody else gets our labels, but not our name. */
function ownNamespace(object: KubeObject, standing: ReadonlyMap<string, KubeObject | undefined>): KubeObject {
  const live = object.kind === "Namespace" ? standing.get(nameOf(idOf(object))) : undefined;
  if (live === undefined || isOurs(live)) return object;
  const { "app.kubernetes.io/managed-by": _ours, ...labels } = object.metadata.labels ?? {};
  return { ...object, metadata: { ...object.metadata, labels } };
}

/** Only what still says that it is ours. */
async function prune(o: InstallOptions, cluster: ClusterObjects, gone: readonly ObjectId[]): Promise<string[]> {
  const pruned: string[] = [];
  for (const id of gone) {
    const live = await cluster.get(id);
    if (live === undefined) continue;
    if (!isOurs(live)) {
      o.onWarning(`${nameOf(id)} is no longer needed, but belongs to ${foreignOwner(live) ?? ""} now: left alone`);
      continue;
    }
    if (!o.dryRun) await cluster.remove(id);
    pruned.push(nameOf(id));
  }
  return pruned;
}

async function ready(o: InstallOptions, objects: readonly KubeObject[]): Promise<void> {
  const sets = new Set(objects.filter((x) => x.kind === "Deployment" || x.kind === "DaemonSet").map((x) => nameOf(idOf(x))));
  if (sets.size === 0 || o.waitMs === undefined) return;
  const begin = systemClock.monotonic();
  // Lists from the server do not say the kind of each object: names tell them apart.
  const concerns = (x: KubeObject): boolean => x.metadata.namespace === o.namespace && [...sets].some((s) => s.endsWith(` ${o.namespace}/${x.metadata.name}`));
  await untilRolledOut(o.client, { concerns, limitMs: o.waitMs, namespace: o.namespace }, (rollouts) => { if (rollouts.some(isLate)) o.onStep(`waiting for ${waitingFor(rollouts)}`); });
  if (objects.some((x) => x.kind === "ValidatingWebhookConfiguration")) await admissionAnswers(o.client, o.namespace, Math.max(1_000, o.waitMs - (systemClock.monotonic() - begin)));
}
