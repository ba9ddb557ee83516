// Owns how a process finds and proves itself to an API server: in-cluster files, or a kubeconfig.
import { execFile } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { load } from "js-yaml";

export interface ClientConfig {
  /** https://host:port, or http:// for tests. */
  readonly server: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly tlsServerName?: string;
  readonly namespace?: string;
  /** Asked before every request: projected tokens rotate. */
  readonly token?: () => Promise<string | undefined>;
}

const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
/** An exec credential plugin that takes longer is waiting for a person who is not there. */
const EXEC_TIMEOUT_MS = 60_000;

/** A kubeconfig that cannot be used: says which file, which field, and why. */
export class KubeconfigError extends Error {}

/** Order: explicit path, $KUBECONFIG (first entry), in-cluster service account, ~/.kube/config. */
export function loadClientConfig(options: { kubeconfig?: string; context?: string; env?: NodeJS.ProcessEnv } = {}): ClientConfig {
  const environment = options.env ?? process.env;
  const named = options.kubeconfig ?? environment["KUBECONFIG"]?.split(":").find((p) => p !== "");
  if (named !== undefined) return parseKubeconfig(readConfig(named), named, options.context);
  if (environment["KUBERNETES_SERVICE_HOST"] !== undefined && existsSync(`${SERVICE_ACCOUNT_DIR}/token`)) return inClusterConfig(environment);
  const fallback = join(homedir(), ".kube", "config");
  if (existsSync(fallback)) return parseKubeconfig(readConfig(fallback), fallback, options.context);
  throw new KubeconfigError("no cluster to talk to: give --kubeconfig, set KUBECONFIG, or run `ambit lab up`");
}

export function inClusterConfig(environment: NodeJS.ProcessEnv): ClientConfig {
  const host = environment["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = environment["KUBERNETES_SERVICE_PORT"] ?? "443";
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: readText(`${SERVICE_ACCOUNT_DIR}/ca.crt`),
    namespace: readText(`${SERVICE_ACCOUNT_DIR}/namespace`).trim(),
    token: async () => readText(`${SERVICE_ACCOUNT_DIR}/token`).trim(),
  };
}

