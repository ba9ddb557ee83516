import assert from "node:assert/strict";
import type { Node, Pod } from "@ambit/kube";
import { quantity } from "./node-fit.ts";
import { planSchedule } from "./schedule.ts";

const node = (name: string, more: Record<string, unknown> = {}, labels: Record<string, string> = {}): Node => ({
  metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } }, spec: {}, status: { conditions: [{ type: "Ready", status: "True" }] }, ...more,
});
const pod = (spec: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}): Pod =>
  ({ metadata: { name: "p", namespace: "ns", uid: "p", ...metadata }, spec: { containers: [{ name: "c" }], ...spec } }) as Pod;
const bound = (name: string, on: string, more: Record<string, unknown> = {}, labels = {}): Pod => pod({ nodeName: on, ...more }, { name, uid: name, labels });
const TWO = [node("a"), node("b")];

function place(p: Pod, nodes: readonly Node[] = TWO, pods: readonly Pod[] = []): string {
  const { actions } = planSchedule({ pod: p, nodes, pods: [...pods, p], namespaces: [], now: 0 });
  const bind = actions.find((x) => x.do === "bind");
  if (bind?.do === "bind") return bind.node;
  const event = actions.find((x) => x.do === "event");
  const status = actions.find((x) => x.do === "merge");
  return event?.do === "event" ? event.message : status === undefined ? "nothing" : "gated";
}
const taint = (effect: string, key = "k") => ({ spec: { taints: [{ key, effect }] } });
const required = (expressions: object[]) => ({ affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: expressions }] } } } });
const apart = (kind: "podAffinity" | "podAntiAffinity", app: string) =>
  ({ affinity: { [kind]: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: { app } } }] } } });
const owner = { ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "r", uid: "r", controller: true }] };

const TABLE: [string, string, string][] = [
  ["the node with fewer pods", place(pod(), TWO, [bound("x", "a")]), "b"],
  ["spreads an owner's pods before counting all", place(pod({}, owner), TWO, [bound("x", "a"), bound("y", "a"), pod({ nodeName: "b" }, { name: "z", uid: "z", ...owner })]), "a"],
  ["nodeSelector", place(pod({ nodeSelector: { disk: "ssd" } }), [node("a"), node("b", {}, { disk: "ssd" })]), "b"],
  ["nodeSelector nobody meets", place(pod({ nodeSelector: { disk: "ssd" } })), "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."],
  ["required node affinity", place(pod(required([{ key: "n", operator: "Gt", values: ["3"] }])), [node("a", {}, { n: "3" }), node("b", {}, { n: "4" })]), "b"],
  ["an empty term matches nothing", place(pod(required([]))), "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."],
  ["an untolerated taint", place(pod(), [node("a", taint("NoSchedule"))]), "0/1 nodes are available: 1 node(s) had untolerated taint {k: }."],
  ["a tolerated taint", place(pod({ tolerations: [{ key: "k", operator: "Exists" }] }), [node("a", taint("NoSchedule"))]), "a"],
  ["PreferNoSchedule is avoided while it can be", place(pod(), [node("a", taint("PreferNoSchedule")), node("b")], [bound("x", "b")]), "b"],
  ["a cordoned node", place(pod(), [node("a", { spec: { unschedulable: true } })]), "0/1 nodes are available: 1 node(s) were unschedulable."],
  ["a node that is not ready", place(pod(), [node("a", { status: { conditions: [{ type: "Ready", status: "False" }] } })]), "0/1 nodes are available: 1 node(s) were not ready."],
  ["a host port that is taken", place(pod({ containers: [{ name: "c", ports: [{ hostPort: 80 }] }] }), [node("a")], [bound("x", "a", { containers: [{ name: "c", ports: [{ hostPort: 80 }] }] })]),
    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."],
  ["the same host port of the other protocol", place(pod({ containers: [{ name: "c", ports: [{ hostPort: 80, protocol: "UDP" }] }] }), [node("a")], [bound("x", "a", { containers: [{ name: "c", ports: [{ hostPort: 80 }] }] })]), "a"],
  ["anti-affinity", place(pod(apart("podAntiAffinity", "w")), TWO, [bound("x", "a", {}, { app: "w" }), bound("y", "b"), bound("z", "b")]), "b"],
  ["anti-affinity of a pod that is there", place(pod({}, { labels: { app: "w" } }), TWO, [bound("x", "a", apart("podAntiAffinity", "w")), bound("y", "b"), bound("z", "b")]), "b"],
  ["affinity", place(pod(apart("podAffinity", "w")), TWO, [bound("x", "b", {}, { app: "w" })]), "b"],
  ["affinity nobody meets", place(pod(apart("podAffinity", "w"))), "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."],
  ["the first pod of a group may start anywhere", place(pod(apart("podAffinity", "w"), { labels: { app: "w" } })), "a"],
  ["cpu that is not there", place(pod({ containers: [{ name: "c", resources: { requests: { cpu: "600m" } } }] }), [node("a", { status: { conditions: [{ type: "Ready", status: "True" }], allocatable: { cpu: "1" } } })],
    [bound("x", "a", { containers: [{ name: "c", resources: { requests: { cpu: "500m" } } }] })]), "0/1 nodes are available: 1 Insufficient cpu."],
  ["too many pods", place(pod(), [node("a", { status: { conditions: [{ type: "Ready", status: "True" }], allocatable: { pods: "1" } } })], [bound("x", "a")]), "0/1 nodes are available: 1 Too many pods."],
  ["no nodes at all", place(pod(), []), "no nodes available to schedule pods"],
  ["another scheduler's pod", place(pod({ schedulerName: "mine" })), "nothing"],
  ["a pod that is bound", place(pod({ nodeName: "a" })), "nothing"],
  ["a gated pod", place(pod({ schedulingGates: [{ name: "g" }] })), "gated"],
  ["a hard spread constraint", place(pod({ topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule", labelSelector: { matchLabels: { app: "w" } } }] }, { labels: { app: "w" } }),
    TWO, [bound("x", "a", {}, { app: "w" }), bound("y", "b"), bound("z", "b")]), "b"],
];

describe("planSchedule", () => {
  for (const [name, got, expected] of TABLE) it(name, () => assert.equal(got, expected));

  it("does not repeat a refusal that stands", () => {
    const refused = pod();
    const first = planSchedule({ pod: refused, nodes: [], pods: [], namespaces: [], now: 0 });
    const status = first.actions.find((a) => a.do === "merge");
    assert.ok(status?.do === "merge");
    const told = { ...refused, ...(status.body as { status: Pod["status"] }), metadata: refused.metadata } as Pod;
    assert.deepEqual(planSchedule({ pod: told, nodes: [], pods: [], namespaces: [], now: 9 }).actions, []);
  });

  it("reads quantities", () => {
    assert.deepEqual(["100m", "2", "1.5", "64Mi", "1k", "1e3", "2Gi", "x", ""].map(quantity), [0.1, 2, 1.5, 67_108_864, 1000, 1000, 2_147_483_648, undefined, undefined]);
  });
});
