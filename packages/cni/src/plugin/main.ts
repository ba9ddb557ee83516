// The CNI plugin itself: run by the container runtime for every pod, chained last. Fails a pod's start only when that pod
// must be in the mesh and cannot be; DEL and CHECK always succeed.
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { isNotFound, KINDS, KubeClient, parseKubeconfig, type KubeObject, type Pod } from "@ambit/kube";
import { describeProblems } from "@ambit/core";
import { selectPod } from "../plan/select.ts";
import { decodeSelectors, DEFAULT_SELECTORS } from "../plan/selectors.ts";
import { encodeEvent, EVENT_PATH, EVENT_SOCKET } from "./event.ts";
import { KUBECONFIG_NAME } from "./install.ts";

const SUPPORTED = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const AGENT_TIMEOUT_MS = 5_000;
const API_TIMEOUT_MS = 5_000;
const AGENT_POD_PREFIX = "istio-cni-node-";

interface NetConf {
  cniVersion?: string; name?: string; prevResult?: { cniVersion?: string; ips?: { address?: string }[] };
  cni_agent_run_dir?: string; ambient_enabled?: boolean; enablement_selectors?: unknown; exclude_namespaces?: string[]; pod_namespace?: string;
}

/** CNI error codes: 7 invalid configuration, 11 try again later, 6 decoding failure. */
class CniError extends Error {
  readonly code: number;
  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

async function main(): Promise<string> {
  const command = process.env["CNI_COMMAND"] ?? "";
  if (command === "VERSION") return JSON.stringify({ cniVersion: "1.0.0", supportedVersions: SUPPORTED });
  if (command === "DEL" || command === "CHECK" || command === "GC" || command === "STATUS") return "";
  if (command !== "ADD") throw new CniError(4, `CNI_COMMAND "${command}" is unknown`);
  const conf = readConf();
  await add(conf);
  return JSON.stringify(conf.prevResult ?? { cniVersion: conf.cniVersion ?? "0.3.1" });
}

function readConf(): NetConf {
  try {
    return JSON.parse(readFileSync(0, "utf8")) as NetConf;
  } catch (cause) {
    throw new CniError(6, "the network configuration on stdin is not JSON", { cause });
  }
}

async function add(conf: NetConf): Promise<void> {
  const args = new Map((process.env["CNI_ARGS"] ?? "").split(";").map((pair) => pair.split("=", 2) as [string, string]));
  const name = args.get("K8S_POD_NAME");
  const namespace = args.get("K8S_POD_NAMESPACE");
  if (name === undefined || namespace === undefined || name === "" || namespace === "") return;
  const systemNamespace = conf.pod_namespace ?? "istio-system";
  // The agent must be able to start before anything else is.
  if (namespace === systemNamespace && name.startsWith(AGENT_POD_PREFIX)) return;
  const excludeNamespaces = conf.exclude_namespaces ?? [];
  if (conf.ambient_enabled !== true || excludeNamespaces.includes(namespace)) return;
  const selectors = conf.enablement_selectors === undefined ? { ok: true as const, value: DEFAULT_SELECTORS } : decodeSelectors(conf.enablement_selectors);
  if (!selectors.ok) throw new CniError(7, `enablement_selectors: ${describeProblems(selectors.error)}`);
  const runDir = conf.cni_agent_run_dir ?? "/var/run/istio-cni";
  const facts = await lookUp(runDir, namespace, name);
  if (facts === undefined) return;
  const selection = selectPod({ selectors: selectors.value, excludeNamespaces, systemNamespace }, {
    name, namespace, labels: facts.pod.metadata.labels ?? {}, annotations: facts.pod.metadata.annotations ?? {},
    namespaceLabels: facts.ns.metadata.labels ?? {}, hostNetwork: facts.pod.spec.hostNetwork === true, terminal: false,
  });
  if (!selection.enrolled) return;
  const ips = (conf.prevResult?.ips ?? []).flatMap((ip) => (ip.address === undefined ? [] : [ip.address.split("/")[0] ?? ""]));
  await tellAgent(join(runDir, EVENT_SOCKET), encodeEvent({ netns: process.env["CNI_NETNS"] ?? "", name, namespace, ips }));
}

/** Without an answer from the API server nobody can say that the pod may stay outside: the start fails and is tried again. */
async function lookUp(runDir: string, namespace: string, name: string): Promise<{ pod: Pod; ns: KubeObject } | undefined> {
  const file = join(runDir, KUBECONFIG_NAME);
  let client: KubeClient | undefined;
  try {
    client = new KubeClient(parseKubeconfig(readFileSync(file, "utf8"), file));
    const options = { timeoutMs: API_TIMEOUT_MS };
    const [pod, ns] = await Promise.all([client.get<Pod>(KINDS.pods, namespace, name, options), client.get(KINDS.namespaces, undefined, namespace, options)]);
    return { pod, ns };
  } catch (cause) {
    if (isNotFound(cause)) return undefined;
    throw new CniError(11, `cannot find out whether pod ${namespace}/${name} belongs to the mesh`, { cause });
  } finally {
    client?.close();
  }
}

function tellAgent(socketPath: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (what: string, cause?: unknown) => reject(new CniError(11, what, { cause }));
    const req = request({ socketPath, path: EVENT_PATH, method: "POST", timeout: AGENT_TIMEOUT_MS, headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (res) => {
      let text = "";
      res.setEncoding("utf8");
      res.on("data", (chunk: string) => { text = (text + chunk).slice(0, 2_000); });
      res.on("end", () => (res.statusCode === 200 ? resolve() : fail(`the mesh's agent on this node refuses: ${text.trim()}`)));
      res.on("error", (cause) => fail("the mesh's agent on this node broke off", cause));
    });
    req.on("timeout", () => req.destroy(new Error(`no answer within ${AGENT_TIMEOUT_MS / 1000} s`)));
    req.on("error", (cause) => fail("the mesh's agent on this node (istio-cni-node) does not answer; a pod of the mesh cannot start without it", cause));
    req.end(body);
  });
}

main().then((output) => process.stdout.write(output === "" ? "" : `${output}\n`), (error: unknown) => {
  const message = error instanceof Error ? `${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ""}` : String(error);
  process.stdout.write(`${JSON.stringify({ cniVersion: "1.0.0", code: error instanceof CniError ? error.code : 999, msg: `istio-cni: ${message}` })}\n`);
  process.exitCode = 1;
});
