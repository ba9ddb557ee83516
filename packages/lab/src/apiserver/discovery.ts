// Owns discovery: the legacy lists of groups and resources, and the aggregated document, from the registry.
import { createHash } from "node:crypto";
import type { Json, JsonObject } from "./json.ts";
import { apiVersionOf, verbsOf, type Row } from "./registry/row.ts";
import type { GroupInfo, Registry, VersionInfo } from "./registry/registry.ts";

interface Subresource {
  readonly name: string;
  readonly kind: string;
  readonly group: string;
  readonly version: string;
  readonly verbs: readonly string[];
}

const OTHERS: Record<string, Omit<Subresource, "name"> | undefined> = {
  "pods/binding": { kind: "Binding", group: "", version: "v1", verbs: ["create"] },
  "pods/eviction": { kind: "Eviction", group: "policy", version: "v1", verbs: ["create"] },
  "pods/log": { kind: "Pod", group: "", version: "v1", verbs: ["get"] },
  "pods/exec": { kind: "PodExecOptions", group: "", version: "v1", verbs: ["create", "get"] },
  "pods/attach": { kind: "PodAttachOptions", group: "", version: "v1", verbs: ["create", "get"] },
  "pods/portforward": { kind: "PodPortForwardOptions", group: "", version: "v1", verbs: ["create", "get"] },
  "namespaces/finalize": { kind: "Namespace", group: "", version: "v1", verbs: ["update"] },
  "serviceaccounts/token": { kind: "TokenRequest", group: "authentication.k8s.io", version: "v1", verbs: ["create"] },
};

function subresources(row: Row): Subresource[] {
  const { group, version, kind } = row;
  const verbs = ["get", "patch", "update"];
  const found: Subresource[] = [];
  if (row.status !== null) found.push({ name: "status", kind, group, version, verbs });
  if (row.scale !== null) found.push({ name: "scale", kind: "Scale", group: "autoscaling", version: "v1", verbs });
  for (const name of row.subresources) {
    const known = OTHERS[`${row.resource}/${name}`];
    if (known !== undefined) found.push({ name, ...known });
  }
  return row.custom === null ? found.toSorted((a, b) => (a.name < b.name ? -1 : 1)) : found;
}

/** Upstream lists the verbs of custom kinds in this order. */
const CUSTOM_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/** Tells clients which stored form is behind a resource: of the kind's own version. */
function storageVersionHash(row: Row): string {
  return createHash("sha256").update(`${row.group}/${row.version}/${row.kind}`).digest().subarray(0, 8).toString("base64");
}

/** /api/v1 and /apis/GROUP/VERSION. */
export function resourceList(version: VersionInfo): JsonObject {
  const resources: Json[] = [];
  for (const row of inOrder(version.rows)) {
    const entry: JsonObject = {
      name: row.resource,
      singularName: row.singular,
      namespaced: row.namespaced,
      kind: row.kind,
      verbs: row.custom === null ? verbsOf(row) : CUSTOM_VERBS,
    };
    if (!row.virtual) entry["storageVersionHash"] = storageVersionHash(row);
    if (row.shortNames.length > 0) entry["shortNames"] = [...row.shortNames];
    if (row.categories.length > 0) entry["categories"] = [...row.categories];
    resources.push(entry);
    for (const sub of subresources(row)) {
      const item: JsonObject = {
        name: `${row.resource}/${sub.name}`,
        singularName: "",
        namespaced: row.namespaced,
        kind: sub.kind,
        verbs: [...sub.verbs],
      };
      if (sub.group !== row.group || sub.version !== row.version) {
        item["group"] = sub.group;
        item["version"] = sub.version;
      }
      resources.push(item);
    }
  }
  // The core list is from before lists had versions of their own.
  const ownVersion: JsonObject = version.group === "" ? {} : { apiVersion: "v1" };
  return { kind: "APIResourceList", ...ownVersion, groupVersion: apiVersionOf(version), resources };
}

/** Built-in resources by name, custom ones as they came. */
function inOrder(rows: readonly Row[]): readonly Row[] {
  return rows.every((row) => row.custom === null) ? rows.toSorted((a, b) => (a.resource < b.resource ? -1 : 1)) : rows;
}

/** Upstream leaves group and version empty where they are the built-in resource's own. */
function responseKind(row: Row, { group, version, kind }: { readonly group: string; readonly version: string; readonly kind: string }): JsonObject {
  const own = row.custom === null && group === row.group && version === row.version;
  return own ? { group: "", version: "", kind } : { group, version, kind };
}

function groupObject(info: GroupInfo): JsonObject {
  const versions = info.versions.map((v) => ({ groupVersion: apiVersionOf(v), version: v.version }));
  return { name: info.group, versions, preferredVersion: versions[0] ?? {} };
}

/** /apis */
export function groupList(registry: Registry): JsonObject {
  const groups = registry.groups().filter((info) => info.group !== "").map(groupObject);
  return { kind: "APIGroupList", apiVersion: "v1", groups };
}

/** /apis/GROUP, or null when the group is not served. */
export function groupDocument(registry: Registry, group: string): JsonObject | null {
  const info = registry.groups().find((candidate) => candidate.group === group && group !== "");
  return info === undefined ? null : { kind: "APIGroup", apiVersion: "v1", ...groupObject(info) };
}

/** /api */
export function coreVersions(serverAddress: string): JsonObject {
  const serverAddressByClientCIDRs = [{ clientCIDR: "0.0.0.0/0", serverAddress }];
  return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs };
}

/** Every group with all its resources in one document; `core` chooses /api or /apis. */
export function aggregated(registry: Registry, core: boolean, documentVersion: string): JsonObject {
  const groups = registry.groups().filter((info) => (info.group === "") === core);
  const items = groups.map((info): JsonObject => {
    const metadata: JsonObject = { creationTimestamp: null };
    if (info.group !== "") metadata["name"] = info.group;
    return { metadata, versions: info.versions.map(aggregatedVersion) };
  });
  return { kind: "APIGroupDiscoveryList", apiVersion: `apidiscovery.k8s.io/${documentVersion}`, metadata: {}, items };
}

function aggregatedVersion(info: VersionInfo): JsonObject {
  const resources = inOrder(info.rows).map((row): JsonObject => {
    const resource: JsonObject = {
      resource: row.resource,
      responseKind: responseKind(row, row),
      scope: row.namespaced ? "Namespaced" : "Cluster",
      singularResource: row.singular,
      verbs: verbsOf(row),
    };
    if (row.shortNames.length > 0) resource["shortNames"] = [...row.shortNames];
    if (row.categories.length > 0) resource["categories"] = [...row.categories];
    const subs = subresources(row).map((sub) => ({
      subresource: sub.name,
      responseKind: responseKind(row, sub),
      verbs: [...sub.verbs],
    }));
    if (subs.length > 0) resource["subresources"] = subs;
    return resource;
  });
  return { version: info.version, resources, freshness: "Current" };
}
