// Owns the way to the real name servers: the pod's own octets, sockets in the pod's namespace with our mark, bounded in time and number.
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { MeshError, parseIp, type Ip, type SocketAddress } from "@ambit/core";
import { askTcp } from "./ask-tcp.ts";
import { askUdp } from "./ask-udp.ts";
import type { ForwarderOptions } from "./forward-options.ts";
import { withId } from "./protocol/relay.ts";

/** As many as a resolver of glibc uses. */
const SERVERS_MAX = 3;
/** Questions under way in one pod; more than that is a pod that floods. */
export const POD_FORWARDS_MAX = 512;
/** Of all pods together: each holds up to three descriptors. */
export const NODE_FORWARDS_MAX = 4_096;
const DNS_PORT = 53;

export interface Forwarder {
  /** The name server's reply, octet for octet but for the id, which is the query's. Rejects with `dns-failed`, `overloaded` or `drained`. */
  ask(query: Uint8Array, protocol: "udp" | "tcp"): Promise<Uint8Array>;
}

/** The `nameserver` lines of a resolv.conf; nothing readable gives none. */
export function nameServers(path = "/etc/resolv.conf"): Ip[] {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return []; // Every question that the mesh cannot answer then fails, by name.
  }
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => parseIp(m[1] ?? "")).flatMap((r) => (r.ok ? [r.value] : [])).slice(0, SERVERS_MAX);
}

export function createForwarder(o: ForwarderOptions): Forwarder {
  const servers = o.servers.map((ip): SocketAddress => ({ ip, port: DNS_PORT }));
  let taken = 0;
  return {
    async ask(query, protocol) {
      if (servers.length === 0) throw new MeshError("dns-failed", "there is no name server");
      if (taken >= POD_FORWARDS_MAX) throw new MeshError("overloaded", `${POD_FORWARDS_MAX} DNS questions of the pod are under way already`);
      if (o.budget.taken >= NODE_FORWARDS_MAX) throw new MeshError("overloaded", `${NODE_FORWARDS_MAX} DNS questions are under way on the node already`);
      taken++;
      o.budget.taken++;
      try {
        // A client whose ids can be guessed must not let others answer in the server's place.
        const sent = withId(query, randomInt(0x10000));
        const reply = await (protocol === "udp" ? askUdp(o, servers, sent) : askTcp(o, servers, sent));
        return withId(reply, (query[0] ?? 0) * 256 + (query[1] ?? 0));
      } finally {
        taken--;
        o.budget.taken--;
      }
    },
  };
}
