// Owns the processes of a scale run: the API server, the proxies, and the control plane under test, each started and ended here.
import { fork, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { monotonicMs, type ApiCommand, type ApiReport, type ClientCommand, type ClientReport } from "./messages.ts";

const ISTIOD = join(import.meta.dirname, "../../packages/istiod-lite/src/main.ts");
/** Nothing in a run takes this long; what does has failed. */
const ANSWER_MAX_MS = 180_000;

/** A child that answers commands one at a time over IPC. */
class Part<Command extends { kind: string }, Report extends { kind: string }> {
  readonly child: ChildProcess;
  constructor(file: string) {
    this.child = fork(join(import.meta.dirname, file), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  }
  ask<K extends Report["kind"]>(command: Command, answer: K): Promise<Report & { kind: K }> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => finish(() => reject(new Error(`${command.kind}: no answer within ${ANSWER_MAX_MS} ms`))), ANSWER_MAX_MS);
      const finish = (how: () => void): void => {
        clearTimeout(timer);
        this.child.off("message", hear);
        this.child.off("exit", gone);
        how();
      };
      const hear = (message: unknown): void => { if ((message as Report).kind === answer) finish(() => resolve(message as Report & { kind: K })); };
      const gone = (code: number | null): void => finish(() => reject(new Error(`${command.kind}: the process ended with ${code}`)));
      this.child.on("message", hear);
      this.child.once("exit", gone);
      this.child.send(command);
    });
  }
  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    await new Promise<void>((resolve) => { this.child.once("exit", () => resolve()); this.child.kill("SIGKILL"); });
  }
}

export const startApi = (): Part<ApiCommand, ApiReport> => new Part("fake-api.ts");
export const startProxies = (): Part<ClientCommand, ClientReport> => new Part("proxies.ts");
export type Proxies = ReturnType<typeof startProxies>;
export type Api = ReturnType<typeof startApi>;

export interface ControlPlane { readonly pid: number; readonly port: number; readonly rootsPem: string; readonly readyMs: number; stop(): Promise<void> }

/** Resolves when it says that it is ready. `readyMs` counts from the start of the process. */
export async function startControlPlane(api: { port: number; caPem: string }, nodeOptions: string): Promise<ControlPlane> {
  const dir = mkdtempSync(join(tmpdir(), "ambit-scale-"));
  const server = `https://127.0.0.1:${api.port}`;
  const kubeconfig = { apiVersion: "v1", kind: "Config", "current-context": "c", contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server, "certificate-authority-data": Buffer.from(api.caPem).toString("base64") } }], users: [{ name: "u", user: { token: "t" } }] };
  writeFileSync(join(dir, "kubeconfig"), JSON.stringify(kubeconfig));
  const env = { ...process.env, NODE_OPTIONS: nodeOptions, GRPC_PORT: "0", HTTP_PORT: "0", MONITORING_PORT: "0", DEBUG_PORT: "0", HTTPS_PORT: "0", LISTEN_ADDRESS: "127.0.0.1" };
  const began = monotonicMs();
  const child = spawn(process.execPath, [ISTIOD, "--kubeconfig", join(dir, "kubeconfig")], { env, stdio: ["ignore", "pipe", "inherit"] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the control plane ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (process.env["TEST_LOG"] !== undefined) process.stderr.write(`${line}\n`);
      const record = JSON.parse(line) as { msg: string; level: string; grpc_port: number };
      if (record.msg === "ready") resolve(record.grpc_port);
      else if (record.level === "error") process.stderr.write(`${line}\n`);
    });
  });
  const readyMs = monotonicMs() - began;
  const secret = await fetchRoots(api);
  return {
    pid: child.pid ?? 0, port, readyMs, rootsPem: secret,
    stop: async () => {
      if (child.exitCode === null) await new Promise<void>((resolve) => { child.once("exit", () => resolve()); child.kill("SIGTERM"); });
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The root that the control plane made and stored, as its proxies would find it mounted. */
async function fetchRoots(api: { port: number; caPem: string }): Promise<string> {
  const { KubeClient, KINDS } = await import("@ambit/kube");
  const client = new KubeClient({ server: `https://127.0.0.1:${api.port}`, ca: api.caPem });
  try {
    const secret = await client.get(KINDS.secrets, "istio-system", "istio-ca-secret");
    return Buffer.from((secret["data"] as Record<string, string>)["ca-cert.pem"] ?? "", "base64").toString("utf8");
  } finally {
    client.close();
  }
}
