// Owns `ambit ztunnel workloads|services|policies|certificates|connections`: what one ztunnel knows and does, from its config dump.
import { X509Certificate } from "node:crypto";
import { Option, type Command } from "commander";
import { KINDS, type Pod } from "@ambit/kube";
import { connect, kubeconfigPath, type ClusterOptions } from "../cluster.ts";
import { FORMATS, print, render, type Format, type View } from "../output.ts";
import { getFromPod } from "../port-forward.ts";
import { UsageError } from "../usage-error.ts";

const ADMIN_PORT = 15000;
const SYSTEM_NAMESPACE = "istio-system";

interface Waypoint { destination: string; hboneMtlsPort: number }
interface Connection { src: string; originalDst: string; actualDst: string; protocol: string }
export interface Dump {
  workloads?: { uid: string; name: string; namespace: string; workloadIps?: string[]; hostname?: string; node?: string; waypoint?: Waypoint; protocol?: string }[];
  services?: { name: string; namespace: string; hostname: string; vips?: string[]; waypoint?: Waypoint; endpoints?: Record<string, { status?: string }> }[];
  policies?: { name: string; namespace: string; action: string; scope: string; rules?: unknown; dryRun?: boolean }[];
  certificates?: { identity: string; state: string; certChain?: Cert[]; rootCerts?: Cert[] }[];
  workloadState?: Record<string, { state: string; connections?: { inbound?: Connection[]; outbound?: Connection[] }; info?: { name: string; namespace: string } }>;
}
interface Cert { pem?: string; serialNumber?: string; validFrom?: string; expirationTime?: string }

type Options = ClusterOptions & { readonly output: Format; readonly namespace?: string };
const VIEWS: Readonly<Record<string, { help: string; of: (dump: Dump, o: Options) => View }>> = {
  workloads: { help: "the workloads it can reach, and how", of: workloads },
  services: { help: "services with their VIPs and healthy endpoints", of: services },
  policies: { help: "the L4 policies it enforces", of: policies },
  certificates: { help: "certificates of the identities on its node", of: certificates },
  connections: { help: "connections open right now", of: connections },
};

export function addZtunnel(program: Command): void {
  const ztunnel = program.command("ztunnel").description("look into the ztunnel of a node");
  for (const [name, { help, of }] of Object.entries(VIEWS))
    ztunnel.command(name).description(help).argument("<node>", "node name, or the name of a ztunnel pod")
      .option("-n, --namespace <namespace>", "only this namespace").option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab")
      .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table"))
      .action(async (node: string, options: Options) => print(render(of(await dumpOf(node, options), options), options.output)));
}

export async function dumpOf(node: string, options: ClusterOptions): Promise<Dump> {
  const client = connect(options);
  const { items } = await client.list<Pod>(KINDS.pods, SYSTEM_NAMESPACE, { labelSelector: "app=ztunnel" }).finally(() => client.close());
  const pod = items.find((p) => (p.spec.nodeName === node && p.metadata.deletionTimestamp === undefined) || p.metadata.name === node);
  if (pod === undefined) throw new UsageError(`no ztunnel on node "${node}": there are ${items.map((p) => p.spec.nodeName ?? "?").sort().join(", ") || "none at all"}`);
  const text = await getFromPod({ kubeconfig: kubeconfigPath(options), namespace: SYSTEM_NAMESPACE, pod: pod.metadata.name, port: ADMIN_PORT }, "/config_dump");
  try {
    return JSON.parse(text) as Dump;
  } catch (cause) {
    throw new UsageError(`the config dump of ${pod.metadata.name} is not JSON`, { cause });
  }
}

const inNamespace = (o: Options) => (x: { namespace: string }): boolean => o.namespace === undefined || x.namespace === o.namespace;

function workloads(dump: Dump, o: Options): View {
  const list = (dump.workloads ?? []).filter(inNamespace(o));
  return { value: list, columns: ["NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL"],
    rows: list.map((w) => [w.namespace, w.name, w.workloadIps?.join(",") || (w.hostname ?? ""), w.node ?? "", w.waypoint?.destination ?? "None", w.protocol ?? "TCP"]) };
}
function services(dump: Dump, o: Options): View {
  const list = (dump.services ?? []).filter(inNamespace(o));
  return { value: list, columns: ["NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"],
    rows: list.map((s) => {
      const endpoints = Object.values(s.endpoints ?? {});
      return [s.namespace, s.name, (s.vips ?? []).map((v) => v.slice(v.indexOf("/") + 1)).join(","), s.waypoint?.destination ?? "None", `${endpoints.filter((e) => e.status === "Healthy").length}/${endpoints.length}`];
    }) };
}
function policies(dump: Dump, o: Options): View {
  const list = (dump.policies ?? []).filter(inNamespace(o));
  return { value: list, columns: ["NAMESPACE", "POLICY NAME", "ACTION", "SCOPE"], rows: list.map((p) => [p.namespace, p.name, p.dryRun === true ? `${p.action} (dry run)` : p.action, p.scope]), empty: "no policies" };
}
function certificates(dump: Dump, o: Options): View {
  const list = (dump.certificates ?? []).filter((c) => inNamespace(o)({ namespace: /\/ns\/([^/]+)\//.exec(c.identity)?.[1] ?? "" }));
  const now = Date.now();
  const rows = list.flatMap((c) => [...(c.certChain ?? []).map((x, i) => [c, x, i === 0 ? "Leaf" : "Intermediate"] as const), ...(c.rootCerts ?? []).map((x) => [c, x, "Root"] as const)]
    .map(([of, x, kind]) => {
      const valid = x.expirationTime !== undefined && Date.parse(x.expirationTime) > now && parsable(x.pem);
      return [of.identity, kind, of.state, String(valid), x.serialNumber ?? "", x.expirationTime ?? "", x.validFrom ?? ""];
    }));
  const waiting = list.filter((c) => (c.certChain ?? []).length === 0).map((c) => [c.identity, "", c.state, "false", "", "", ""]);
  return { value: list, columns: ["CERTIFICATE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"], rows: [...rows, ...waiting], empty: "no certificates" };
}
function connections(dump: Dump, o: Options): View {
  const list = Object.values(dump.workloadState ?? {}).filter((s) => s.info !== undefined && inNamespace(o)(s.info));
  const rows = list.flatMap((s) => (["inbound", "outbound"] as const).flatMap((d) => (s.connections?.[d] ?? []).map((c) => [`${s.info?.namespace}/${s.info?.name}`, d, c.src, c.actualDst, c.originalDst, c.protocol])));
  return { value: list, columns: ["WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "REMOTE TARGET", "PROTOCOL"], rows, empty: "no open connections" };
}

/** The dump carries base64 of PEM, as istioctl expects it. */
function parsable(pem: string | undefined): boolean {
  if (pem === undefined) return false;
  try {
    return new X509Certificate(Buffer.from(pem, "base64")).serialNumber !== "";
  } catch {
    return false;
  }
}
