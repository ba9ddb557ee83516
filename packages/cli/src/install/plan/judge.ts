// Decides what an installation may touch: objects of others, older versions, custom kinds of others. Pure.
import type { KubeObject } from "@ambit/kube";
import { INSTALLER } from "./mesh-objects.ts";

const MANAGED_BY = "app.kubernetes.io/managed-by";

export const isOurs = (live: KubeObject): boolean => live.metadata.labels?.[MANAGED_BY] === INSTALLER;

/** Whose a standing object is, in words; undefined where it is ours. */
export function foreignOwner(live: KubeObject): string | undefined {
  if (isOurs(live)) return undefined;
  const { labels = {}, annotations = {} } = live.metadata;
  const release = annotations["meta.helm.sh/release-name"];
  if (release !== undefined) return `Helm's release ${release}`;
  const argo = annotations["argocd.argoproj.io/tracking-id"] ?? labels["argocd.argoproj.io/instance"];
  if (argo !== undefined) return `Argo CD's application ${argo.split(":")[0] ?? argo}`;
  const flux = labels["helm.toolkit.fluxcd.io/name"] ?? labels["kustomize.toolkit.fluxcd.io/name"];
  if (flux !== undefined) return `Flux's ${flux}`;
  return labels[MANAGED_BY] ?? "somebody who did not say so (no label app.kubernetes.io/managed-by)";
}

/** Below zero: `a` is older. Anything after the third number (-rc.1) counts as older than nothing. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((v) => /^v?(\d+)\.(\d+)\.(\d+)(-.+)?$/.exec(v));
  if (x === null || x === undefined || y === null || y === undefined) return a === b ? 0 : NaN;
  for (const i of [1, 2, 3]) if (x[i] !== y[i]) return Number(x[i]) - Number(y[i]);
  if (x[4] === y[4]) return 0;
  return x[4] === undefined ? 1 : y[4] === undefined ? -1 : x[4] < y[4] ? -1 : 1;
}

/** The two bundles: their kinds belong together, and those of two sources are not mixed. */
const FAMILIES: readonly (readonly [name: string, suffix: string])[] = [["the Gateway API", "gateway.networking.k8s.io"], ["Istio", "istio.io"]];

export interface CrdPlan { readonly apply: readonly KubeObject[]; readonly reused: readonly { readonly family: string; readonly owner: string }[] }

/** Definitions to install: of a family that somebody else has installed, none. */
export function planCrds(wanted: readonly KubeObject[], live: readonly KubeObject[]): CrdPlan {
  const apply: KubeObject[] = [];
  const reused: { family: string; owner: string }[] = [];
  for (const [family, suffix] of FAMILIES) {
    const standing = live.find((c) => c.metadata.name.endsWith(suffix) && wanted.some((w) => w.metadata.name === c.metadata.name) && !isOurs(c));
    if (standing === undefined) apply.push(...wanted.filter((c) => c.metadata.name.endsWith(suffix)));
    else reused.push({ family, owner: standing.metadata.annotations?.["gateway.networking.k8s.io/bundle-version"] ?? foreignOwner(standing) ?? "" });
  }
  return { apply, reused };
}
