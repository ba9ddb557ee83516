// Owns `ambit waypoint apply|generate|list|status|delete`: the flags of istioctl waypoint, and a service account's waypoint.
import { Option, type Command } from "commander";
import { dump } from "js-yaml";
import { isNotFound, KINDS, type KubeClient, type KubeObject } from "@ambit/kube";
import { parseDuration, systemClock } from "@ambit/runtime";
import { connect, type ClusterOptions } from "../cluster.ts";
import { FORMATS, print, render, type Format } from "../output.ts";
import { UsageError } from "../usage-error.ts";
import { enrolmentOf, gatewayOf, isWaypoint, summaryOf, TRAFFIC, USE_WAYPOINT, type Traffic, type WaypointSummary } from "../waypoint/gateway.ts";

const FIELD_MANAGER = "ambit";
const POLL_MS = 250;
const DEFAULT_NAME = "waypoint";

type Named = ClusterOptions & { readonly namespace?: string; readonly name: string };
type Shape = Named & { readonly for?: Traffic; readonly serviceAccount?: string; readonly revision?: string };
type Apply = Shape & { readonly enrollNamespace?: boolean; readonly overwrite?: boolean; readonly wait?: boolean; readonly waypointTimeout: string };
type Listing = ClusterOptions & { readonly namespace?: string; readonly name?: string; readonly allNamespaces?: boolean; readonly output: Format };

export function addWaypoint(program: Command): void {
  const waypoint = program.command("waypoint").description("the L7 proxies of namespaces, services and service accounts");
  const command = (name: string, description: string): Command => waypoint.command(name).description(description)
    .option("-n, --namespace <namespace>", "namespace of the waypoint (default: default)")
    .option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab");
  const shaped = (c: Command): Command => c.option("--name <name>", "name of the waypoint", DEFAULT_NAME)
    .addOption(new Option("--for <traffic>", "traffic it serves (default: service)").choices([...TRAFFIC]))
    .option("--service-account <name>", "only workloads of this service account").option("-r, --revision <revision>", "control plane that is to run it");
  const timeout = (c: Command): Command => c.option("--waypoint-timeout <duration>", "how long to wait", "90s");
  const formatted = (c: Command): Command => c.option("-A, --all-namespaces", "of every namespace").addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table"));

  timeout(shaped(command("apply", "make a waypoint"))).option("--enroll-namespace", "label the namespace, so that its services use the waypoint")
    .option("--overwrite", "even when the namespace uses another one").option("-w, --wait", "return when it is ready").action(apply);
  shaped(command("generate", "print what apply would make")).action((o: Shape) => print(dump(gateway(o), { lineWidth: 120 })));
  formatted(command("list", "waypoints of a namespace")).action(list);
  timeout(formatted(command("status", "are they ready, and why not"))).option("--name <name>", "only this one")
    .option("-w, --wait", "wait until they are", true).option("--no-wait").action(status);
  command("delete", "delete waypoints").argument("[names...]", `names (default: ${DEFAULT_NAME})`).option("--all", "every waypoint of the namespace").action(remove);
}

function gateway(o: Shape): KubeObject {
  const made = gatewayOf({ name: o.name, namespace: o.namespace, traffic: o.for, serviceAccount: o.serviceAccount, revision: o.revision });
  if ("problem" in made) throw new UsageError(made.problem as string);
  return made as KubeObject;
}

async function apply(o: Apply): Promise<void> {
  const wanted = gateway(o);
  const namespace = o.namespace ?? "default";
  const deadlineMs = durationOf(o.waypointTimeout);
  await withClient(o, async (client) => {
    const space = await client.get(KINDS.namespaces, undefined, namespace).catch((e: unknown) => {
      throw isNotFound(e) ? new UsageError(`namespace "${namespace}" does not exist`) : e;
    });
    const enrolment = o.enrollNamespace === true ? enrolmentOf(space, o.name, o.overwrite === true) : undefined;
    await client.patch(KINDS.gateways, namespace, o.name, { ...wanted, metadata: { ...wanted.metadata, namespace } }, { type: "apply", fieldManager: FIELD_MANAGER, force: true })
      .catch((e: unknown) => { throw isNotFound(e) ? new UsageError("this cluster has no Gateway API: install its CRDs first") : e; });
    print(`waypoint ${namespace}/${o.name} applied\n`);
    // Services that use a waypoint which is not there are refused: the label comes when it is (ADR 0026).
    if (o.wait === true || enrolment?.kind === "label") await untilProgrammed(client, [`${namespace}/${o.name}`], deadlineMs);
    if (o.wait === true) print(`waypoint ${namespace}/${o.name} is ready!\n`);
    if (enrolment === undefined) return;
    if (enrolment.kind === "label") {
      if (enrolment.warning !== undefined) process.stderr.write(`warning: ${enrolment.warning}\n`);
      await client.patch(KINDS.namespaces, undefined, namespace, { metadata: { labels: { [USE_WAYPOINT]: o.name } } });
    } else if (enrolment.kind === "keep") process.stderr.write(`warning: ${enrolment.warning}\n`);
    if (enrolment.kind !== "keep") print(`namespace ${namespace} labeled with "${USE_WAYPOINT}: ${o.name}"\n`);
  });
}

