// Owns `ambit lab`: up, down, status, kubeconfig, exec, image.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { KINDS, KubeClient, parseKubeconfig, type Pod } from "@ambit/kube";
import { layoutOf } from "@ambit/lab/layout";
import { DEFAULT_PORT, enterCommand, LabError, readRecord, startLab, type Lab, type LabRecord } from "@ambit/lab/supervisor";
import { systemClock } from "@ambit/runtime";
import { stateDir } from "../cluster.ts";
import { installMesh, meshReady } from "../mesh.ts";
import { FORMATS, print, render, type Format } from "../output.ts";
import { isEnrolled } from "../pods.ts";
import { Progress } from "../progress.ts";
import { runTour } from "../tour/tour.ts";
import { listenInLab } from "../tour/watch-link.ts";
import { UsageError } from "../usage-error.ts";

interface UpOptions { readonly nodes: string; readonly state?: string; readonly port: string; readonly detach?: boolean; readonly tour?: boolean; readonly exit?: boolean; readonly keep?: boolean }

const DETACH_TIMEOUT_MS = 150_000;
const DOWN_TIMEOUT_MS = 15_000;

export function addLab(program: Command): void {
  const lab = program.command("lab").description("a whole cluster with the mesh on this machine, in network namespaces");
  const state = () => new Option("--state <dir>", "state folder (default: $AMBIT_LAB_DIR, or /var/lib/ambit/lab for root)");
  const output = () => new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table");
  lab.command("up").description("bring the lab up; it stays in the foreground until Ctrl-C unless --detach is given")
    .option("--nodes <n>", "how many nodes", "2").option("--port <port>", "preferred loopback port of the API server", String(DEFAULT_PORT))
    .option("--detach", "leave it running in the background").option("--tour", "deploy a sample and prove what the mesh does, step by step")
    .option("--exit", "with --tour: take the lab down afterwards; non-zero if a step did not prove its claim").option("--keep", "keep the state folder when the lab ends")
    .addOption(state()).action(up);
  lab.command("down").description("end the lab and leave nothing behind").option("--keep", "keep the cluster's state for the next `lab up`").addOption(state()).action(down);
  lab.command("status").description("is the lab up, and what runs in it").addOption(state()).addOption(output()).action(status);
  lab.command("kubeconfig").description("print the path of the lab's kubeconfig, or with --raw its content").option("--raw", "the content").addOption(state()).action(kubeconfig);
  lab.command("exec").description("run a command inside the lab: on the fabric, in a node's network (node/NAME) or in a pod's (NAMESPACE/POD)")
    .argument("<where>", "fabric, node/NAME or NAMESPACE/POD").argument("<command...>").addOption(state()).passThroughOptions().action(exec);
  const image = lab.command("image").description("images of the lab: local commands, or archives");
  image.command("add").description("an image that is a command of this machine").argument("<name>").argument("<words...>", "--command and after it the command with its own arguments").usage("[options] <name> --command <word> [words...]").addOption(state()).passThroughOptions().action(imageAdd);
  image.command("load").description("an OCI or docker archive").argument("<file>").addOption(state()).action(imageLoad);
}

async function up(options: UpOptions): Promise<void> {
  const nodes = wholeNumber("--nodes", options.nodes, 1, 200);
  const port = wholeNumber("--port", options.port, 0, 65535);
  if (options.exit === true && options.tour !== true) throw new UsageError("--exit goes with --tour: without a tour there is nothing to wait for", { exitCode: 2 });
  const state = stateDir(options.state);
  if (options.detach === true) return upDetached(options, state);
  const progress = new Progress();
  const kept = existsSync(layoutOf(state, nodes).data);
  const lab = await start({ state, nodes, port }, progress);
  const ending = new AbortController();
  let keep = options.keep === true;
  const onSignal = () => ending.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  // How `lab down --keep` says it.
  process.once("SIGUSR2", () => { keep = true; ending.abort(); });
  try {
    const client = new KubeClient(parseKubeconfig(readFileSync(lab.layout.kubeconfig, "utf8"), lab.layout.kubeconfig));
    await untilAborted(bringUpMesh(client, progress), ending.signal, lab.ended);
    progress.done(`the lab is up: ${nodes} nodes${kept ? ", with the state kept from before" : ""}`);
    if (options.tour === true) {
      const proved = await untilAborted(runTour({ client, listen: listenInLab(lab.record), progress, signal: ending.signal }), ending.signal, lab.ended);
      if (proved === false) process.exitCode = 1;
    }
    client.close();
    if (options.exit === true || ending.signal.aborted) return;
    print(nextSteps(lab.layout.kubeconfig, { toured: options.tour === true, end: "Ctrl-C" }));
    await untilAborted(new Promise(() => undefined), ending.signal, lab.ended);
  } finally {
    progress.step("taking the lab down");
    await lab.stop({ keep });
    progress.done(keep ? `the lab is down; its state is kept in ${state}` : "the lab is down, nothing is left behind");
  }
}

