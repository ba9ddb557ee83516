// Owns the way to the real name servers: unchanged octets, sockets in the pod's namespace with our mark, bounded.
import { readFileSync } from "node:fs";
import { formatSocketAddress, MeshError, parseIp, UNSPECIFIED_V4, type Ip, type SocketAddress } from "@ambit/core";
import type { Kernel, Netns } from "@ambit/linux";
import type { Clock } from "@ambit/runtime";
import type { Dial } from "../proxy/dial.ts";

/** A name server that does not answer within this is passed over for the next one. */
const ANSWER_TIMEOUT_MS = 2_500;
/** Questions under way in one pod; a resolver asks again by itself. */
export const FORWARDS_MAX = 512;
const DNS_PORT = 53;
const TCP_ANSWER_MAX_BYTES = 65_535;

export interface Forwarder {
  /** Rejects with `dns-failed` or `overloaded`. */
  udp(query: Uint8Array): Promise<Uint8Array>;
  tcp(query: Uint8Array): Promise<Uint8Array>;
}

/** The `nameserver` lines of a resolv.conf; nothing readable gives none. */
export function nameServers(path = "/etc/resolv.conf"): Ip[] {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return []; // Every question that the mesh cannot answer then fails, by name.
  }
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => parseIp(m[1] ?? "")).flatMap((r) => (r.ok ? [r.value] : []));
}

export interface ForwarderOptions {
  readonly kernel: Pick<Kernel, "bindDatagram">;
  readonly netns: Netns;
  /** The pod is gone: its namespace must not be entered any more. */
  readonly over: AbortSignal;
  readonly mark: number;
  readonly dial: Dial;
  readonly servers: readonly Ip[];
  readonly clock: Clock;
}

export function createForwarder(o: ForwarderOptions): Forwarder {
  let under = 0;
  const attempt = async (ask: (server: SocketAddress) => Promise<Uint8Array>): Promise<Uint8Array> => {
    if (under >= FORWARDS_MAX) throw new MeshError("overloaded", `${FORWARDS_MAX} DNS questions are under way already`);
    under++;
    try {
      let last: unknown;
      for (const ip of o.servers) {
        try { return await ask({ ip, port: DNS_PORT }); } catch (error) { last = error; }
      }
      throw new MeshError("dns-failed", o.servers.length === 0 ? "there is no name server" : `no name server answered: ${last instanceof Error ? last.message : String(last)}`, { cause: last });
    } finally {
      under--;
    }
  };
  return { udp: (query) => attempt((server) => askUdp(o, server, query)), tcp: (query) => attempt((server) => askTcp(o, server, query)) };
}

function askUdp(o: ForwarderOptions, server: SocketAddress, query: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    if (o.over.aborted) return reject(new MeshError("drained", "the pod left"));
    const any: Ip = server.ip.includes(":") ? ("::" as Ip) : UNSPECIFIED_V4;
    const socket = o.kernel.bindDatagram(o.netns, { ip: any, port: 0 }, { mark: o.mark });
    const finish = (settle: () => void): void => { timer.cancel(); socket.close(); settle(); };
    const timer = o.clock.after(ANSWER_TIMEOUT_MS, () => finish(() => reject(new MeshError("dns-failed", `${formatSocketAddress(server)} did not answer within ${ANSWER_TIMEOUT_MS} ms`))), { hold: true });
    socket.on("error", (error) => finish(() => reject(error)));
    socket.on("message", (bytes, from) => {
      // Only the server that was asked, and only the question that was asked.
      if (from.address !== server.ip || from.port !== server.port || bytes.length < 2 || bytes[0] !== query[0] || bytes[1] !== query[1]) return;
      finish(() => resolve(bytes));
    });
    socket.send(query, server.port, server.ip, (error) => { if (error !== null && error !== undefined) finish(() => reject(error)); });
  });
}

async function askTcp(o: ForwarderOptions, server: SocketAddress, query: Uint8Array): Promise<Uint8Array> {
  const socket = await o.dial({ to: server });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const finish = (settle: () => void): void => { timer.cancel(); socket.on("error", () => undefined); socket.destroy(); settle(); };
    const timer = o.clock.after(ANSWER_TIMEOUT_MS, () => finish(() => reject(new MeshError("dns-failed", `${formatSocketAddress(server)} did not answer within ${ANSWER_TIMEOUT_MS} ms`))), { hold: true });
    socket.on("error", (error) => finish(() => reject(error)));
    socket.on("close", () => finish(() => reject(new MeshError("dns-failed", `${formatSocketAddress(server)} closed without an answer`))));
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      const all = Buffer.concat(chunks);
      if (all.length < 2) return;
      const length = all.readUInt16BE(0);
      if (all.length >= 2 + length) finish(() => resolve(all.subarray(2, 2 + length)));
      else if (all.length > 2 + TCP_ANSWER_MAX_BYTES) finish(() => reject(new MeshError("dns-failed", "an answer that is too long")));
    });
    socket.write(framed(query));
  });
}

/** RFC 1035 4.2.2: two octets of length, then the message. */
export function framed(message: Uint8Array): Buffer {
  const out = Buffer.alloc(2 + message.length);
  out.writeUInt16BE(message.length);
  out.set(message, 2);
  return out;
}
