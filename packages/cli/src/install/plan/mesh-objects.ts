// Owns which objects an installation consists of, in the order in which they are made and waited for. Pure.
import { layValues, renderChart, type Chart, type ValueMap } from "@ambit/charts";
import type { KubeObject } from "@ambit/kube";

/** Who installs, as `Release.Service` and the label app.kubernetes.io/managed-by. */
export const INSTALLER = "ambit";
export const DEFAULT_REVISION = "default";

/** Parts are upgraded one after the other: rights and the control plane before who asks it, the agent before the proxy it feeds. */
export interface Stage { readonly name: string; readonly objects: readonly KubeObject[] }

export interface Wanted { readonly namespace: string; readonly revision: string; readonly values: ValueMap }

/** Throws ValuesError or TemplateError. A revision of its own is a second control plane and nothing else. */
export function meshStages(charts: readonly Chart[], { namespace, revision, values }: Wanted): Stage[] {
  const given = layValues(layValues(values, { base: { createNamespace: true } }), { global: { revision } });
  const chosen = revision === DEFAULT_REVISION ? charts : charts.filter((c) => c.name === "istiod-lite");
  return chosen.map((chart) => ({
    name: chart.name,
    objects: inOrder(renderChart(chart, given, { name: chart.name, namespace, service: INSTALLER }).map((r) => r.object)),
  }));
}

/** What others need first: namespaces, accounts, rights, settings; last the webhook, which nobody answers before istiod is there. */
const FIRST = ["Namespace", "ResourceQuota", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap", "Service", "NetworkPolicy"];
const LAST = ["ValidatingWebhookConfiguration"];
const rank = ({ kind = "" }: KubeObject): number => (LAST.includes(kind) ? FIRST.length + 1 : FIRST.includes(kind) ? FIRST.indexOf(kind) : FIRST.length);

const inOrder = (objects: readonly KubeObject[]): KubeObject[] => objects.map((o, i) => [rank(o), i, o] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , o]) => o);
