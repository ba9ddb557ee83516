// Owns "make the cluster have these objects": YAML in, server-side apply out, CRDs before what needs them.
import { loadAll } from "js-yaml";
import { KubeClient, KubeError } from "./client.ts";
import { KINDS, pathOf, type Condition, type Kind, type KubeObject } from "./objects.ts";

/** Several documents in one text; empty ones are skipped. Throws naming `where` and the document. */
export function parseManifests(text: string, where: string): KubeObject[] {
  let docs: unknown[];
  try {
    docs = loadAll(text) as unknown[];
  } catch (error) {
    throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  return docs.flatMap((doc, i) => {
    if (doc === null || doc === undefined) return [];
    const object = doc as KubeObject & { items?: KubeObject[] };
    if (typeof doc !== "object" || typeof object.apiVersion !== "string" || typeof object.kind !== "string")
      throw new Error(`${where}: document ${i + 1} is not a Kubernetes object (apiVersion and kind are needed)`);
    if (object.kind === "List" && Array.isArray(object.items)) return object.items;
    if (typeof object.metadata?.name !== "string") throw new Error(`${where}: document ${i + 1} (${object.kind}) has no metadata.name`);
    return [object];
  });
}

const ESTABLISH_TIMEOUT_MS = 20_000;

/** Finds the plural and scope of a kind by asking the server; caches per group version. */
export class KindFinder {
  readonly #client: KubeClient;
  readonly #byGroupVersion = new Map<string, Promise<Kind[]>>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  async find(apiVersion: string, kindName: string): Promise<Kind> {
    for (const fresh of [false, true]) {
      if (fresh) this.#byGroupVersion.delete(apiVersion);
      const known = await this.#kinds(apiVersion).catch((error: unknown) => {
        if (error instanceof KubeError && error.status === 404) return [];
        throw error;
      });
      const found = known.find((k) => k.kind === kindName);
      if (found !== undefined) return found;
    }
    throw new KubeError(404, "NotFound", `the server has no kind ${kindName} in ${apiVersion}: is its CRD installed?`);
  }

  #kinds(apiVersion: string): Promise<Kind[]> {
    let known = this.#byGroupVersion.get(apiVersion);
    if (known === undefined) {
      known = this.#load(apiVersion);
      this.#byGroupVersion.set(apiVersion, known);
      known.catch(() => this.#byGroupVersion.delete(apiVersion));
    }
    return known;
  }

  async #load(apiVersion: string): Promise<Kind[]> {
    const [group, version] = apiVersion.includes("/") ? (apiVersion.split("/", 2) as [string, string]) : ["", apiVersion];
    const list = await this.#client.request<{ resources?: { name: string; kind: string; namespaced: boolean }[] }>("GET", group === "" ? `/api/${version}` : `/apis/${apiVersion}`);
    return (list.resources ?? []).filter((r) => !r.name.includes("/")).map((r) => ({ group, version, plural: r.name, kind: r.kind, namespaced: r.namespaced }));
  }
}

export interface ApplyOptions { readonly fieldManager: string; readonly namespace?: string; readonly onApplied?: (object: KubeObject) => void }

/** Applies in an order that works (CRDs, namespaces, the rest as given) and waits until CRDs are served. */
export async function applyManifests(client: KubeClient, objects: readonly KubeObject[], options: ApplyOptions): Promise<KubeObject[]> {
  const rank = (o: KubeObject) => (o.kind === "CustomResourceDefinition" ? 0 : o.kind === "Namespace" ? 1 : 2);
  const ordered = objects.map((o, i) => [rank(o), i, o] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const finder = new KindFinder(client);
  const applied: KubeObject[] = [];
  let crdsPending: string[] = [];
  for (const [order, , object] of ordered) {
    if (order !== 0 && crdsPending.length > 0) {
      await Promise.all(crdsPending.map((name) => established(client, name)));
      crdsPending = [];
    }
    const kind = await finder.find(object.apiVersion ?? "", object.kind ?? "");
    const namespace = kind.namespaced ? (object.metadata.namespace ?? options.namespace ?? "default") : undefined;
    applied.push(await client.patch(kind, namespace, object.metadata.name, object, { type: "apply", fieldManager: options.fieldManager, force: true }));
    options.onApplied?.(object);
    if (order === 0) crdsPending.push(object.metadata.name);
  }
  await Promise.all(crdsPending.map((name) => established(client, name)));
  return applied;
}

/** Waits by watching, not by asking again and again. */
async function established(client: KubeClient, name: string): Promise<void> {
  const path = pathOf(KINDS.customResourceDefinitions);
  const response = await client.open("GET", path, { query: { watch: true, fieldSelector: `metadata.name=${name}` }, timeoutMs: ESTABLISH_TIMEOUT_MS });
  let rest = "";
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      const lines = (rest + chunk.toString("utf8")).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const event = JSON.parse(line) as { object: { status?: { conditions?: Condition[] } } };
        if (event.object.status?.conditions?.some((c) => c.type === "Established" && c.status === "True")) return;
      }
    }
  } finally {
    response.destroy();
  }
  throw new Error(`CustomResourceDefinition ${name} was not established within ${ESTABLISH_TIMEOUT_MS / 1000} s`);
}
