// Owns the sockets of cluster DNS: UDP and TCP on one port, each packet answered or dropped, none fatal.
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { errorText, type Logger } from "@ambit/runtime";
import { decodeQuery, encodeFailure, encodeResponse, RCODE, TYPE, udpLimit, type Query, type Response } from "./codec/message.ts";
import type { Forwarder } from "./forward.ts";
import { answer, type Zone } from "./plan/answer.ts";
import type { DnsView } from "./plan/view.ts";

const TCP_MAX_BYTES = 65_535;
/** Long enough for a client that thinks between questions, short enough that idle ones do not pile up. */
const TCP_IDLE_MS = 10_000;
const TCP_CONNECTIONS_MAX = 256;
/** Questions of one TCP connection answered at the same time; more wait in its socket. */
const TCP_PIPELINE_MAX = 16;

export interface DnsServerOptions {
  readonly host: string;
  readonly port: number;
  readonly view: DnsView;
  zone(): Zone;
  readonly forwarder: Forwarder;
  readonly log: Logger;
  /** Called for every answered question. */
  readonly onAnswer?: (protocol: "udp" | "tcp", rcode: number) => void;
}
/** `spin` rotates the addresses of successive answers. */
interface Serving extends DnsServerOptions { spin(): number }
export interface DnsServer { readonly port: number; close(): Promise<void> }

export async function serveDns(settings: DnsServerOptions): Promise<DnsServer> {
  const { host, port, log } = settings;
  let turn = 0;
  const options: Serving = { ...settings, spin: () => turn++ };
  const tcp = createServer((socket) => serveTcp(options, socket));
  tcp.maxConnections = TCP_CONNECTIONS_MAX;
  const connections = new Set<Socket>();
  tcp.on("connection", (socket) => { connections.add(socket); socket.on("close", () => connections.delete(socket)); });
  await listenTcp(tcp, host, port);
  const bound = (tcp.address() as { port: number }).port;
  const udp = createSocket(host.includes(":") ? "udp6" : "udp4");
  await new Promise<void>((resolve, reject) => {
    udp.once("error", reject);
    udp.bind(bound, host, () => { udp.off("error", reject); resolve(); });
  }).catch((error: unknown) => { tcp.close(); throw error; });
  udp.on("error", (error) => log.warn("udp socket error", { error: errorText(error) }));
  udp.on("message", (packet, from) => {
    handle(options, packet, "udp").then((reply) => {
      if (reply !== undefined) sendUdp(udp, reply, from.port, from.address);
    }, (error: unknown) => log.error("question failed", { error: errorText(error) }));
  });
  return {
    port: bound,
    close: async () => {
      for (const socket of connections) socket.destroy();
      await Promise.all([new Promise<void>((r) => tcp.close(() => r())), new Promise<void>((r) => udp.close(() => r()))]);
    },
  };
}

function sendUdp(udp: UdpSocket, reply: Uint8Array, port: number, address: string): void {
  try {
    // A client that is gone, or sent from port 0, does not get its answer; that is all.
    udp.send(reply, port, address, () => undefined);
  } catch { /* the socket is closing, or the address cannot be written to */ }
}

function listenTcp(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => { server.off("error", reject); resolve(); });
  });
}

function serveTcp(options: Serving, socket: Socket): void {
  let rest = Buffer.alloc(0);
  let busy = 0;
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  const drain = (): void => {
    while (busy < TCP_PIPELINE_MAX && rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const packet = Buffer.from(rest.subarray(2, 2 + rest.readUInt16BE(0)));
      rest = rest.subarray(2 + packet.length);
      busy += 1;
      handle(options, packet, "tcp").then((reply) => {
        busy -= 1;
        if (reply === undefined) return void socket.destroy();
        const head = Buffer.alloc(2);
        head.writeUInt16BE(reply.length);
        socket.write(Buffer.concat([head, reply]));
        drain();
        if (busy < TCP_PIPELINE_MAX) socket.resume();
      }, (error: unknown) => { options.log.error("question failed", { error: errorText(error) }); socket.destroy(); });
    }
    if (busy >= TCP_PIPELINE_MAX) socket.pause();
  };
  socket.on("data", (chunk: Buffer) => { rest = Buffer.concat([rest, chunk]); drain(); });
}

