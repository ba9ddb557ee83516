// Owns the inside of a lab: builds the fabric, starts the cluster's processes, keeps them running. When this program ends, process 1
// of the lab's namespaces ends, and the kernel takes everything down with it.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { KubeClient, parseKubeconfig } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";
import { addCommandImage } from "../node/images/store.ts";
import { ensurePki } from "../pki.ts";
import { APISERVER_PORT, CLUSTER_DNS, FABRIC_ADDRESS, fabricScript, layoutOf, nodeScript, SERVICE_CIDR, type LabLayout } from "./layout.ts";
import { Supervised } from "./processes.ts";

/** What the inside tells the outside, one JSON line each. */
export type Word =
  | { readonly kind: "step"; readonly text: string }
  | { readonly kind: "exit"; readonly name: string; readonly how: string }
  | { readonly kind: "up" }
  | { readonly kind: "failed"; readonly error: string };

const APISERVER_TIMEOUT_MS = 30_000;
const REPO = join(import.meta.dirname, "../../../..");
const say = (word: Word) => void process.stdout.write(`${JSON.stringify(word)}\n`);

async function main(): Promise<void> {
  const [state = "", nodeCount = ""] = process.argv.slice(2);
  const layout = layoutOf(state, Number(nodeCount));
  const running: Supervised[] = [];
  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    // The API server flushes what it has not written; everything else may die as in a power cut.
    await running[0]?.stop();
    process.exit(0);
  };
  createInterface({ input: process.stdin }).on("close", () => void stop());
  process.on("SIGTERM", () => void stop());
  // The outside may be gone: dying of a closed pipe would only hide that.
  process.stdout.on("error", () => void stop());

  say({ kind: "step", text: "building the fabric: namespaces, links, addresses" });
  ownRun();
  buildFabric(layout);
  for (const dir of [layout.data, layout.images, layout.logs, layout.pki]) mkdirSync(dir, { recursive: true });
  await ensurePki(layout.pki, { nodes: layout.nodes.map((n) => n.name) });
  addImages(layout);

  say({ kind: "step", text: "starting the API server" });
  const start = (name: string, command: string[], env?: Record<string, string>) =>
    running.push(new Supervised({ name, command, logFile: join(layout.logs, `${name}.log`), ...(env ? { env } : {}) }, (n, how) => say({ kind: "exit", name: n, how })));
  rmSync(layout.apiSocket, { force: true });
  start("apiserver", node("lab/src/apiserver/main.ts", "--data", layout.data, "--pki", layout.pki, "--listen", `${FABRIC_ADDRESS}:${APISERVER_PORT}`, "--unix", layout.apiSocket, "--service-cidr", SERVICE_CIDR));
  await apiserverReady(layout);

  say({ kind: "step", text: `starting controllers and ${layout.nodes.length} nodes` });
  start("controller-manager", node("lab/src/controllers/main.ts", "--kubeconfig", join(layout.pki, "controller-manager.kubeconfig")));
  for (const n of layout.nodes) {
    const kubelet = node("lab/src/node/main.ts", "--node", n.name, "--kubeconfig", join(layout.pki, `kubelet-${n.name}.kubeconfig`), "--state", n.state, "--images", layout.images,
      "--pki", layout.pki, "--node-ip", n.ip, "--pod-cidr", n.podCidr, "--cluster-dns", CLUSTER_DNS);
    start(`kubelet-${n.name}`, ["nsenter", `--net=${n.netns}`, "--", ...kubelet]);
  }
  say({ kind: "up" });
}

const node = (script: string, ...args: string[]): string[] => [process.execPath, join(REPO, "packages", script), ...args];

/** A /run of our own: namespaces get names there without a trace on the machine. */
function ownRun(): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", "mode=755", "ambit-run", "/run"]);
  for (const dir of ["/run/netns", "/run/lock"]) mkdirSync(dir, { recursive: true });
}

function buildFabric(layout: LabLayout): void {
  ip([], fabricScript(layout));
  for (const n of layout.nodes) ip(["-n", n.name], nodeScript(n));
  execFileSync("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
}

function ip(args: readonly string[], script: string): void {
  const done = spawnSync("ip", [...args, "-batch", "-"], { input: script, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`ip ${args.join(" ")} failed: ${done.stderr || done.error?.message}`);
}

/** The mesh's own programs and the sample, as images whose root file system is this machine's. */
function addImages(layout: LabLayout): void {
  const image = (name: string, script: string) => addCommandImage(layout.images, { name, command: node(script), keep: [REPO] });
  image("ambit/istiod-lite:lab", "istiod-lite/src/main.ts");
  image("ambit/ztunnel:lab", "ztunnel/src/main.ts");
  image("ambit/waypoint:lab", "waypoint/src/main.ts");
  image("ambit/cni:lab", "cni/src/main.ts");
  image("ambit/coredns:lab", "lab/src/dns/main.ts");
  image("ambit/sample:lab", "lab/src/sample/main.ts");
}

async function apiserverReady(layout: LabLayout): Promise<void> {
  const client = new KubeClient(parseKubeconfig(readFileSync(layout.adminKubeconfig, "utf8"), layout.adminKubeconfig));
  const deadline = systemClock.monotonic() + APISERVER_TIMEOUT_MS;
  for (;;) {
    try {
      await client.request("GET", "/readyz");
      client.close();
      return;
    } catch (error) {
      if (systemClock.monotonic() > deadline) throw new Error(`the API server did not become ready; see ${join(layout.logs, "apiserver.log")}`, { cause: error });
      await systemClock.sleep(50);
    }
  }
}

main().catch((error: unknown) => {
  say({ kind: "failed", error: error instanceof Error ? `${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ""}` : String(error) });
  process.exit(1);
});
