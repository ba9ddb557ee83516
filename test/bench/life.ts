// Owns how long the mesh takes to do what it was told: enrol a namespace's pods, refuse by a policy, cut what is open.
import { setTimeout as wait } from "node:timers/promises";
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import { documents, samplePod } from "../e2e/client-log.fixture.ts";
import { isEnrolled } from "../e2e/cluster.fixture.ts";
import { makeNamespace, NODES, type Rig } from "./rig.ts";
import type { Results } from "./results.ts";
import { median } from "./results.ts";

const PODS = 4;
const NAMESPACE = "life";
const POLICIES: { group: string; version: string } = { group: "security.istio.io", version: "v1" };
const POLICY = { apiVersion: `${POLICIES.group}/${POLICIES.version}`, kind: "AuthorizationPolicy", metadata: { name: "no-client", namespace: "mesh" }, spec: { action: "DENY", rules: [{ from: [{ source: { namespaces: ["mesh"] } }] }] } };

export async function life(rig: Rig, times: number, results: Results): Promise<void> {
  await enrolment(rig, times, results);
  await capture(rig, times, results);
  await policy(rig, times, results);
}

/** From the label on the namespace to the last of its pods being enrolled. */
async function enrolment({ lab, variant }: Rig, times: number, results: Results): Promise<void> {
  const pods = Array.from({ length: PODS }, (_, i) => samplePod({ name: `p${i}`, namespace: NAMESPACE, node: NODES[i % NODES.length] ?? "", args: ["serve"] }));
  await makeNamespace(lab, NAMESPACE, false);
  await lab.apply(documents(...pods));
  await lab.ready(NAMESPACE, { enrolled: false, count: PODS });
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    const begin = performance.now();
    await lab.client.patch(KINDS.namespaces, undefined, NAMESPACE, { metadata: { labels: { "istio.io/dataplane-mode": "ambient" } } });
    await lab.until<Pod>(KINDS.pods, NAMESPACE, (items) => items.length === PODS && items.every(isEnrolled));
    took.push(performance.now() - begin);
    await lab.client.patch(KINDS.namespaces, undefined, NAMESPACE, { metadata: { labels: { "istio.io/dataplane-mode": null } } });
    await lab.until<Pod>(KINDS.pods, NAMESPACE, (items) => items.every((p) => !isEnrolled(p)));
  }
  both(results, variant, `label to ${PODS} pods enrolled`, took);
}

/** From the label on a namespace to the first reply that came through a tunnel: new connections are made all the time, and ztunnel's access line says which was the first. */
async function capture(rig: Rig, times: number, results: Results): Promise<void> {
  const { lab, variant } = rig;
  const label = (value: string | null): Promise<unknown> => lab.client.patch(KINDS.namespaces, undefined, "plain", { metadata: { labels: { "istio.io/dataplane-mode": value } } });
  const probe = await rig.session("plain", "probe", {});
  const took: number[] = [];
  try {
    await probe.next("held", (r) => r["held"] === true);
    for (let i = 0; i < times; i++) {
      const begin = Date.now();
      await label("ambient");
      for (let first: number | undefined; first === undefined; await wait(LOOK_EVERY_MS)) {
        first = firstTunnelled(await lab.kubectl("-n", "istio-system", "logs", "-l", "app=ztunnel", "--tail=-1", "--since=20s"), begin);
        if (first !== undefined) took.push(first - begin);
        else if (Date.now() - begin > CAPTURE_LIMIT_MS) throw new Error("no connection of the namespace was tunnelled");
      }
      await label(null);
      await lab.until<Pod>(KINDS.pods, "plain", (items) => items.every((p) => !isEnrolled(p)));
    }
  } finally {
    await probe.close();
  }
  both(results, variant, "label to first tunnelled reply", took);
}

const LOOK_EVERY_MS = 200;
const CAPTURE_LIMIT_MS = 20_000;

/** Milliseconds since the epoch. Ours and the real one's lines begin with the time, and name the client's namespace. */
function firstTunnelled(lines: string, since: number): number | undefined {
  const times = lines.split("\n").filter((l) => l.includes("connection complete") && /dst.hbone_addr/.test(l) && /src.namespace"?[=:]"?plain/.test(l))
    .map((l) => Date.parse(/\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(l)?.[0] ?? "")).filter((t) => t >= since);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** From a DENY policy being applied to the first refused connection, and to the end of one that was open. */
async function policy(rig: Rig, times: number, results: Results): Promise<void> {
  const { lab, variant } = rig;
  const session = await rig.session("mesh", "probe", {});
  const [refused, cut, served]: [number[], number[], number[]] = [[], [], []];
  try {
    await session.next("held", (r) => r["held"] === true);
    for (let i = 0; i < times; i++) {
      const begin = Date.now();
      await lab.client.create<KubeObject>(KINDS.authorizationPolicies, "mesh", POLICY);
      for (let left = 2; left > 0; left--) {
        const line = await session.next("t");
        if (line["served"] === false) refused.push(Number(line["t"]) - begin);
        else if (line["held"] === false) cut.push(Number(line["t"]) - begin);
        else throw new Error(`under a DENY policy the probe said ${JSON.stringify(line)}`);
      }
      const end = Date.now();
      await lab.client.delete(KINDS.authorizationPolicies, "mesh", POLICY.metadata.name);
      served.push(Number((await session.next("served", (r) => r["served"] === true))["t"]) - end);
      await session.next("held", (r) => r["held"] === true);
    }
  } finally {
    await lab.client.delete(KINDS.authorizationPolicies, "mesh", POLICY.metadata.name).catch(() => undefined);
    await session.close();
  }
  both(results, variant, "policy to new connection refused", refused);
  both(results, variant, "policy to open connection cut", cut);
  both(results, variant, "policy deleted to served again", served);
}

function both(results: Results, way: "ambit" | "real", metric: string, values: readonly number[]): void {
  results.add(way, `${metric}, p50 of ${values.length}`, "ms", median(values));
  results.add(way, `${metric}, max`, "ms", Math.max(...values));
}
