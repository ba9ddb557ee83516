// Owns what every cluster starts with: namespaces, default roles, priority classes and the `kubernetes` Service.
import { SELF } from "./auth/user.ts";
import { bootstrapRbac } from "./auth/bootstrap-roles.ts";
import type { Api } from "./context.ts";
import { asObject, equalJson, type JsonObject } from "./json.ts";
import { keyOf } from "./registry/row.ts";
import { metadataOf } from "./verbs/metadata.ts";
import { create, update, type Write } from "./verbs/write.ts";

const NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];
const OPTIONS = { dryRun: false, fieldManager: "kube-apiserver", fieldValidation: "Ignore", force: false } as const;

export interface Advertised {
  readonly ip: string;
  readonly port: number;
}

export async function bootstrap(api: Api, advertised: Advertised): Promise<void> {
  for (const name of NAMESPACES) await ensure(api, "", "v1", "namespaces", { metadata: { name } });
  for (const { resource, object } of bootstrapRbac()) {
    await ensure(api, "rbac.authorization.k8s.io", "v1", resource, object, ["rules", "aggregationRule", "roleRef", "subjects"]);
  }
  for (const [name, value] of [["system-cluster-critical", 2_000_000_000], ["system-node-critical", 2_000_001_000]] as const) {
    await ensure(api, "scheduling.k8s.io", "v1", "priorityclasses", { metadata: { name }, value, description: "Used for system critical pods." });
  }
  await ensureApiService(api, advertised);
}

async function ensureApiService(api: Api, { ip, port }: Advertised): Promise<void> {
  const labels = { component: "apiserver", provider: "kubernetes" };
  const metadata = { name: "kubernetes", namespace: "default" };
  const clusterIP = api.allocators.apiServer;
  const ports = [{ name: "https", port: 443, protocol: "TCP", targetPort: port }];
  await ensure(api, "", "v1", "services", { metadata: { ...metadata, labels }, spec: { clusterIP, ports } }, ["spec"]);
  const mirrored = { "endpointslice.kubernetes.io/skip-mirror": "true" };
  const subsets = [{ addresses: [{ ip }], ports: [{ name: "https", port, protocol: "TCP" }] }];
  await ensure(api, "", "v1", "endpoints", { metadata: { ...metadata, labels: mirrored }, subsets }, ["subsets"]);
  const slice: JsonObject = {
    metadata: { ...metadata, labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: [ip], conditions: { ready: true } }],
    ports: [{ name: "https", port, protocol: "TCP" }],
  };
  await ensure(api, "discovery.k8s.io", "v1", "endpointslices", slice, ["endpoints", "ports"]);
}

/** Creates what is missing; where `kept` names parts, puts those back when they have changed. */
async function ensure(api: Api, group: string, version: string, resource: string, object: JsonObject, kept: readonly string[] = []): Promise<void> {
  const row = api.registry.find(group, version, resource);
  if (row === undefined) throw new Error(`bootstrap: ${resource} is not in the registry`);
  const metadata = asObject(object["metadata"]);
  const namespace = row.namespaced ? String(metadata["namespace"]) : "";
  const name = String(metadata["name"]);
  const write: Write = { api, row, namespace, name, user: SELF, options: OPTIONS, warn: () => undefined };
  const typed: JsonObject = { apiVersion: group === "" ? version : `${group}/${version}`, kind: row.kind, ...object };
  const live = api.store.get(row.bucket, keyOf(row, namespace, name));
  if (live === undefined) {
    await create(write, structuredClone(typed));
    return;
  }
  const opted = asObject(metadataOf(live.object)["annotations"])["rbac.authorization.kubernetes.io/autoupdate"] === "false";
  const differs = kept.some((part) => object[part] !== undefined && !covers(object[part], live.object[part]));
  if (opted || !differs) return;
  await update(write, "", (now) => {
    for (const part of kept) if (object[part] !== undefined) now[part] = structuredClone(object[part]);
    return now;
  });
}

/** Whether `live` has everything of `wanted` (defaults may have been added). */
function covers(wanted: unknown, live: unknown): boolean {
  if (Array.isArray(wanted)) return Array.isArray(live) && wanted.length === live.length && wanted.every((item, i) => covers(item, live[i]));
  if (typeof wanted === "object" && wanted !== null) {
    const has = live as Record<string, unknown> | null | undefined;
    return typeof has === "object" && has !== null && Object.entries(wanted).every(([key, item]) => covers(item, has[key]));
  }
  return equalJson(wanted as never, live as never);
}
