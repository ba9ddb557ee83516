// Owns putting the real ztunnel in the place of ours in a lab: as a second DaemonSet from our own manifest, chosen node by node.
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import { addCommandImage } from "@ambit/lab/images";
import { chartObjects } from "@ambit/testkit";
import { isReady } from "../e2e/cluster.fixture.ts";
import type { TestLab } from "../e2e/lab.fixture.ts";

export type Variant = "ambit" | "real";
/** Node name to who runs there. */
export type Choice = Readonly<Record<string, Variant>>;

const LABEL = "ambit.test/ztunnel";
const IMAGE = "real/ztunnel:lab";
/** An old one may drain, the new one fetches certificates and configuration; the machine may be busy. */
const SWITCH_LIMIT_MS = 90_000;

interface DaemonSet extends KubeObject {
  readonly spec: { selector: { matchLabels: Record<string, string> }; template: { metadata: { labels: Record<string, string> }; spec: { nodeSelector: Record<string, string>; containers: { image: string; env: { name: string; value?: string }[] }[] } } };
}

/** Makes both DaemonSets; our own keeps every node until `choose` says otherwise. `binary` must be seen in the machine's root. */
export async function offerRealZtunnel(lab: TestLab, binary: string): Promise<void> {
  addCommandImage(lab.images, { name: IMAGE, command: [binary] });
  const ours = chartObjects("ztunnel").find((o) => o.kind === "DaemonSet") as DaemonSet;
  for (const node of (await lab.client.list(KINDS.nodes)).items) await label(lab, node.metadata.name, "ambit");
  ours.spec.template.spec.nodeSelector[LABEL] = "ambit";
  await lab.apply(JSON.stringify(ours));
  const real = structuredClone(ours) as DaemonSet & { metadata: { name: string } };
  Object.assign(real.metadata, { name: "ztunnel-real" });
  real.spec.selector.matchLabels[LABEL] = "real";
  real.spec.template.metadata.labels[LABEL] = "real";
  real.spec.template.spec.nodeSelector[LABEL] = "real";
  const [container] = real.spec.template.spec.containers;
  if (container === undefined) throw new Error("the chart's ztunnel has no container");
  container.image = IMAGE;
  container.env = [...container.env.filter((e) => e.name !== "RUST_LOG"), { name: "RUST_LOG", value: "info" }];
  await lab.apply(JSON.stringify(real));
  await choose(lab, {});
}

const label = (lab: TestLab, node: string, value: Variant): Promise<unknown> => lab.client.patch(KINDS.nodes, undefined, node, { metadata: { labels: { [LABEL]: value } } });

/** Resolves when each named node runs the wanted one, ready, and nothing of the other is left anywhere. Returns how long that took. */
export async function choose(lab: TestLab, choice: Choice): Promise<number> {
  const begin = performance.now();
  for (const [node, variant] of Object.entries(choice)) await label(lab, node, variant);
  const nodes = (await lab.client.list(KINDS.nodes)).items;
  const wanted = new Map(nodes.map((n) => [n.metadata.name, n.metadata.labels?.[LABEL] === "real" ? "ztunnel-real" : "ztunnel"]));
  await lab.until<Pod>(KINDS.pods, "istio-system", (pods) => {
    const ztunnels = pods.filter((p) => p.metadata.labels?.["app"] === "ztunnel");
    return ztunnels.length === wanted.size && ztunnels.every((p) => isReady(p) && p.metadata.ownerReferences?.[0]?.name === wanted.get(p.spec.nodeName ?? ""));
  }, SWITCH_LIMIT_MS);
  return performance.now() - begin;
}