async function start(options: { state: string; nodes: number; port: number }, progress: Progress): Promise<Lab> {
  try {
    return await startLab({ ...options, onStep: (text) => progress.step(text), onExit: (name, how) => progress.line(`! ${name} ended (${how}), starting it again`) });
  } catch (error) {
    if (error instanceof LabError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

async function bringUpMesh(client: KubeClient, progress: Progress): Promise<void> {
  await installMesh(client, (text) => progress.step(text));
  await meshReady(client, (rollouts) => progress.step(`waiting for ${rollouts.filter((r) => r.ready < r.wanted || r.wanted === 0).map((r) => `${r.name} ${r.ready}/${r.wanted}`).join(", ") || "the mesh"}`));
}

/** Undefined when the signal came first; throws when the lab itself ended. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal, ended: Promise<string>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
    void ended.then((how) => reject(new UsageError(`the lab ended by itself (${how})`)));
    work.then(resolve, reject);
  });
}

/** The keeper is this same program in a session of its own; it writes to STATE.log what it would print. */
async function upDetached(options: UpOptions, state: string): Promise<void> {
  if (readRecord(state) !== undefined) throw new UsageError(`a lab is already running on ${state}`);
  if (options.tour === true) throw new UsageError("--tour is for the foreground: leave out --detach", { exitCode: 2 });
  mkdirSync(state, { recursive: true });
  const logFile = join(state, "lab.log");
  rmSync(logFile, { force: true });
  const log = openSync(logFile, "a");
  // The keeper removes the state folder when it fails; what it said stays readable here.
  const heard = openSync(logFile, "r");
  let text = "";
  const args = ["lab", "up", "--nodes", options.nodes, "--port", options.port, "--state", state, ...(options.keep === true ? ["--keep"] : [])];
  const keeper = spawn(process.execPath, [join(import.meta.dirname, "../main.ts"), ...args], { stdio: ["ignore", log, log], detached: true });
  let gone = false;
  keeper.once("exit", () => { gone = true; });
  const progress = new Progress();
  const deadline = systemClock.monotonic() + DETACH_TIMEOUT_MS;
  for (;;) {
    const ended = gone;
    text += readFileSync(heard, "utf8");
    const said = text.trimEnd().split("\n");
    const last = said.at(-1) ?? "";
    if (ended) throw new UsageError(`the lab did not come up: ${said.find((line) => line.startsWith("ambit: "))?.slice(7) ?? (last || "it said nothing")}`);
    if (said.some((line) => line.includes("the lab is up"))) break;
    if (last !== "") progress.step(last.replace(/^\[[^\]]*\] /, ""));
    if (systemClock.monotonic() > deadline) throw new UsageError(`the lab is not up after ${DETACH_TIMEOUT_MS / 1000} s; see ${logFile}`);
    await systemClock.sleep(200);
  }
  keeper.unref();
  progress.done("the lab is up, in the background");
  print(nextSteps(layoutOf(state, 1).kubeconfig, { toured: false, end: "`./ambit lab down`" }));
}

async function down(options: { state?: string; keep?: boolean }): Promise<void> {
  const state = stateDir(options.state);
  const record = readRecord(state);
  if (record !== undefined) {
    process.kill(record.keeper, options.keep === true ? "SIGUSR2" : "SIGTERM");
    const deadline = systemClock.monotonic() + DOWN_TIMEOUT_MS;
    while (existsSync(`/proc/${record.init}`) || existsSync(`/proc/${record.keeper}`)) {
      // Process 1 takes its whole world with it.
      if (systemClock.monotonic() > deadline) process.kill(record.init, "SIGKILL");
      await systemClock.sleep(50);
    }
  }
  const left = existsSync(state);
  if (options.keep !== true) rmSync(state, { recursive: true, force: true });
  print(record !== undefined ? `the lab is down${options.keep === true ? `; its state is kept in ${state}` : ""}\n` : left && options.keep !== true ? "no lab was running; its kept state is removed\n" : "no lab is running\n");
}

async function status(options: { state?: string; output: Format }): Promise<void> {
  const state = stateDir(options.state);
  const record = readRecord(state);
  if (record === undefined) {
    print(render({ value: { running: false, state }, columns: ["LAB", "STATE"], rows: [["not running", existsSync(state) ? state : "none kept"]] }, options.output));
    process.exitCode = 3;
    return;
  }
  const layout = layoutOf(state, record.nodes);
  const client = new KubeClient(parseKubeconfig(readFileSync(layout.kubeconfig, "utf8"), layout.kubeconfig));
  const [nodes, pods] = await Promise.all([client.list(KINDS.nodes), client.list<Pod>(KINDS.pods)]);
  client.close();
  const rows = nodes.items.map((n) => {
    const own = pods.items.filter((p) => p.spec.nodeName === n.metadata.name);
    const ready = ((n["status"] as { conditions?: { type: string; status: string }[] } | undefined)?.conditions ?? []).some((c) => c.type === "Ready" && c.status === "True");
    return { node: n.metadata.name, ready, pods: own.length, running: own.filter((p) => p.status?.phase === "Running").length, enrolled: own.filter(isEnrolled).length };
  });
  print(render({
    value: { running: true, state, kubeconfig: layout.kubeconfig, apiServer: `https://127.0.0.1:${record.port}`, nodes: rows },
    columns: ["NODE", "READY", "PODS", "RUNNING", "ENROLLED"], rows: rows.map((r) => [r.node, r.ready ? "yes" : "no", String(r.pods), String(r.running), String(r.enrolled)]),
  }, options.output));
}

function kubeconfig(options: { state?: string; raw?: boolean }): void {
  const { layout } = running(options.state);
  print(options.raw === true ? readFileSync(layout.kubeconfig, "utf8") : `${layout.kubeconfig}\n`);
}

async function exec(where: string, words: string[], options: { state?: string }): Promise<void> {
  // `exec WHERE -- COMMAND`, as with kubectl: options after WHERE are passed on, and so is the `--`.
  const command = words[0] === "--" ? words.slice(1) : words;
  const { record, layout } = running(options.state);
  let argv: string[];
  if (where === "fabric") argv = enterCommand(record, undefined, command);
  else if (where.startsWith("node/")) {
    const name = where.slice("node/".length);
    if (!layout.nodes.some((n) => n.name === name)) throw new UsageError(`no node "${name}" in this lab: there are ${layout.nodes.map((n) => n.name).join(", ")}`, { exitCode: 2 });
    argv = enterCommand(record, name, command);
  } else {
    const [namespace = "", pod = "", ...rest] = where.split("/");
    if (namespace === "" || pod === "" || rest.length > 0) throw new UsageError(`"${where}" is not fabric, node/NAME or NAMESPACE/POD`, { exitCode: 2 });
    const kubectl = spawnSync("kubectl", ["--cache-dir", join(layout.state, "kubectl-cache"), "--kubeconfig", layout.kubeconfig, "exec", "-i", ...(process.stdin.isTTY === true ? ["-t"] : []), "-n", namespace, pod, "--", ...command], { stdio: "inherit" });
    if (kubectl.error !== undefined) throw new UsageError(`kubectl is needed to enter a pod and cannot be run: ${kubectl.error.message}`, { cause: kubectl.error });
    process.exitCode = kubectl.status ?? 1;
    return;
  }
  const [program = "", ...args] = argv;
  const done = spawnSync(program, args, { stdio: "inherit" });
  process.exitCode = done.status ?? 1;
}

/** What follows --command is the command's own, options too; --state may stand before or after the name. */
async function imageAdd(name: string, words: string[], options: { state?: string }): Promise<void> {
  const named = words[0] === "--state" ? words[1] : undefined;
  const [flag, ...command] = named === undefined ? words : words.slice(2);
  if (flag !== "--command" || command.length === 0) throw new UsageError(`after the name comes --command and the command, ${flag === "--command" ? "and there is no command" : `not "${flag ?? ""}"`}`, { exitCode: 2 });
  const { addCommandImage } = await import("@ambit/lab/images");
  try {
    addCommandImage(layoutOf(stateDir(named ?? options.state), 1).images, { name, command });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error, exitCode: 2 });
  }
  print(`image ${name} runs: ${command.join(" ")}\n`);
}