async function list(o: Listing): Promise<void> {
  await withClient(o, async (client) => {
    const found = await summaries(client, o);
    const all = o.allNamespaces === true;
    print(render({
      value: found, columns: [...(all ? ["NAMESPACE"] : []), "NAME", "REVISION", "TRAFFIC TYPE", "SERVICE ACCOUNT", "PROGRAMMED"],
      rows: found.map((w) => [...(all ? [w.namespace] : []), w.name, w.revision, w.traffic, w.serviceAccount ?? "", w.programmed]), empty: `no waypoints ${where(o)}`,
    }, o.output));
  });
}

async function status(o: Listing & { readonly wait: boolean; readonly waypointTimeout: string }): Promise<void> {
  const deadlineMs = durationOf(o.waypointTimeout);
  await withClient(o, async (client) => {
    const chosen = async (): Promise<WaypointSummary[]> => (await summaries(client, o)).filter((w) => o.name === undefined || w.name === o.name);
    const first = await chosen();
    if (o.name !== undefined && first.length === 0) throw new UsageError(`no waypoint "${o.name}" ${where(o)}`);
    if (o.wait) await untilProgrammed(client, first.map((w) => `${w.namespace}/${w.name}`), deadlineMs).catch((e: unknown) => { if (!(e instanceof UsageError)) throw e; });
    const found = o.wait ? await chosen() : first;
    const all = o.allNamespaces === true;
    print(render({
      value: found, columns: [...(all ? ["NAMESPACE"] : []), "NAME", "STATUS", "TYPE", "REASON", "MESSAGE"],
      rows: found.map((w) => [...(all ? [w.namespace] : []), w.name, w.programmed, "Programmed", w.reason, w.message]), empty: `no waypoints ${where(o)}`,
    }, o.output));
    if (found.some((w) => w.programmed !== "True")) process.exitCode = 1;
  });
}

async function remove(names: string[], o: ClusterOptions & { readonly namespace?: string; readonly all?: boolean }): Promise<void> {
  if (o.all === true && names.length > 0) throw new UsageError("either names or --all", { exitCode: 2 });
  await withClient(o, async (client) => {
    const namespace = o.namespace ?? "default";
    const doomed = o.all === true ? (await summaries(client, o)).map((w) => w.name) : names.length > 0 ? names : [DEFAULT_NAME];
    if (doomed.length === 0) print(`no waypoints in namespace ${namespace}\n`);
    const missing: string[] = [];
    for (const name of doomed) {
      try {
        const found = await client.get(KINDS.gateways, namespace, name);
        if (!isWaypoint(found)) throw new UsageError(`Gateway ${namespace}/${name} is not a waypoint: left alone`);
        await client.delete(KINDS.gateways, namespace, name);
        print(`waypoint ${namespace}/${name} deleted\n`);
      } catch (error) {
        if (!isNotFound(error)) throw error;
        missing.push(name);
      }
    }
    if (missing.length > 0) throw new UsageError(`no waypoint ${missing.join(", ")} in namespace ${namespace}`);
  });
}

async function summaries(client: KubeClient, o: { readonly namespace?: string; readonly allNamespaces?: boolean }): Promise<WaypointSummary[]> {
  const { items } = await client.list(KINDS.gateways, o.allNamespaces === true ? undefined : (o.namespace ?? "default"))
    .catch((e: unknown) => { throw isNotFound(e) ? new UsageError("this cluster has no Gateway API: install its CRDs first") : e; });
  return items.filter(isWaypoint).map(summaryOf).sort((a, b) => `${a.namespace}/${a.name}`.localeCompare(`${b.namespace}/${b.name}`));
}

/** Throws a UsageError that says what each of them is missing. */
async function untilProgrammed(client: KubeClient, keys: readonly string[], deadlineMs: number): Promise<void> {
  const end = systemClock.monotonic() + deadlineMs;
  for (;;) {
    const found = (await client.list(KINDS.gateways)).items.filter(isWaypoint).map(summaryOf);
    const late = keys.map((key) => found.find((w) => `${w.namespace}/${w.name}` === key) ?? key).filter((w) => typeof w === "string" || w.programmed !== "True");
    if (late.length === 0) return;
    if (systemClock.monotonic() > end)
      throw new UsageError(`not ready after ${deadlineMs / 1000} s: ${late.map((w) => (typeof w === "string" ? `${w}: deleted` : `${w.namespace}/${w.name}: ${w.reason}: ${w.message}`)).join("; ")}`);
    await systemClock.sleep(POLL_MS);
  }
}

async function withClient(o: ClusterOptions, act: (client: KubeClient) => Promise<void>): Promise<void> {
  const client = connect(o);
  try {
    await act(client);
  } finally {
    client.close();
  }
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch {
    throw new UsageError(`--waypoint-timeout: "${text}" is not a duration such as 90s`, { exitCode: 2 });
  }
}

const where = (o: { readonly namespace?: string; readonly allNamespaces?: boolean }): string => (o.allNamespaces === true ? "in this cluster" : `in namespace ${o.namespace ?? "default"}`);
