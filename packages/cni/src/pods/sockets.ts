// Owns the question whether connections still run through ztunnel in a pod's namespace, answered from the kernel's own tables.
import { readFileSync } from "node:fs";
import { insideNetns, type Netns } from "@ambit/linux";
import { INBOUND_PORT, OUTBOUND_PORT } from "../rules/inpod.ts";

/** Of include/net/tcp_states.h: not in use any more. */
const LISTEN = 0x0a;
const TIME_WAIT = 0x06;
const CLOSED = 0x07;

/** Ports of ztunnel that only redirected connections use. Tunnels of peers (15008) stay open idle and say nothing. */
const CAPTURED: ReadonlySet<number> = new Set([OUTBOUND_PORT, INBOUND_PORT]);

/** Counts sockets on ztunnel's capture ports in the text of /proc/net/tcp or tcp6. Pure. */
export function countCaptured(table: string): number {
  let count = 0;
  for (const line of table.split("\n")) {
    const m = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line);
    if (m === null) continue;
    const state = parseInt(m[2] ?? "", 16);
    if (CAPTURED.has(parseInt(m[1] ?? "", 16)) && state !== LISTEN && state !== TIME_WAIT && state !== CLOSED) count++;
  }
  return count;
}

export function capturedConnections(netns: Netns): number {
  return insideNetns(netns, () => ["tcp", "tcp6"].reduce((sum, name) => {
    try {
      return sum + countCaptured(readFileSync(`/proc/thread-self/net/${name}`, "utf8"));
    } catch {
      return sum;
    }
  }, 0));
}
