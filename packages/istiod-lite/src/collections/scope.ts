// Owns which objects this control plane reads: discovery selectors of namespaces, revisions and their tags; and the settings in force. Pure.
import type { Collection, Context, Index } from "@ambit/collections";
import type { KubeObject } from "@ambit/kube";
import { matchesSelector } from "./label-selector.ts";
import { decodeMeshConfig, NO_MESH_CONFIG, type EntryVisibility, type MeshConfig } from "./mesh-config.ts";
import type { LabelMap, Settings } from "./settings.ts";

/** What holds mesh-wide now: the environment, and what ConfigMap istio says over it. One item, key "mesh". */
export interface MeshScope {
  readonly key: "mesh";
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly config: MeshConfig;
  /** Values of istio.io/rev that mean us. */
  readonly revisions: readonly string[];
}

export interface ScopeInputs {
  readonly settings: Settings;
  readonly scope: Collection<MeshScope>;
}

const REVISION_LABEL = "istio.io/rev";
const TAG_LABEL = "istio.io/tag";

/** What each revision has one of: `NAME` of the default one, else `NAME-REVISION`. */
export const nameOfRevision = (name: string, revision: string): string => (revision === "" || revision === "default" ? name : `${name}-${revision}`);

export const meshConfigName = (revision: string): string => nameOfRevision("istio", revision);

/** Services that name a tag of a revision, by namespace and revision: Istio's way of giving a revision another name. */
export const taggedRevision = (o: KubeObject): string[] =>
  (o.metadata.labels?.[TAG_LABEL] === undefined ? [] : [`${o.metadata.namespace ?? ""} ${o.metadata.labels[REVISION_LABEL] ?? ""}`]);

export function scopeOf<S extends KubeObject>(settings: Settings, meshConfigs: Collection<KubeObject>, services: Collection<S>, tagged: Index<S>) {
  return (ctx: Context): MeshScope => {
    const o = ctx.fetchOne(meshConfigs, { key: `${settings.rootNamespace}/${meshConfigName(settings.revision)}` });
    const decoded = o === undefined ? undefined : decodeMeshConfig(o);
    // Nothing that is not understood gets in; the guard is for what admit does not know.
    const config = decoded?.ok === true ? decoded.value : NO_MESH_CONFIG;
    const tags = ctx.fetch(services, { index: [tagged, `${settings.rootNamespace} ${settings.revision}`] }).map((s) => s.metadata.labels?.[TAG_LABEL] ?? "");
    return {
      key: "mesh", config, trustDomain: config.trustDomain ?? settings.trustDomain, trustDomainAliases: config.trustDomainAliases,
      revisions: [...new Set([settings.revision, ...tags])].sort(),
    };
  };
}

const EVERYTHING = { key: "mesh" } as const;
const scopeNow = (ctx: Context, inputs: Pick<ScopeInputs, "scope">): MeshScope | undefined => ctx.fetchOne(inputs.scope, EVERYTHING);

/** Whether a namespace is read: any selector matches, there are none, or it is the root namespace, whose policies are everybody's. */
export function isDiscovered(ctx: Context, inputs: ScopeInputs, name: string, labels: LabelMap | undefined): boolean {
  const selectors = scopeNow(ctx, inputs)?.config.discoverySelectors ?? [];
  return selectors.length === 0 || name === inputs.settings.rootNamespace || (labels !== undefined && selectors.some((s) => matchesSelector(s, labels)));
}

/** The mesh's own first, then its aliases. */
export function trustDomainsOf(ctx: Context, inputs: ScopeInputs): readonly string[] {
  const scope = scopeNow(ctx, inputs);
  return [...new Set([scope?.trustDomain ?? inputs.settings.trustDomain, ...(scope?.trustDomainAliases ?? [])])];
}

/** An object of a kind that belongs to control planes: without a revision it is everybody's. */
export function isOurRevision(ctx: Context, inputs: Pick<ScopeInputs, "scope">, labels: LabelMap | undefined): boolean {
  return labels?.[REVISION_LABEL] === undefined || ownsRevision(scopeNow(ctx, inputs), labels);
}

/** Whether a label names us, by revision or tag; without one an object is everybody's. */
export const ownsRevision = (scope: MeshScope | undefined, labels: LabelMap | undefined): boolean => {
  const revision = labels?.[REVISION_LABEL];
  return revision === undefined || scope?.revisions.includes(revision) === true;
};

/** Of a ServiceEntry in a namespace with these labels; undefined: the mesh does not say. */
export function entryVisibility(ctx: Context, inputs: Pick<ScopeInputs, "scope">, labels: LabelMap): EntryVisibility | undefined {
  const setting = scopeNow(ctx, inputs)?.config.entryVisibility;
  if (setting === undefined) return undefined;
  return setting.policies.find((p) => p.namespaces.every((s) => matchesSelector(s, labels)))?.visibility ?? setting.fallback;
}
