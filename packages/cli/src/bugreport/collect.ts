// Owns what goes into a bug report: versions, findings, objects, logs and dumps, each redacted before it is kept.
import { dump } from "js-yaml";
import { KINDS, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { errorText } from "@ambit/runtime";
import { gather, podLog } from "../check/gather.ts";
import { judgeMesh } from "../check/judge.ts";
import { isWaypointPod, list, MESH_NAMESPACE, partOf, record, text } from "../check/model/facts.ts";
import { getFromPod } from "../port-forward.ts";
import { redactObject, redactText } from "./plan/redact.ts";
import type { TarFile } from "./plan/tar.ts";

/** Of each container, and as many of the one before it. */
const LOG_LINES = 5_000;
/** Each is a kubectl of its own. */
const PODS_AT_ONCE = 8;
const ADMIN_PORT = 15000;
/** A dump or log above this is cut: it is to be read by people, and 50,000 workloads are 40 MB. */
const FILE_MAX_CHARS = 64 * 1024 * 1024;

export interface CollectOptions { readonly client: KubeClient; readonly kubeconfig: string | undefined; readonly ambit: string; readonly onStep: (text: string) => void }

export async function collect(o: CollectOptions): Promise<TarFile[]> {
  const files: TarFile[] = [];
  const failures: string[] = [];
  const keep = (path: string, content: string): void => void files.push({ path, content: redactText(content.length > FILE_MAX_CHARS ? `${content.slice(0, FILE_MAX_CHARS)}\n(cut)\n` : content) });
  /** One thing that cannot be had is no reason to have none. */
  const attempt = async (what: string, ask: () => Promise<string>): Promise<void> => {
    try {
      const got = await ask();
      if (got !== "") keep(what, got);
    } catch (error) {
      failures.push(`${what}: ${errorText(error)}`);
    }
  };

  o.onStep("objects and findings");
  const facts = await gather({ client: o.client, kubeconfig: o.kubeconfig, pre: false });
  keep("check.json", `${JSON.stringify(judgeMesh(facts), null, 2)}\n`);
  for (const [kind, objects] of Object.entries(facts.objects) as [string, readonly KubeObject[]][])
    if (objects.length > 0) files.push({ path: `objects/${kind}.yaml`, content: yaml(kind === "crds" ? objects.map(withoutSchema) : objects) });
  await attempt("objects/events.yaml", async () => yaml((await o.client.list(KINDS.events, MESH_NAMESPACE)).items));

  const pods = facts.objects.pods.filter((p) => partOf(p) !== undefined || isWaypointPod(p));
  keep("versions.json", `${JSON.stringify({ ambit: o.ambit, node: process.version, apiServer: facts.version, images: imagesOf(pods), clockAheadMs: Math.round(facts.aheadMs) }, null, 2)}\n`);
  for (let i = 0; i < pods.length; i += PODS_AT_ONCE) {
    o.onStep(`logs and dumps of ${Math.min(i + PODS_AT_ONCE, pods.length)} of ${pods.length} pods`);
    await Promise.all(pods.slice(i, i + PODS_AT_ONCE).map((p) => ofPod(o, p, attempt)));
  }
  for (const u of facts.unread) failures.push(`objects/${u.kind}: ${u.why}`);
  keep("not-collected.txt", failures.length === 0 ? "nothing is missing\n" : `${failures.join("\n")}\n`);
  return files;
}

async function ofPod(o: CollectOptions, pod: Pod, attempt: (what: string, ask: () => Promise<string>) => Promise<void>): Promise<void> {
  const { namespace = "", name } = pod.metadata;
  for (const container of pod.spec.containers) {
    const path = `pods/${namespace}/${name}/${container.name}`;
    await attempt(`${path}.log`, () => podLog(o.client, namespace, name, container.name, LOG_LINES));
    const restarts = list(pod.status?.["containerStatuses"]).map(record).find((s) => s["name"] === container.name)?.["restartCount"];
    if (Number(restarts) > 0) await attempt(`${path}.previous.log`, () => podLog(o.client, namespace, name, container.name, LOG_LINES, true));
  }
  // The agent has no admin port.
  const paths = partOf(pod) === "istio-cni-node" ? [] : partOf(pod) === "istiod" ? ["/debug/syncz"] : ["/config_dump"];
  for (const path of paths) await attempt(`pods/${namespace}/${name}${path.replace(/\/debug/, "")}.json`, () => getFromPod({ kubeconfig: o.kubeconfig, namespace, pod: name, port: ADMIN_PORT }, path));
}

const yaml = (objects: readonly KubeObject[]): string => objects.flatMap((x) => {
  const redacted = redactObject(x, x.metadata.namespace === MESH_NAMESPACE);
  return redacted === undefined ? [] : [dump(redacted, { lineWidth: 160, noRefs: true })];
}).join("---\n");

/** A megabyte that everybody can look up; which versions are served is what matters. */
const withoutSchema = (crd: KubeObject): KubeObject => ({ kind: "CustomResourceDefinition", metadata: crd.metadata, versions: list(record(crd["spec"])["versions"]).map((v) => ({ name: record(v)["name"], served: record(v)["served"], storage: record(v)["storage"] })) });

const imagesOf = (pods: readonly Pod[]): Record<string, string> => Object.fromEntries(pods.map((p) => [`${p.metadata.namespace}/${p.metadata.name}`, text(p.spec.containers[0]?.image)]));
