// Owns reaching a port that only listens on localhost inside a pod: by kubectl port-forward, so that it works on every cluster.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { systemClock } from "@ambit/runtime";
import { UsageError } from "./usage-error.ts";

const READY_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 20_000;
/** 50,000 workloads are about 40 MB of dump. */
const ANSWER_MAX_BYTES = 512 * 1024 * 1024;

export interface PodPort { readonly kubeconfig: string | undefined; readonly namespace: string; readonly pod: string; readonly port: number }

/** GET `path` on the pod's port; the forwarder is ended in any case. */
export const getFromPod = (target: PodPort, path: string): Promise<string> => withPodPort(target, (port) => get(port, path, target));

/** What answers a TLS client that has no certificate, in its own words. */
export interface Handshake {
  readonly protocol: string;
  readonly cipher: string;
  /** The server's certificate: its URI names, and whether its chain leads to one of `roots`. */
  readonly identities: readonly string[];
  readonly trusted: boolean;
  readonly untrustedBecause: string | undefined;
  /** It ended the connection because we showed no certificate. */
  readonly refusesStrangers: boolean;
}

/** Begins mutual TLS with the pod's port, shows no certificate, and tells what came of it. */
export const shakeHandsWithPod = (target: PodPort, roots: string): Promise<Handshake> => withPodPort(target, (port) => new Promise((resolve, reject) => {
  const socket = connectTls({ host: "127.0.0.1", port, ca: roots, ALPNProtocols: ["h2"], rejectUnauthorized: false, checkServerIdentity: () => undefined });
  const timer = systemClock.after(HANDSHAKE_LIMIT_MS, () => end(false), { hold: true });
  let seen: Omit<Handshake, "refusesStrangers"> | undefined;
  const end = (refusesStrangers: boolean, error?: Error): void => {
    timer.cancel();
    socket.destroy();
    if (seen === undefined) reject(new UsageError(`no TLS handshake with port ${target.port} of pod ${target.namespace}/${target.pod}: ${error?.message ?? "it does not answer"}`, { cause: error }));
    else resolve({ ...seen, refusesStrangers });
  };
  // In TLS 1.3 a client is ready before the server has looked at its certificate: the refusal comes after.
  socket.once("secureConnect", () => {
    const names = socket.getPeerX509Certificate()?.subjectAltName ?? "";
    seen = { protocol: socket.getProtocol() ?? "none", cipher: socket.getCipher().name, identities: names.split(", ").flatMap((n) => (n.startsWith("URI:") ? [n.slice(4)] : [])), trusted: socket.authorized, untrustedBecause: socket.authorized ? undefined : String(socket.authorizationError) };
  });
  socket.on("error", (error) => end(seen !== undefined, error)).once("close", () => end(seen !== undefined));
}));
const HANDSHAKE_LIMIT_MS = 3_000;

async function withPodPort<T>(target: PodPort, use: (port: number) => Promise<T>): Promise<T> {
  // kubectl would leave what it discovered in the home folder, or where there is none, in the present one.
  const cache = mkdtempSync(join(tmpdir(), "ambit-kubectl-"));
  const args = ["--cache-dir", cache, ...(target.kubeconfig === undefined ? [] : ["--kubeconfig", target.kubeconfig]), "-n", target.namespace, "port-forward", `pod/${target.pod}`, `:${target.port}`, "--address", "127.0.0.1"];
  const child = spawn("kubectl", args, { stdio: ["ignore", "pipe", "pipe"] });
  try {
    return await use(await localPort(child, target));
  } finally {
    child.kill("SIGTERM");
    rmSync(cache, { recursive: true, force: true });
  }
}

function localPort(child: ReturnType<typeof spawn>, target: PodPort): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = "";
    const fail = (what: string, cause?: unknown) => reject(new UsageError(`cannot reach port ${target.port} of pod ${target.namespace}/${target.pod}: ${what}`, { cause }));
    const timer = systemClock.after(READY_TIMEOUT_MS, () => fail(`kubectl port-forward said nothing within ${READY_TIMEOUT_MS / 1000} s`), { hold: true });
    const hear = (chunk: Buffer) => {
      said += chunk.toString("utf8");
      const port = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(said)?.[1];
      if (port !== undefined) { timer.cancel(); resolve(Number(port)); }
    };
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.once("error", (error) => { timer.cancel(); fail("kubectl is needed and cannot be run", error); });
    child.once("exit", () => { timer.cancel(); fail(said.trim() || "kubectl ended"); });
  });
}

function get(port: number, path: string, target: PodPort): Promise<string> {
  return new Promise((resolve, reject) => {
    // The pod ends, or kubectl: no defect of ours.
    const cut = (cause: Error) => reject(new UsageError(`no whole answer to ${path} from port ${target.port} of pod ${target.namespace}/${target.pod}: ${cause.message}`, { cause }));
    const req = request({ host: "127.0.0.1", port, path, timeout: ANSWER_TIMEOUT_MS, agent: false }, (res) => {
      const chunks: Buffer[] = [];
      let size = 0;
      res.on("data", (b: Buffer) => {
        size += b.length;
        if (size > ANSWER_MAX_BYTES) req.destroy(new Error(`the answer exceeds ${ANSWER_MAX_BYTES} bytes`));
        else chunks.push(b);
      });
      res.on("end", () => (res.statusCode === 200 ? resolve(Buffer.concat(chunks).toString("utf8")) : reject(new UsageError(`${path}: HTTP ${res.statusCode}`))));
      res.on("error", cut);
    });
    req.on("timeout", () => req.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS / 1000} s`)));
    req.on("error", cut);
    req.end();
  });
}
