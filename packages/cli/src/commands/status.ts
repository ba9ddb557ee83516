// Owns `ambit status`: is the mesh whole, who is in it, and which policies are not enforced as written.
import { Option, type Command } from "commander";
import { isNotFound, KINDS, type Condition, type KubeObject, type Pod } from "@ambit/kube";
import { connect, type ClusterOptions } from "../cluster.ts";
import { isEnrolled, isReady } from "../pods.ts";
import { FORMATS, print, render, type Format } from "../output.ts";

type Options = ClusterOptions & { readonly output: Format };

export function addStatus(program: Command): void {
  program.command("status").description("the mesh at a glance: its parts, enrolled namespaces, policies that are not as written")
    .option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table")).action(status);
}

interface Part { readonly part: string; readonly node: string; readonly pod: string; readonly ready: boolean; readonly restarts: number }
interface Enrolment { readonly namespace: string; readonly mode: string; readonly enrolled: number; readonly pods: number; readonly outside: readonly string[] }
interface Remark { readonly policy: string; readonly condition: string; readonly reason: string; readonly message: string }

async function status(options: Options): Promise<void> {
  const client = connect(options);
  try {
    const [system, pods, namespaces, policies] = await Promise.all([
      client.list<Pod>(KINDS.pods, "istio-system"), client.list<Pod>(KINDS.pods), client.list(KINDS.namespaces),
      client.list(KINDS.authorizationPolicies).catch((e: unknown) => { if (isNotFound(e)) return { items: [] as KubeObject[] }; throw e; }),
    ]);
    const parts = system.items.map(partOf).filter((p) => p.part !== "").sort((a, b) => `${a.part}${a.node}`.localeCompare(`${b.part}${b.node}`));
    const enrolments = namespaces.items.map((ns) => enrolmentOf(ns, pods.items)).filter((e) => e.mode !== "" || e.enrolled > 0);
    const remarks = policies.items.flatMap(remarksOf);
    const whole = ["istiod", "istio-cni", "ztunnel"].every((name) => parts.some((p) => p.part === name)) && parts.every((p) => p.ready) && enrolments.every((e) => e.outside.length === 0);
    const value = { ok: whole && remarks.length === 0, parts, namespaces: enrolments, policies: remarks };
    if (options.output !== "table") print(render({ value, columns: [], rows: [] }, options.output));
    else {
      print(render({ value, columns: ["PART", "NODE", "POD", "READY", "RESTARTS"], rows: parts.map((p) => [p.part, p.node, p.pod, p.ready ? "yes" : "NO", String(p.restarts)]), empty: "no part of the mesh runs in this cluster" }, "table"));
      print(`\n${render({ value, columns: ["NAMESPACE", "MODE", "ENROLLED", "NOT ENROLLED"], rows: enrolments.map((e) => [e.namespace, e.mode || "by pod label", `${e.enrolled}/${e.pods}`, e.outside.join(", ")]), empty: "no namespace is enrolled: kubectl label namespace NAME istio.io/dataplane-mode=ambient" }, "table")}`);
      if (remarks.length > 0) print(`\n${render({ value, columns: ["POLICY", "CONDITION", "REASON", "MESSAGE"], rows: remarks.map((r) => [r.policy, r.condition, r.reason, r.message]) }, "table")}`);
    }
    if (!value.ok) process.exitCode = 1;
  } finally {
    client.close();
  }
}

function partOf(p: Pod): Part {
  const labels = p.metadata.labels ?? {};
  const part = labels["app"] === "istiod" ? "istiod" : labels["app"] === "ztunnel" ? "ztunnel" : labels["k8s-app"] === "istio-cni-node" ? "istio-cni" : "";
  const statuses = (p.status?.["containerStatuses"] as { restartCount?: number }[] | undefined) ?? [];
  return { part, node: p.spec.nodeName ?? "", pod: p.metadata.name, ready: isReady(p), restarts: statuses.reduce((n, c) => n + (c.restartCount ?? 0), 0) };
}

function enrolmentOf(ns: KubeObject, pods: readonly Pod[]): Enrolment {
  const own = pods.filter((p) => p.metadata.namespace === ns.metadata.name && p.status?.phase === "Running" && p.metadata.deletionTimestamp === undefined && p.spec.hostNetwork !== true);
  const mode = ns.metadata.labels?.["istio.io/dataplane-mode"] ?? "";
  const outside = mode === "ambient" ? own.filter((p) => !isEnrolled(p) && p.metadata.labels?.["istio.io/dataplane-mode"] !== "none").map((p) => p.metadata.name) : [];
  return { namespace: ns.metadata.name, mode: mode === "none" ? "" : mode, enrolled: own.filter(isEnrolled).length, pods: own.length, outside };
}

/** Negative, or positive with a reason that says "not quite". */
function remarksOf(policy: KubeObject): Remark[] {
  const conditions = ((policy["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? []);
  return conditions.filter((c) => c.status === "False" || c.reason === "UnsupportedValue" || c.reason === "PartiallyInvalid")
    .map((c) => ({ policy: `${policy.metadata.namespace}/${policy.metadata.name}`, condition: `${c.type}=${c.status}`, reason: c.reason ?? "", message: c.message ?? "" }));
}