/** The bytes to send back, or undefined when the packet deserves none. */
async function handle(options: Serving, packet: Buffer, protocol: "udp" | "tcp"): Promise<Uint8Array | undefined> {
  const decoded = decodeQuery(packet);
  if (!decoded.ok) {
    options.log.debug("malformed question", { problem: decoded.problem });
    return decoded.id === undefined ? undefined : encodeFailure(decoded.id, decoded.opcode ?? 0, RCODE.FORMERR);
  }
  const { query } = decoded;
  const plan = answer(options.view, options.zone(), query, options.spin());
  const limit = protocol === "udp" ? udpLimit(query) : TCP_MAX_BYTES;
  const reply = (response: Response): Uint8Array => {
    options.onAnswer?.(protocol, response.rcode);
    return encodeResponse(query, response, limit);
  };
  switch (plan.do) {
    case "respond": return reply(plan.response);
    case "forward": {
      const raw = await options.forwarder.ask(packet, protocol);
      if (raw === undefined) return reply(SERVFAIL);
      options.onAnswer?.(protocol, (raw[3] ?? 0) & 15);
      return raw;
    }
    case "chase": return chase(options, query, plan.response, plan.target, reply);
  }
}

const SERVFAIL: Response = { rcode: RCODE.SERVFAIL, authoritative: false, answers: [], authorities: [], additionals: [] };

/** Completes an ExternalName with the addresses its target has outside; without a resolver the CNAME stands alone. */
async function chase(
  options: DnsServerOptions, query: Query, response: Response, target: string, reply: (r: Response) => Uint8Array,
): Promise<Uint8Array> {
  if (query.type !== TYPE.A && query.type !== TYPE.AAAA) return reply(response);
  const raw = await options.forwarder.ask(encodeQuestion(target, query.type), "udp");
  const addresses = raw === undefined ? [] : readAddresses(raw);
  const answers = [...response.answers, ...addresses.map(({ ip, ttl }) => ({ name: target, ttl, data: { type: "A" as const, ip } }))];
  return reply({ ...response, answers });
}

function encodeQuestion(name: string, type: number): Uint8Array {
  const labels = name.split(".").filter((l) => l !== "" && l.length <= 63);
  const head = Uint8Array.of(0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0);
  const body = labels.flatMap((label) => [label.length, ...Buffer.from(label, "latin1")]);
  return Uint8Array.from([...head, ...body, 0, type >> 8, type & 255, 0, 1]);
}

/** A records anywhere in the answer section, whatever chain of names leads to them. Malformed answers give none. */
export function readAddresses(bytes: Uint8Array): { ip: string; ttl: number }[] {
  const view = Buffer.from(bytes);
  const out: { ip: string; ttl: number }[] = [];
  const skipName = (at: number): number => {
    for (let i = at; i < view.length; ) {
      const length = view[i] ?? 0;
      if (length === 0) return i + 1;
      if (length >= 0xc0) return i + 2;
      i += length + 1;
    }
    return view.length;
  };
  if (view.length < 12) return out;
  let at = 12;
  for (let i = 0; i < view.readUInt16BE(4) && at < view.length; i++) at = skipName(at) + 4;
  for (let i = 0; i < view.readUInt16BE(6) && at < view.length; i++) {
    at = skipName(at);
    if (at + 10 > view.length) return out;
    const [type, ttl, length] = [view.readUInt16BE(at), view.readUInt32BE(at + 4), view.readUInt16BE(at + 8)];
    at += 10;
    if (type === TYPE.A && length === 4 && at + 4 <= view.length) out.push({ ip: [...view.subarray(at, at + 4)].join("."), ttl });
    at += length;
  }
  return out;
}
