// Owns taking an installation away: pods first, then who served them, then what is left; users' objects are named and stay.
import { isNotFound, KINDS, type Kind, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { errorText, systemClock } from "@ambit/runtime";
import { isEnrolled } from "../pods.ts";
import { UsageError } from "../usage-error.ts";
import { ClusterObjects } from "./cluster-objects.ts";
import { idOf, inventoryName, nameOf, type Inventory, type ObjectId } from "./plan/inventory.ts";
import { foreignOwner, isOurs } from "./plan/judge.ts";
import { DEFAULT_REVISION } from "./plan/mesh-objects.ts";
import { ANCHORS, isOurClass, keptByControlPlane, removalSteps, WAYPOINT_PARTS } from "./plan/removal.ts";
import { isLate } from "./plan/rollout.ts";
import { untilRolledOut } from "./rollouts.ts";

const POLL_MS = 250;
/** For node proxies that are being replaced just now. */
const SETTLE_MS = 60_000;
const WAYPOINT_KINDS: readonly Kind[] = [
  KINDS.deployments, KINDS.services, KINDS.serviceAccounts,
  { group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers", kind: "HorizontalPodAutoscaler", namespaced: true },
  { group: "policy", version: "v1", plural: "poddisruptionbudgets", kind: "PodDisruptionBudget", namespaced: true },
];
/** Kinds of things that a person may have put into the mesh's namespace; while one is there, so is the namespace. */
const TENANTS: readonly Kind[] = [KINDS.pods, KINDS.deployments, KINDS.daemonSets, KINDS.statefulSets, KINDS.services, KINDS.secrets, KINDS.configMaps, KINDS.serviceAccounts, KINDS.authorizationPolicies, KINDS.peerAuthentications, KINDS.requestAuthentications, KINDS.telemetries, KINDS.serviceEntries, KINDS.gateways];
/** Kubernetes' own in every namespace. */
const EVERYWHERE = ["ConfigMap kube-root-ca.crt", "ServiceAccount default"];

export interface UninstallOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly revision: string;
  readonly inventory: Inventory;
  /** Also the custom resource definitions that ambit install made, and with them every object of their kinds. */
  readonly purge: boolean;
  readonly dryRun: boolean;
  /** For each group of pods to end, milliseconds. */
  readonly waitMs: number;
  readonly onStep: (text: string) => void;
  readonly onWarning: (text: string) => void;
}

/** Names of what was removed, in order. Throws a UsageError where pods did not leave the mesh; run again, it goes on where it stopped. */
export async function uninstall(o: UninstallOptions): Promise<string[]> {
  const cluster = new ClusterObjects(o.client);
  const removed: string[] = [];
  const remove = async (id: ObjectId): Promise<void> => {
    const live = await cluster.get(id);
    if (live === undefined) return;
    if (!o.dryRun) await cluster.remove(id);
    removed.push(nameOf(id));
  };
  /** Only what still says that it is ours. */
  const removeOurs = async (id: ObjectId): Promise<void> => {
    const live = await cluster.get(id);
    if (live !== undefined && !isOurs(live)) return o.onWarning(`${nameOf(id)} belongs to ${foreignOwner(live) ?? ""} now: left alone`);
    await remove(id);
  };

  if (o.revision === DEFAULT_REVISION && !o.dryRun) await settled(o);
  for (const step of removalSteps(o.inventory.objects)) {
    o.onStep(step.say);
    for (const id of step.objects) await removeOurs(id);
    if (step.until === undefined || o.dryRun) continue;
    await podsGone(o, o.revision === DEFAULT_REVISION ? step.until : `${step.until},istio.io/rev=${o.revision}`);
    if (step.until.startsWith("k8s-app")) await nobodyEnrolled(o);
  }
  o.onStep("removing what the control plane left");
  for (const id of keptByControlPlane(o.namespace, o.revision)) await remove(id);
  if (o.revision === DEFAULT_REVISION) for (const id of await leftBehind(o.client)) await remove(id);
  if (o.purge) for (const id of await ourCrds(o.client)) await remove(id);
  await removeOurs({ apiVersion: "v1", kind: "ConfigMap", namespace: o.namespace, name: inventoryName(o.revision) });
  const own = o.inventory.objects.find((id) => id.kind === "Namespace");
  if (own !== undefined) {
    const tenants = o.dryRun ? [] : await tenantsOf(o.client, o.namespace);
    if (tenants.length === 0) await removeOurs(own);
    else o.onWarning(`namespace ${o.namespace} stays, it holds what we did not make: ${tenants.slice(0, 5).join(", ")}${tenants.length > 5 ? ` and ${tenants.length - 5} more` : ""}`);
  }
  return removed;
}

/** A ztunnel that starts after its node was cleaned up would make the mesh's folder there anew. What never comes to rest is removed all the same. */
async function settled(o: UninstallOptions): Promise<void> {
  const isProxy = (x: KubeObject): boolean => x.metadata.namespace === o.namespace && x.metadata.name === "ztunnel";
  const { items } = await o.client.list(KINDS.daemonSets, o.namespace);
  if (!items.some(isProxy)) return;
  await untilRolledOut(o.client, { concerns: isProxy, limitMs: Math.min(o.waitMs, SETTLE_MS), namespace: o.namespace }, (rollouts) => { if (rollouts.some(isLate)) o.onStep("waiting for a rollout of ztunnel to end"); })
    .catch((error: unknown) => o.onWarning(`going on although ztunnel is ${errorText(error)}; its folder /run/ztunnel may stay on a node`));
}

async function podsGone(o: UninstallOptions, labelSelector: string): Promise<void> {
  const deadline = systemClock.monotonic() + o.waitMs;
  for (;;) {
    const { items } = await o.client.list<Pod>(KINDS.pods, o.namespace, { labelSelector });
    if (items.length === 0) return;
    if (systemClock.monotonic() > deadline) throw new UsageError(`still there after ${o.waitMs / 1000} s: ${items.map((p) => `${p.metadata.name}${p.spec.nodeName === undefined ? "" : ` on ${p.spec.nodeName}`}`).join(", ")}. When its node is well again (or gone), run ambit uninstall again: it goes on from here`);
    await systemClock.sleep(POLL_MS);
  }
}

/** Agents say of each pod that it has left. A pod that one could not release would lose its network with ztunnel. */
async function nobodyEnrolled(o: UninstallOptions): Promise<void> {
  const names = (await o.client.list<Pod>(KINDS.pods)).items.filter((p) => isEnrolled(p) && p.status?.phase === "Running").map((p) => `${p.metadata.namespace ?? ""}/${p.metadata.name}`);
  if (names.length > 0) o.onWarning(`these pods still say that they are in the mesh: ${names.slice(0, 5).join(", ")}${names.length > 5 ? ` and ${names.length - 5} more` : ""}; if one cannot be reached, delete it, so that it starts anew`);
}

/** What istiod made outside of its namespace. */
async function leftBehind(client: KubeClient): Promise<ObjectId[]> {
  const [anchors, classes, ...parts] = await Promise.all([
    listed(client, KINDS.configMaps, ANCHORS.label), listed(client, KINDS.gatewayClasses), ...WAYPOINT_KINDS.map((k) => listed(client, k, WAYPOINT_PARTS)),
  ]);
  return [...(anchors ?? []).filter((c) => ANCHORS.names.includes(c.metadata.name as never)), ...parts.flat(), ...(classes ?? []).filter(isOurClass)].map(idOf);
}

const ourCrds = async (client: KubeClient): Promise<ObjectId[]> => (await listed(client, KINDS.customResourceDefinitions)).filter(isOurs).map(idOf);

async function tenantsOf(client: KubeClient, namespace: string): Promise<string[]> {
  const all = await Promise.all(TENANTS.map((k) => listed(client, k, undefined, namespace)));
  return all.flat().filter((o) => o.metadata.deletionTimestamp === undefined && o.metadata.ownerReferences === undefined)
    .map((o) => `${o.kind ?? ""} ${o.metadata.name}`).filter((n) => !EVERYWHERE.includes(n));
}

/** Empty where the kind is not there; each object with its kind. */
async function listed(client: KubeClient, kind: Kind, labelSelector?: string, namespace?: string): Promise<KubeObject[]> {
  try {
    const { items } = await client.list(kind, namespace, labelSelector === undefined ? {} : { labelSelector });
    return items.map((o) => ({ ...o, apiVersion: kind.group === "" ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind }));
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

/** What of users stands on the mesh, as sentences. */
export async function usersOf(client: KubeClient): Promise<string[]> {
  const policies = [KINDS.authorizationPolicies, KINDS.peerAuthentications, KINDS.requestAuthentications];
  const [namespaces, gateways, ...rules] = await Promise.all([listed(client, KINDS.namespaces, "istio.io/dataplane-mode=ambient"), listed(client, KINDS.gateways), ...policies.map((k) => listed(client, k))]);
  const waypoints = (gateways ?? []).filter((g) => ["istio-waypoint", "ambit-waypoint"].includes(String((g["spec"] as { gatewayClassName?: unknown } | undefined)?.gatewayClassName)));
  const n = rules.flat().length;
  return [
    ...((namespaces ?? []).length === 0 ? [] : [`namespaces stay labelled for the mesh and talk in clear from now on: ${(namespaces ?? []).map((s) => s.metadata.name).join(", ")}`]),
    ...(waypoints.length === 0 ? [] : [`Gateways of waypoints stay, without proxies: ${waypoints.map((g) => `${g.metadata.namespace ?? ""}/${g.metadata.name}`).join(", ")}`]),
    ...(n === 0 ? [] : [`${n} security ${n === 1 ? "policy stays and is" : "policies stay and are"} enforced by nobody`]),
  ];
}
