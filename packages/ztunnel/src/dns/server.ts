// Owns the DNS listeners inside a pod: answers from the mesh's state, the rest from the real name servers.
import type { Socket } from "node:net";
import type { Socket as DatagramSocket } from "node:dgram";
import type { Counter } from "@ambit/runtime";
import { errorText, type Clock, type Logger } from "@ambit/runtime";
import type { StateView } from "../state/view.ts";
import type { Workload } from "@ambit/core";
import { framed, type Forwarder } from "./forward.ts";
import { planAnswer } from "./plan/answer.ts";
import { decodeQuestion, encodeAnswer, encodeFailure, RCODE, TYPE_A, TYPE_AAAA, type Question } from "./protocol/message.ts";

/** Mesh names change rarely and are cheap to ask again. */
const TTL_SECONDS = 30;
/** An idle TCP client is disconnected. */
const TCP_IDLE_MS = 5_000;
/** What a client may send ahead of our answers. */
const TCP_BUFFER_MAX_BYTES = 128 * 1024;
const TCP_ANSWER_MAX_BYTES = 65_535;

export interface DnsMetrics {
  /** Resolved per question: type, transport and who asks. */
  request(type: string, protocol: "udp" | "tcp", source: Workload | undefined): Counter;
  upstream(type: string, protocol: "udp" | "tcp", source: Workload | undefined): { readonly asked: Counter; readonly failed: Counter; took(seconds: number): void };
}

export interface DnsServerOptions {
  readonly view: () => StateView;
  /** The workload of the pod whose namespace we are in. */
  readonly client: () => Workload | undefined;
  readonly network: string;
  readonly domain: string;
  readonly preferredNamespace: string | undefined;
  readonly forwarder: Forwarder;
  readonly metrics: DnsMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

const TYPE_NAMES: ReadonlyMap<number, string> = new Map([[TYPE_A, "A"], [TYPE_AAAA, "AAAA"], [5, "CNAME"], [6, "SOA"], [12, "PTR"], [15, "MX"], [16, "TXT"], [33, "SRV"], [65, "HTTPS"]]);

/** undefined: what came is not worth an answer. */
export async function answerQuestion(o: DnsServerOptions, query: Uint8Array, protocol: "udp" | "tcp"): Promise<Uint8Array | undefined> {
  const decoded = decodeQuestion(query);
  if (!decoded.ok) {
    if (query.length < 12 || ((query[2] ?? 0) & 0x80) !== 0) return undefined;
    return encodeFailure({ id: ((query[0] ?? 0) << 8) | (query[1] ?? 0), section: new Uint8Array(), recursionDesired: false }, RCODE.formatError);
  }
  const q = decoded.value;
  const client = o.client();
  const type = TYPE_NAMES.get(q.type) ?? "other";
  o.metrics.request(type, protocol, client).inc();
  if (client === undefined) return encodeFailure(q, RCODE.serverFailure);
  const ours = fromMesh(o, q, client);
  if (ours !== undefined) return encodeAnswer(q, ours, protocol === "udp" ? q.udpMax : TCP_ANSWER_MAX_BYTES);

  const upstream = o.metrics.upstream(type, protocol, client);
  const began = o.clock.monotonic();
  upstream.asked.inc();
  try {
    return await o.forwarder[protocol](query);
  } catch (error) {
    upstream.failed.inc();
    o.log.debug("dns question failed", { name: q.name, type, error: errorText(error) });
    return encodeFailure(q, RCODE.serverFailure);
  } finally {
    upstream.took((o.clock.monotonic() - began) / 1000);
  }
}

function fromMesh(o: DnsServerOptions, q: Question, client: Workload): Parameters<typeof encodeAnswer>[1] | undefined {
  if (q.type !== TYPE_A && q.type !== TYPE_AAAA) return undefined;
  const plan = planAnswer(o.view(), { name: q.name, family: q.type === TYPE_A ? 4 : 6, client, network: o.network, domain: o.domain, preferredNamespace: o.preferredNamespace });
  return plan.kind === "forward" ? undefined : { ips: plan.ips, alias: plan.alias, ttlSeconds: TTL_SECONDS };
}

export function serveDatagrams(o: DnsServerOptions, socket: DatagramSocket): void {
  socket.on("error", (error) => o.log.warn("dns socket failed", { error: errorText(error) }));
  socket.on("message", (query, from) => {
    void answerQuestion(o, query, "udp").then((reply) => {
      // The client may be gone; a resolver asks again.
      if (reply !== undefined) socket.send(reply, from.port, from.address, () => undefined);
    }).catch((error: unknown) => o.log.error("defect: a dns question failed in an unforeseen way", { error: errorText(error) }));
  });
}

/** Questions of one connection are answered one after the other. */
export function serveStream(o: DnsServerOptions, socket: Socket): void {
  let buffer = Buffer.alloc(0);
  let busy = false;
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  const next = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
      const length = buffer.readUInt16BE(0);
      const query = buffer.subarray(2, 2 + length);
      buffer = buffer.subarray(2 + length);
      const reply = await answerQuestion(o, query, "tcp");
      if (reply === undefined) { socket.destroy(); return; }
      socket.write(framed(reply));
    }
    busy = false;
  };
  socket.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    if (buffer.length > TCP_BUFFER_MAX_BYTES) { socket.destroy(); return; }
    next().catch((error: unknown) => { o.log.error("defect: a dns question failed in an unforeseen way", { error: errorText(error) }); socket.destroy(); });
  });
  socket.on("end", () => socket.end());
  socket.resume();
}