/** `where` is used in messages and to resolve relative paths. Throws KubeconfigError. */
export function parseKubeconfig(text: string, where: string, contextName?: string): ClientConfig {
  const fail = (what: string): never => { throw new KubeconfigError(`${where}: ${what}`); };
  let root: unknown;
  try {
    root = load(text);
  } catch (error) {
    return fail(`not YAML: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}`);
  }
  const doc = record(root) ?? fail("not a kubeconfig: the document is not a mapping");
  const current = contextName ?? str(doc["current-context"]);
  if (current === undefined || current === "") return fail("current-context is not set");
  const context = record(named(doc["contexts"], current)?.["context"]) ?? fail(`contexts has no "${current}"`);
  const clusterName = str(context["cluster"]) ?? fail(`context "${current}" names no cluster`);
  const cluster = record(named(doc["clusters"], clusterName)?.["cluster"]) ?? fail(`clusters has no "${clusterName}"`);
  const userName = str(context["user"]) ?? "";
  const user = userName === "" ? {} : (record(named(doc["users"], userName)?.["user"]) ?? fail(`users has no "${userName}"`));
  const server = str(cluster["server"]) ?? fail(`cluster "${clusterName}" has no server`);
  try {
    const { protocol } = new URL(server);
    if (protocol !== "https:" && protocol !== "http:") fail(`cluster "${clusterName}": server "${server}" is neither https nor http`);
  } catch (error) {
    if (error instanceof KubeconfigError) throw error;
    fail(`cluster "${clusterName}": server "${server}" is not a URL`);
  }
  const material = (from: Record<string, unknown>, field: string, check: (pem: string) => unknown): string | undefined => {
    const data = str(from[`${field}-data`]);
    const file = data === undefined ? str(from[field]) : undefined;
    if (data === undefined && file === undefined) return undefined;
    let pem: string;
    try {
      pem = data === undefined ? readText(resolve(dirname(where), file ?? "")) : Buffer.from(data, "base64").toString("utf8");
    } catch (cause) {
      throw new KubeconfigError(`${where}: ${field} "${file}" cannot be read`, { cause });
    }
    try {
      check(pem);
      return pem;
    } catch (cause) {
      throw new KubeconfigError(`${where}: ${data === undefined ? `${field} "${file}"` : `${field}-data`} is not ${field === "client-key" ? "a private key" : "a certificate"} in PEM`, { cause });
    }
  };
  const ca = material(cluster, "certificate-authority", (pem) => new X509Certificate(pem));
  const cert = material(user, "client-certificate", (pem) => new X509Certificate(pem));
  const key = material(user, "client-key", (pem) => createPrivateKey(pem));
  if ((cert === undefined) !== (key === undefined)) fail(`user "${userName}" has ${cert === undefined ? "client-key without client-certificate" : "client-certificate without client-key"}`);
  const token = tokenSource(user, where);
  const namespace = str(context["namespace"]);
  const serverName = str(cluster["tls-server-name"]);
  return {
    server: server.replace(/\/$/, ""),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(cluster["insecure-skip-tls-verify"] === true ? { insecureSkipTlsVerify: true } : {}),
    ...(serverName === undefined ? {} : { tlsServerName: serverName }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(token === undefined ? {} : { token }),
  };
}

function tokenSource(user: Record<string, unknown>, where: string): (() => Promise<string | undefined>) | undefined {
  const file = str(user["tokenFile"]);
  if (file !== undefined) return async () => readText(resolve(dirname(where), file)).trim();
  const token = str(user["token"]);
  if (token !== undefined) return async () => token;
  const exec = record(user["exec"]);
  if (exec === undefined) return undefined;
  let cached: { token: string; expires: number } | undefined;
  return async () => {
    if (cached !== undefined && cached.expires > Date.now() + 10_000) return cached.token;
    const command = str(exec["command"]) ?? "";
    const args = Array.isArray(exec["args"]) ? exec["args"].map(String) : [];
    const extra = Object.fromEntries((Array.isArray(exec["env"]) ? exec["env"] : []).map((e: { name: string; value: string }) => [e.name, e.value]));
    const info = JSON.stringify({ apiVersion: exec["apiVersion"], kind: "ExecCredential", spec: { interactive: false } });
    const status = await promisify(execFile)(command, args, { timeout: EXEC_TIMEOUT_MS, env: { ...process.env, ...extra, KUBERNETES_EXEC_INFO: info } })
      .then(({ stdout }) => record(record(JSON.parse(stdout))?.["status"]))
      .catch((cause: unknown) => { throw new KubeconfigError(`${where}: exec plugin "${command}" failed: ${cause instanceof Error ? cause.message.trim() : String(cause)}`, { cause }); });
    const got = str(status?.["token"]);
    if (got === undefined) throw new KubeconfigError(`${where}: exec plugin ${command} gave no token`);
    const until = Date.parse(str(status?.["expirationTimestamp"]) ?? "");
    cached = { token: got, expires: Number.isNaN(until) ? Infinity : until };
    return got;
  };
}

/** A file that is missing or may not be read is the caller's mistake, not ours. */
function readConfig(path: string): string {
  try {
    return readText(path);
  } catch (cause) {
    throw new KubeconfigError(`kubeconfig ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
const readText = (path: string): string => readFileSync(path, "utf8");
const str = (v: unknown): string | undefined => (typeof v === "string" ? v : undefined);
const record = (v: unknown): Record<string, unknown> | undefined => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined);
const named = (list: unknown, name: string): Record<string, unknown> | undefined =>
  Array.isArray(list) ? record(list.find((e) => record(e)?.["name"] === name)) : undefined;
