// Owns the Kubernetes protocols over SPDY/3.1: streams gathered by their headers, then a command run or ports forwarded.
import type { Duplex } from "node:stream";
import type { Clock, Logger } from "@ambit/runtime";
import type { Runtime } from "../runtime.ts";
import { runExec, type ClientStreams } from "./exec-session.ts";
import { forwardPort } from "./port-forwarding.ts";
import { isPort, type ExecTarget, type ForwardTarget } from "./request.ts";
import type { Headers } from "./spdy/frames.ts";
import { SpdySession } from "./spdy/session.ts";
import type { SpdyStream } from "./spdy/stream.ts";

/** Upstream's --streaming-connection creation timeout: all streams of a command, or both of a forwarded connection. */
const STREAMS_TIMEOUT_MS = 30_000;
/** Upstream's --streaming-connection-idle-timeout. */
export const IDLE_TIMEOUT_MS = 4 * 60 * 60 * 1000;

export interface SpdyPorts { readonly runtime: Runtime; readonly clock: Clock; readonly log: Logger }

export const EXEC_PROTOCOLS = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"] as const;
export type ExecProtocol = (typeof EXEC_PROTOCOLS)[number];
export const FORWARD_PROTOCOL = "portforward.k8s.io";

export function serveExecOverSpdy(ports: SpdyPorts, socket: Duplex, target: ExecTarget, protocol: ExecProtocol): void {
  const { runtime, clock } = ports;
  const resizes = target.tty && (protocol === "v4.channel.k8s.io" || protocol === "v3.channel.k8s.io");
  const wanted = new Set(["error", ...(target.stdin ? ["stdin"] : []), ...(target.stdout ? ["stdout"] : []), ...(target.stderr ? ["stderr"] : []), ...(resizes ? ["resize"] : [])]);
  const got = new Map<string, SpdyStream>();
  const gone = new AbortController();
  const session = new SpdySession(socket, {
    onStream(stream, headers) {
      const type = headers.get("streamtype") ?? "";
      if (!wanted.has(type) || got.has(type)) throw new Error(`unexpected stream type "${type}"`);
      got.set(type, stream);
      if (got.size === wanted.size) run();
    },
    onClose: () => { timer.cancel(); gone.abort(); },
  });
  const timer = clock.after(STREAMS_TIMEOUT_MS, () => session.destroy(new Error("the client did not open all its streams in time")));
  const run = (): void => {
    timer.cancel();
    const pick = <K extends string>(key: K): { [key in K]?: SpdyStream } => (got.has(key) ? { [key]: got.get(key) } : {}) as { [key in K]?: SpdyStream };
    const error = got.get("error");
    if (error === undefined) return session.destroy();
    const streams: ClientStreams = { ...pick("stdin"), ...pick("stdout"), ...pick("stderr"), ...pick("resize"), error };
    // Our half of stdin stays open: Go's client refuses to write to a stream whose other half has ended.
    for (const name of ["stdout", "stderr", "error"]) got.get(name)?.resume();
    void runExec(runtime, target, streams, protocol === "v4.channel.k8s.io", gone.signal).then(() => session.close());
  };
}

interface Pair { data?: SpdyStream; error?: SpdyStream; port: number; timer: { cancel(): void } }

export function serveForwardOverSpdy(ports: SpdyPorts, socket: Duplex, target: ForwardTarget): void {
  const { runtime, clock, log } = ports;
  const waiting = new Map<string, Pair>();
  new SpdySession(socket, {
    onStream(stream, headers) {
      const { type, port, request } = readPair(stream, headers);
      const pair: Pair = waiting.get(request) ?? {
        port, timer: clock.after(STREAMS_TIMEOUT_MS, () => { waiting.delete(request); pair.data?.destroy(); pair.error?.destroy(); }),
      };
      if (pair[type] !== undefined || pair.port !== port) throw new Error(`a second ${type} stream of request ${request}`);
      pair[type] = stream;
      waiting.set(request, pair);
      if (pair.data === undefined || pair.error === undefined) return;
      waiting.delete(request);
      pair.timer.cancel();
      pair.error.resume();
      const { data, error } = pair;
      void forwardPort(runtime, { namespace: target.namespace, pod: target.pod, port }, data, error)
        .then(() => log.trace("forwarded connection ended", { pod: target.pod, port }));
    },
    onClose: () => { for (const pair of waiting.values()) pair.timer.cancel(); waiting.clear(); },
  });
}

/** Clients before Kubernetes 1.4 send no request id: their data stream follows its error stream directly. */
function readPair(stream: SpdyStream, headers: Headers): { type: "data" | "error"; port: number; request: string } {
  const type = headers.get("streamtype");
  const port = Number(headers.get("port"));
  if (type !== "data" && type !== "error") throw new Error(`invalid stream type "${type}"`);
  if (!isPort(port)) throw new Error(`invalid port "${headers.get("port")}"`);
  return { type, port, request: headers.get("requestid") ?? `stream-${type === "error" ? stream.id : stream.id - 2}` };
}
