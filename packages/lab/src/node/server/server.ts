// Owns the kubelet's HTTPS server on 10250: logs and pod lists for the API server, which proves itself with its client certificate.
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { errorText, type Logger } from "@ambit/runtime";
import type { PodManager } from "../pods/pod-manager.ts";
import { readContainerLog } from "./container-logs.ts";

export const KUBELET_PORT = 10250;
/** The one name that may ask; the API server's client certificate carries it. */
const API_SERVER_NAME = "kube-apiserver-kubelet-client";
const HEADERS_TIMEOUT_MS = 10_000;

export interface KubeletServer { readonly server: Server; close(): Promise<void> }

/** `files`: the node's serving certificate and key, and the CA that signs clients. */
export async function serveKubelet(at: { readonly host: string; readonly port: number }, pki: string, nodeName: string, pods: PodManager, log: Logger): Promise<KubeletServer> {
  const server = createServer({
    cert: readFileSync(join(pki, `kubelet-${nodeName}.crt`)), key: readFileSync(join(pki, `kubelet-${nodeName}.key`)), ca: readFileSync(join(pki, "ca.crt")),
    requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.2", headersTimeout: HEADERS_TIMEOUT_MS,
  }, (req, res) => {
    answer(req, res, pods).catch((error: unknown) => {
      log.warn("a request failed", { url: req.url, error: errorText(error) });
      if (!res.headersSent) res.writeHead(500, { "content-type": "text/plain" });
      res.end();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.host, () => { server.off("error", reject); resolve(); });
  });
  return { server, close: () => new Promise((resolve) => { server.close(() => resolve()); server.closeAllConnections(); }) };
}

/** Whether the peer of this connection may use the kubelet. */
export function isApiServer(req: IncomingMessage): boolean {
  const socket = req.socket as TLSSocket;
  return socket.authorized && socket.getPeerCertificate().subject?.CN === API_SERVER_NAME;
}

async function answer(req: IncomingMessage, res: ServerResponse, pods: PodManager): Promise<void> {
  const url = new URL(req.url ?? "/", "https://kubelet");
  const text = (status: number, body: string) => { res.writeHead(status, { "content-type": "text/plain; charset=utf-8" }); res.end(body); };
  if (url.pathname === "/healthz") return text(200, "ok");
  if (!isApiServer(req)) return text(401, "Unauthorized");
  if (req.method !== "GET") return text(405, "method not allowed");
  if (url.pathname === "/pods") {
    res.writeHead(200, { "content-type": "application/json" });
    res.end(JSON.stringify({ kind: "PodList", apiVersion: "v1", metadata: {}, items: pods.workers().map((w) => w.pod) }));
    return;
  }
  const logs = /^\/containerLogs\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(url.pathname);
  if (logs === null) return text(404, "404 page not found");
  const [namespace = "", pod = "", container = ""] = logs.slice(1).map(decodeURIComponent);
  return serveLogs(res, url.searchParams, pods, namespace, pod, container, text);
}

async function serveLogs(res: ServerResponse, query: URLSearchParams, pods: PodManager, namespace: string, podName: string, name: string, text: (status: number, body: string) => void): Promise<void> {
  const slot = pods.find(namespace, podName)?.slot(name);
  if (slot === undefined) return text(404, `container "${name}" of pod "${namespace}/${podName}" is not on this node`);
  const view = slot.view();
  const previous = query.get("previous") === "true";
  const attempt = previous ? view.attempt - 1 : view.attempt;
  if (previous && (attempt < 0 || view.last === undefined)) return text(400, `previous terminated container "${name}" in pod "${podName}" not found`);
  if (!previous && view.state === "none") return text(400, `container "${name}" in pod "${podName}" is waiting to start: ${view.blocked?.reason ?? "ContainerCreating"}`);
  const count = (key: string): number | undefined => {
    const value = query.get(key);
    return value !== null && /^\d+$/.test(value) ? Number(value) : undefined;
  };
  const seconds = count("sinceSeconds");
  const sinceTime = Date.parse(query.get("sinceTime") ?? "");
  const gone = new AbortController();
  res.on("close", () => gone.abort());
  res.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
  res.flushHeaders();
  const run = slot.container;
  const lines = readContainerLog(join(slot.logDir, `${attempt}.log`), {
    follow: query.get("follow") === "true", timestamps: query.get("timestamps") === "true", tailLines: count("tailLines"), limitBytes: count("limitBytes"),
    sinceMs: seconds !== undefined ? Date.now() - seconds * 1000 : Number.isNaN(sinceTime) ? undefined : sinceTime,
  }, previous || run === undefined ? Promise.resolve() : run.exited, gone.signal);
  for await (const part of lines) {
    if (gone.signal.aborted) return;
    if (!res.write(part)) await new Promise<void>((resolve) => { res.once("drain", resolve); res.once("close", resolve); });
  }
  res.end();
}
