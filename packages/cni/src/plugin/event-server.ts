// Owns the agent's socket for CNI events: one POST per starting pod, answered when the pod is captured.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { describeProblems } from "@ambit/core";
import { errorText, type Logger } from "@ambit/runtime";
import { decodeEvent, EVENT_PATH, EVENT_SOCKET, type PodEvent } from "./event.ts";

const BODY_MAX_BYTES = 64 * 1024;
/** Every pod of the node could start at once; more than this is not a kubelet. */
const CONNECTIONS_MAX = 512;
/** The kubelet's plugin runs as root, but in other containers' user namespaces it may not: Istio's mode. */
const SOCKET_MODE = 0o666;

export interface EventServer { close(): Promise<void> }

export async function serveEvents(runDir: string, log: Logger, onPod: (event: PodEvent, abandoned: () => boolean) => Promise<void>): Promise<EventServer> {
  mkdirSync(runDir, { recursive: true });
  const path = join(runDir, EVENT_SOCKET);
  rmSync(path, { force: true });
  const server = createServer({ headersTimeout: 5_000 }, (req, res) => {
    const answer = (status: number, text: string) => res.writeHead(status, { "content-type": "text/plain" }).end(text);
    if (req.method !== "POST" || req.url !== EVENT_PATH) return void answer(404, `only POST ${EVENT_PATH}\n`);
    let body = "";
    req.setEncoding("utf8");
    req.on("error", () => undefined);
    req.on("data", (chunk: string) => {
      body += chunk;
      if (body.length > BODY_MAX_BYTES) { answer(413, "too large\n"); res.on("finish", () => req.destroy()); req.removeAllListeners("data").removeAllListeners("end").resume(); }
    });
    req.on("end", () => {
      const event = decodeEvent(body);
      if (!event.ok) return void answer(400, `${describeProblems(event.error)}\n`);
      onPod(event.value, () => res.destroyed).then(() => answer(200, ""), (error: unknown) => {
        log.warn("pod cannot start in the mesh", { pod: `${event.value.namespace}/${event.value.name}`, error: errorText(error) });
        answer(500, `${errorText(error)}\n`);
      });
    });
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => { server.once("error", reject); server.listen(path, resolve); });
  chmodSync(path, SOCKET_MODE);
  return { close: () => new Promise((resolve) => { server.close(() => { rmSync(path, { force: true }); resolve(); }); server.closeAllConnections(); }) };
}
