// Owns questions that are not ours: sent unchanged to the machine's resolvers, over the protocol they came by.
import { createSocket } from "node:dgram";
import { randomInt } from "node:crypto";
import { connect, isIP } from "node:net";
import type { Clock } from "@ambit/runtime";

/** A lab usually has no resolver: nobody should wait long to hear it. */
const TIMEOUT_MS = 2_000;
/** Questions under way; beyond it the answer is SERVFAIL at once. */
const CONCURRENT_MAX = 256;
/** As glibc. */
const SERVERS_MAX = 3;
const PORT = 53;

export interface Forwarder {
  readonly servers: readonly string[];
  /** The raw answer with the asker's id, or undefined when nobody answered in time. */
  ask(packet: Uint8Array, protocol: "udp" | "tcp"): Promise<Uint8Array | undefined>;
}

/** `nameserver` lines of a resolv.conf; `self` are our own addresses, which would be a loop. */
export function parseNameservers(text: string, self: readonly string[]): string[] {
  return text.split("\n").map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? "")
    .filter((ip) => isIP(ip) !== 0 && !self.includes(ip)).slice(0, SERVERS_MAX);
}

export function makeForwarder(servers: readonly string[], clock: Clock, port = PORT): Forwarder {
  let busy = 0;
  return {
    servers,
    async ask(packet, protocol) {
      if (servers.length === 0 || busy >= CONCURRENT_MAX || packet.length < 12) return undefined;
      busy += 1;
      try {
        // All at once: the first to answer wins, and the bound holds for all of them together.
        return await Promise.any(servers.map((server) => (protocol === "udp" ? overUdp : overTcp)(server, port, packet, clock))).catch(() => undefined);
      } finally {
        busy -= 1;
      }
    },
  };
}

function overUdp(server: string, port: number, packet: Uint8Array, clock: Clock): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIP(server) === 6 ? "udp6" : "udp4");
    // An id and a source port of our own, so that an answer is hard to forge.
    const query = Buffer.from(packet);
    query.writeUInt16BE(randomInt(0x10000), 0);
    const end = (act: () => void): void => { timer.cancel(); socket.removeAllListeners(); socket.on("error", () => undefined); socket.close(); act(); };
    const timer = clock.after(TIMEOUT_MS, () => end(() => reject(new Error(`${server} did not answer within ${TIMEOUT_MS} ms`))));
    socket.on("error", (error) => end(() => reject(error)));
    socket.on("message", (answer) => {
      if (answer.length < 12 || answer.readUInt16BE(0) !== query.readUInt16BE(0)) return;
      answer.set(packet.subarray(0, 2), 0);
      end(() => resolve(answer));
    });
    socket.connect(port, server, () => socket.send(query));
  });
}

function overTcp(server: string, port: number, packet: Uint8Array, clock: Clock): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, server);
    const end = (act: () => void): void => { timer.cancel(); socket.destroy(); act(); };
    const timer = clock.after(TIMEOUT_MS, () => end(() => reject(new Error(`${server} did not answer within ${TIMEOUT_MS} ms`))));
    let got = Buffer.alloc(0);
    socket.on("error", (error) => end(() => reject(error)));
    socket.on("end", () => end(() => reject(new Error(`${server} closed without an answer`))));
    socket.on("data", (chunk: Buffer) => {
      // At most 2 + 65535 bytes are kept: the length prefix bounds the answer.
      got = Buffer.concat([got, chunk]);
      if (got.length < 2 || got.length < 2 + got.readUInt16BE(0)) return;
      const answer = Buffer.from(got.subarray(2, 2 + got.readUInt16BE(0)));
      if (answer.length < 12) return end(() => reject(new Error(`${server} answered with less than a header`)));
      end(() => resolve(answer));
    });
    const head = Buffer.alloc(2);
    head.writeUInt16BE(packet.length);
    socket.end(Buffer.concat([head, packet]));
  });
}
