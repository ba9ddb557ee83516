// The CNI plugin itself: run by the container runtime for every pod, chained last. Fails a pod's start only when that pod
// must be in the mesh and cannot be; DEL and CHECK always succeed.
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { isNotFound, KINDS, KubeClient, KubeError, parseKubeconfig, type KubeObject, type Pod } from "@ambit/kube";
import { describeProblems } from "@ambit/core";
import { selectPod } from "../plan/select.ts";
import { decodeSelectors, DEFAULT_SELECTORS, type EnablementSelector } from "../plan/selectors.ts";
import { factsOf } from "../pods/facts.ts";
import { encodeEvent, EVENT_PATH, EVENT_SOCKET } from "./event.ts";
import { KUBECONFIG_NAME } from "./install.ts";

const SUPPORTED = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const AGENT_TIMEOUT_MS = 5_000;
const API_TIMEOUT_MS = 5_000;
const AGENT_POD_PREFIX = "istio-cni-node-";

/** What we use of the network configuration; everything else in it is other plugins' business. */
interface NetConf {
  readonly cniVersion: string;
  readonly prevResult: Readonly<Record<string, unknown>> | undefined;
  readonly ips: readonly string[];
  readonly runDir: string;
  readonly ambientEnabled: boolean;
  readonly selectors: readonly EnablementSelector[];
  readonly excludeNamespaces: readonly string[];
  readonly podNamespace: string;
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
  return JSON.stringify(conf.prevResult ?? { cniVersion: conf.cniVersion });
}

function readConf(): NetConf {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(0, "utf8"));
  } catch (cause) {
    throw new CniError(6, "the network configuration on stdin is not JSON", { cause });
  }
  const record = recordOf(value, "the network configuration");
  const textOf = (field: string, fallback: string): string => {
    const v = record[field] ?? fallback;
    if (typeof v === "string") return v;
    throw new CniError(7, `${field} must be text`);
  };
  const excluded = record["exclude_namespaces"] ?? [];
  if (!Array.isArray(excluded) || !excluded.every((n) => typeof n === "string")) throw new CniError(7, "exclude_namespaces must be a list of text");
  const selectors = record["enablement_selectors"] === undefined ? { ok: true as const, value: DEFAULT_SELECTORS } : decodeSelectors(record["enablement_selectors"]);
  if (!selectors.ok) throw new CniError(7, `enablement_selectors: ${describeProblems(selectors.error)}`);
  const prevResult = record["prevResult"] === undefined ? undefined : recordOf(record["prevResult"], "prevResult");
  return {
    cniVersion: textOf("cniVersion", "0.3.1"), prevResult, ips: ipsOf(prevResult?.["ips"] ?? []), runDir: textOf("cni_agent_run_dir", "/var/run/istio-cni"),
    ambientEnabled: record["ambient_enabled"] === true, selectors: selectors.value, excludeNamespaces: excluded, podNamespace: textOf("pod_namespace", "istio-system"),
  };
}

function recordOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new CniError(7, `${what} must be a JSON object`);
}

function ipsOf(list: unknown): string[] {
  if (!Array.isArray(list)) throw new CniError(7, "prevResult.ips must be a list");
  return list.map((entry: unknown, i) => {
    const address = (entry as { address?: unknown } | null)?.address;
    if (typeof address !== "string") throw new CniError(7, `prevResult.ips[${i}].address must be text`);
    return address.split("/")[0] ?? "";
  });
}

async function add(conf: NetConf): Promise<void> {
  const args = new Map((process.env["CNI_ARGS"] ?? "").split(";").map((pair) => pair.split("=", 2) as [string, string]));
  const name = args.get("K8S_POD_NAME");
  const namespace = args.get("K8S_POD_NAMESPACE");
  if (name === undefined || namespace === undefined || name === "" || namespace === "") return;
  // The agent must be able to start before anything else is.
  if (namespace === conf.podNamespace && name.startsWith(AGENT_POD_PREFIX)) return;
  if (!conf.ambientEnabled || conf.excludeNamespaces.includes(namespace)) return;
  const facts = await lookUp(conf.runDir, namespace, name);
  if (facts === undefined) return;
  const { pod, ns } = facts;
  const selection = selectPod({ selectors: conf.selectors, excludeNamespaces: conf.excludeNamespaces, systemNamespace: conf.podNamespace }, { ...factsOf(pod, ns.metadata.labels ?? {}), terminal: false });
  if (!selection.enrolled) return;
  const { uid } = pod.metadata;
  await tellAgent(join(conf.runDir, EVENT_SOCKET), encodeEvent({ netns: process.env["CNI_NETNS"] ?? "", name, namespace, ips: conf.ips, ...(uid === undefined ? {} : { uid }) }));
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
    if (cause instanceof KubeError && cause.status === 401) throw new CniError(11, "the API server does not accept this node's CNI token any more; istio-cni-node of this node renews it, is it running?", { cause });
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
