// Owns `ambit verify`: whether pods talk mutual TLS now, from both ends of each connection and from a handshake of our own.
import { Option, type Command } from "commander";
import { isNotFound, KINDS, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";
import { connect, kubeconfigPath, type ClusterOptions } from "../cluster.ts";
import { FORMATS, print, render, type Format } from "../output.ts";
import { isEnrolled } from "../pods.ts";
import { getFromPod, shakeHandsWithPod, type Handshake } from "../port-forward.ts";
import { UsageError } from "../usage-error.ts";
import { judgePair, pairsOf, type Endpoint, type Judgement, type SeenConnection, type SeenTunnel } from "../verify/plan/judge.ts";

const SYSTEM_NAMESPACE = "istio-system";
const ADMIN_PORT = 15000;
const TUNNEL_PORT = 15008;
/** Each look is a port-forward to every ztunnel that is asked. */
const LOOK_EVERY_MS = 500;
/** Nothing was seen that says either: neither yes nor no. */
const CANNOT_TELL = 3;

type Options = ClusterOptions & { readonly output: Format; readonly wait: string };
type Debug = Readonly<Record<string, { readonly tunnels?: readonly SeenTunnel[]; readonly connections?: readonly SeenConnection[] }>>;
interface Context { readonly client: KubeClient; readonly options: Options; readonly ztunnels: readonly Pod[] }

export function addVerify(program: Command): void {
  program.command("verify").description("prove that two pods talk mutual TLS, and name both identities; without pods: every pair that talks now")
    .argument("[client]", "NAMESPACE/POD (or the name of its Deployment)").argument("[server]", "NAMESPACE/POD (or the name of its Deployment)")
    .option("--wait <seconds>", "how long to wait for a connection between the two", "10").option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table"))
    .addHelpText("after", "\nExit code: 0 proven, 1 disproven, 3 nothing was seen that says either (send something from one to the other).").action(verify);
}

async function verify(from: string | undefined, to: string | undefined, options: Options): Promise<void> {
  if (from !== undefined && to === undefined) throw new UsageError("name both pods, the client first; or none, for every pair that talks now", { exitCode: 2 });
  const waitS = Number(options.wait);
  if (!/^\d{1,4}$/.test(options.wait)) throw new UsageError(`--wait: "${options.wait}" is not a number of seconds`, { exitCode: 2 });
  const client = connect(options);
  try {
    const ztunnels = (await client.list<Pod>(KINDS.pods, SYSTEM_NAMESPACE, { labelSelector: "app=ztunnel" })).items.filter((p) => p.metadata.deletionTimestamp === undefined);
    if (ztunnels.length === 0) throw new UsageError(`no ztunnel runs in ${SYSTEM_NAMESPACE}: there is no mesh to verify`);
    const context = { client, options, ztunnels };
    if (from === undefined || to === undefined) await everyPair(context);
    else await onePair(context, from, to, waitS * 1000);
  } finally {
    client.close();
  }
}

async function onePair(c: Context, from: string, to: string, waitMs: number): Promise<void> {
  const pods = (await c.client.list<Pod>(KINDS.pods)).items;
  const [a, b] = [findPod(pods, from), findPod(pods, to)];
  const outside = [a, b].find((p) => !isEnrolled(p));
  const deadline = systemClock.monotonic() + waitMs;
  let judgement: Judgement = outside === undefined ? await look() : { verdict: "disproven", because: `${nameOf(outside)} is not enrolled: what it says and hears is as it is without the mesh` };
  while (judgement.verdict === "unknown" && systemClock.monotonic() < deadline) {
    await systemClock.sleep(LOOK_EVERY_MS);
    judgement = await look();
  }
  const door = outside === undefined ? await tryDoor(c, b) : undefined;
  report(c.options.output, { client: nameOf(a), server: nameOf(b), ...judgement, door });
  setExit([judgement.verdict, ...(door !== undefined && "error" in door ? [] : door === undefined || isGood(door) ? [] : ["disproven" as const])]);

  async function look(): Promise<Judgement> {
    const [first, second] = await endpointsOf(c, [a, b]);
    return first === undefined || second === undefined ? { verdict: "unknown", because: "a ztunnel does not know its pod (yet)" } : judgePair(first, second);
  }
}

async function everyPair(c: Context): Promise<void> {
  const pods = (await c.client.list<Pod>(KINDS.pods)).items.filter((p) => isEnrolled(p) && p.status?.phase === "Running");
  const judged = pairsOf(await endpointsOf(c, pods)).map(([a, b]) => ({ client: a.name, server: b.name, ...judgePair(a, b) }));
  const rows = judged.map((j) => [j.client, j.server, j.verdict, "wires" in j ? `${j.wires.length} × ${j.wires[0]?.protocol ?? ""}, ${j.wires[0]?.client ?? ""} to ${j.wires[0]?.server ?? ""}` : j.because]);
  print(render({ value: judged, columns: ["CLIENT", "SERVER", "VERDICT", "WHAT WAS SEEN"], rows, empty: "no enrolled pod talks to another one now" }, c.options.output));
  setExit(judged.length === 0 ? ["unknown"] : judged.map((j) => j.verdict));
}

const setExit = (verdicts: readonly Judgement["verdict"][]): void => { process.exitCode = verdicts.includes("disproven") ? 1 : verdicts.includes("unknown") ? CANNOT_TELL : 0; };

/** Of each pod, what the ztunnel of its node tells; pods whose ztunnel does not know them are left out. */
async function endpointsOf({ options, ztunnels }: Context, pods: readonly Pod[]): Promise<Endpoint[]> {
  const nodes = [...new Set(pods.map((p) => p.spec.nodeName ?? ""))];
  const told = new Map(await Promise.all(nodes.map(async (node): Promise<[string, Debug]> => {
    const ztunnel = ztunnels.find((p) => p.spec.nodeName === node);
    if (ztunnel === undefined) throw new UsageError(`no ztunnel runs on node ${node}`);
    const text = await getFromPod({ kubeconfig: kubeconfigPath(options), namespace: SYSTEM_NAMESPACE, pod: ztunnel.metadata.name, port: ADMIN_PORT }, "/debug/connections");
    try {
      return [node, JSON.parse(text) as Debug];
    } catch (cause) {
      throw new UsageError(`what ${ztunnel.metadata.name} tells of its connections is not JSON`, { cause });
    }
  })));
  return pods.flatMap((p) => {
    const seen = told.get(p.spec.nodeName ?? "")?.[p.metadata.uid ?? ""];
    return seen === undefined ? [] : [{ name: nameOf(p), ip: p.status?.podIP ?? "", namespace: p.metadata.namespace ?? "", serviceAccount: p.spec.serviceAccountName ?? "default", tunnels: seen.tunnels ?? [], connections: seen.connections ?? [] }];
  });
}

type Door = Handshake | { readonly error: string };

/** Its own word for it: whoever knocks at the server's tunnel port is shown its certificate, and refused without one. */
async function tryDoor({ client, options }: Context, server: Pod): Promise<Door> {
  const namespace = server.metadata.namespace ?? "";
  try {
    const root = (await client.get<KubeObject & { data?: Record<string, string> }>(KINDS.configMaps, SYSTEM_NAMESPACE, "istio-ca-root-cert")).data?.["root-cert.pem"] ?? "";
    return await shakeHandsWithPod({ kubeconfig: kubeconfigPath(options), namespace, pod: server.metadata.name, port: TUNNEL_PORT }, root);
  } catch (error) {
    if (error instanceof UsageError) return { error: error.message };
    if (isNotFound(error)) return { error: `the mesh's root is not in ConfigMap ${SYSTEM_NAMESPACE}/istio-ca-root-cert` };
    throw error;
  }
}

const isGood = (door: Door): boolean => !("error" in door) && door.trusted && door.refusesStrangers && door.protocol === "TLSv1.3";

function report(output: Format, r: Judgement & { readonly client: string; readonly server: string; readonly door: Door | undefined }): void {
  if (output !== "table") return print(render({ value: r, columns: [], rows: [] }, output));
  const lines = [`${r.verdict.toUpperCase()}: ${r.client} → ${r.server} ${r.verdict === "proven" ? "speak mutual TLS" : `: ${r.because}`}`.replace(" :", ":")];
  if (r.verdict === "proven") for (const w of r.wires) lines.push(`  wire    ${w.from} → ${w.to}, ${w.protocol} ${w.cipher}, told alike by both ztunnels`, `  client  ${w.client}`, `  server  ${w.server}`);
  if (r.door !== undefined) lines.push(`  door    ${"error" in r.door ? `not tried: ${r.door.error}` : `${r.door.protocol} ${r.door.cipher}, ${r.door.identities.join(", ")}, ${r.door.trusted ? "by the mesh's root" : `NOT by the mesh's root (${r.door.untrustedBecause})`}; who shows no certificate is ${r.door.refusesStrangers ? "refused" : "NOT refused"}`}`);
  print(`${lines.join("\n")}\n`);
}

const nameOf = (p: Pod): string => `${p.metadata.namespace ?? ""}/${p.metadata.name}`;

function findPod(pods: readonly Pod[], name: string): Pod {
  const [namespace = "", base = ""] = name.split("/");
  if (base === "") throw new UsageError(`"${name}" is not NAMESPACE/POD`, { exitCode: 2 });
  const running = pods.filter((p) => p.metadata.namespace === namespace && p.status?.phase === "Running" && p.metadata.deletionTimestamp === undefined);
  const found = running.find((p) => p.metadata.name === base) ?? running.find((p) => new RegExp(`^${base.replace(/[^\w-]/g, "")}(-[a-z0-9]+){1,2}$`).test(p.metadata.name));
  if (found === undefined) throw new UsageError(`no pod ${name} is running`);
  return found;
}
