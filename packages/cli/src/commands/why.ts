// Owns `ambit why`: where a connection would go and which policy decides, from the very functions that decide it.
import { Option, type Command } from "commander";
import { formatSocketAddress, type WaypointConfig } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { seededRandom } from "@ambit/runtime";
import { explainRequest, type RequestExplanation } from "@ambit/waypoint/pure";
import { explainConnection } from "@ambit/ztunnel/pure";
import type { ClusterOptions } from "../cluster.ts";
import { documentsIn, objectsOfCluster } from "../objects.ts";
import { FORMATS, print, render, type Format } from "../output.ts";
import { UsageError } from "../usage-error.ts";
import { modelOf } from "../why/model.ts";
import { findDestination, findSource } from "../why/question.ts";
import { destinationText, parseRequest, requestFacts, waypointFor, type AskedRequest } from "../why/request.ts";

type Options = ClusterOptions & { readonly output: Format; readonly file?: string[]; readonly header: string[] };
const NETWORK = "";

export function addWhy(program: Command): void {
  program.command("why").description("where a connection would go, and which policy decides: the mesh's own code, asked offline")
    .argument("<from>", "NAMESPACE/POD (or the name of its Deployment)").argument("<to>", "service.namespace[:port], NAMESPACE/POD:port or IP:port; or a METHOD, before a URL").argument("[url]", "of a request, as http://service.namespace:port/path")
    .option("-H, --header <name:value>", "of the request, may be repeated", (value: string, list: string[]) => [...list, value], [])
    .option("-f, --file <path...>", "objects from YAML files or folders instead of a cluster").option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table")).action(why);
}

async function why(from: string, to: string, url: string | undefined, options: Options): Promise<void> {
  const asked = url === undefined ? undefined : parseRequest(to, url, options.header);
  if (asked?.ok === false) throw new UsageError(asked.error, { exitCode: 2 });
  if (asked === undefined && options.header.length > 0) throw new UsageError("headers belong to a request: ambit why FROM METHOD URL -H name:value", { exitCode: 2 });
  const objects = options.file === undefined ? await objectsOfCluster(options) : fromFiles(options.file);
  const { state, waypoints, problems } = modelOf(objects);
  const view = state.view();
  const source = findSource(view, from);
  if (!source.ok) throw new UsageError(source.error);
  const destination = findDestination(view, asked === undefined ? to : destinationText(asked.value), source.value.namespace, NETWORK);
  if (!destination.ok) throw new UsageError(destination.error);
  const through = waypointFor(waypoints, view, destination.value, source.value.namespace);
  if (asked !== undefined && through !== undefined && source.value.protocol === "hbone") {
    const facts = requestFacts(asked.value, source.value, through.service, destination.value, Date.now());
    return printRequest(source.value.uid, asked.value, through.config, explainRequest({ config: through.config, view, facts, network: NETWORK, random: seededRandom(1) }), problems, options.output);
  }
  // The choice among endpoints is by chance; which one does not change the answer, and a fixed seed makes it repeatable.
  const answer = explainConnection({ view, source: source.value, destination: destination.value, network: NETWORK, random: seededRandom(1) });
  const value = { from: source.value.uid, to: formatSocketAddress(destination.value), ...answer, problems };
  if (options.output === "table") {
    print(`${answer.outcome.toUpperCase()}: ${source.value.uid} → ${url ?? to} (${value.to}) ${answer.summary}\n`);
    if (asked !== undefined) print(`${source.value.protocol === "hbone" ? "no waypoint stands in between" : "the client is not enrolled, so nothing takes it to a waypoint"}: the request itself is not looked at\n`);
    print(`\n${render({ value, columns: ["STEP", "SAW", "CHOSE"], rows: answer.steps.map((s) => [s.step, s.saw, s.chose]) }, "table")}`);
    if (answer.policy.length > 0) print(`\n${answer.policy.join("\n")}\n`);
    if (problems.length > 0) print(`\nnot understood, and therefore refused:\n${problems.map((p) => `  ${p}`).join("\n")}\n`);
  } else print(render({ value, columns: [], rows: [] }, options.output));
  if (answer.outcome === "denied") process.exitCode = 1;
}

function printRequest(from: string, asked: AskedRequest, config: WaypointConfig, answer: RequestExplanation, problems: readonly string[], output: Format): void {
  const waypoint = `${config.namespace}/${config.name}`;
  const value = { from, method: asked.method, url: asked.url.href, waypoint, ...answer, problems };
  if (output === "table") {
    print(`${answer.outcome.toUpperCase()}: ${asked.method} ${asked.url.href} from ${from}, at waypoint ${waypoint}, ${answer.summary}\n`);
    print(`\n${render({ value, columns: ["STEP", "SAW", "CHOSE"], rows: answer.steps.map((s) => [s.step, s.saw, s.chose]) }, "table")}`);
    for (const [title, lines] of [["", answer.policy], ["on its way the request", answer.effects], ["routes that come first and do not match:", answer.passedOver], ["not understood, and therefore refused:", problems]] as const)
      if (lines.length > 0) print(`\n${title === "" ? "" : `${title}\n`}${lines.map((l) => (title === "" ? l : `  ${l}`)).join("\n")}\n`);
  } else print(render({ value, columns: [], rows: [] }, output));
  if (answer.outcome === "denied") process.exitCode = 1;
}

function fromFiles(paths: readonly string[]): KubeObject[] {
  const { documents, problems: [problem] } = documentsIn(paths);
  if (problem !== undefined) throw new UsageError(`${problem.file}:${problem.line}: ${problem.message}`);
  return documents.map((d) => d.object);
}