async function imageLoad(file: string, options: { state?: string }): Promise<void> {
  const { loadImageArchive } = await import("@ambit/lab/images");
  try {
    const loaded = await loadImageArchive(layoutOf(stateDir(options.state), 1).images, file);
    print(`loaded ${loaded.map((image) => image.name).join(", ")}\n`);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function running(explicit: string | undefined): { record: LabRecord; layout: ReturnType<typeof layoutOf> } {
  const state = stateDir(explicit);
  const record = readRecord(state);
  if (record === undefined) throw new UsageError(`no lab is running on ${state}: start one with "ambit lab up"`, { exitCode: 3 });
  return { record, layout: layoutOf(state, record.nodes) };
}

function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || n < min || n > max) throw new UsageError(`${flag} must be a whole number from ${min} to ${max}, not "${text}"`, { exitCode: 2 });
  return n;
}

function nextSteps(kubeconfigFile: string, { toured, end }: { toured: boolean; end: string }): string {
  const sample = toured ? ["  kubectl -n shop get pods -o wide", "  kubectl -n shop logs deploy/visitor --tail 3", "  ./ambit why shop/intruder catalog.shop:8080"] : ["  ./ambit status"];
  return ["", "Try next, in another terminal:", "", `  export KUBECONFIG=${kubeconfigFile}`, "  kubectl get pods -A -o wide", ...sample, "  ./ambit ztunnel connections node-1", "", `${end} takes everything down.`, ""].join("\n");
}
