// Owns finding the network namespace of a pod that already runs: the namespace, held by some process, that owns the pod's IP.
// The IP is the proof: a process of another pod, or of the node, can never stand in for it.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { hostKernel, type Netns } from "@ambit/linux";

/** A machine has few namespaces and many processes: each namespace is looked into once. */
export interface FoundNetns { readonly path: string; readonly inode: bigint; readonly ips: ReadonlySet<string> }

/** Local IPv4 addresses of a namespace, from the text of /proc/PID/net/fib_trie: leaves marked "host LOCAL". Pure. */
export function localIpv4(fibTrie: string): Set<string> {
  const ips = new Set<string>();
  let leaf = "";
  for (const line of fibTrie.split("\n")) {
    const address = /\|-- (\d+\.\d+\.\d+\.\d+)/.exec(line)?.[1];
    if (address !== undefined) leaf = address;
    else if (line.includes("/32 host LOCAL") && leaf !== "") ips.add(leaf);
  }
  return ips;
}

/** Every network namespace that a process holds open, except the one of `hostPid`. */
export function findNetworkNamespaces(procDir: string, hostPid = "1"): FoundNetns[] {
  const host = inodeOf(`${procDir}/${hostPid}/ns/net`);
  const seen = new Set<bigint | undefined>([host, inodeOf("/proc/self/ns/net")]);
  const found: FoundNetns[] = [];
  for (const pid of readdirSync(procDir)) {
    if (!/^\d+$/.test(pid)) continue;
    const path = `${procDir}/${pid}/ns/net`;
    const inode = inodeOf(path);
    if (inode === undefined || seen.has(inode)) continue;
    seen.add(inode);
    try {
      const ips = localIpv4(readFileSync(`${procDir}/${pid}/net/fib_trie`, "utf8"));
      found.push({ path, inode, ips });
    } catch {
      // The process ended between the listing and the look: another of its namespace will be met, or none is left.
      seen.delete(inode);
    }
  }
  return found;
}

/** Opens the namespace that owns one of `ips`; undefined when no process holds such a namespace (yet). */
export function openPodNetns(procDir: string, ips: readonly string[]): Netns | undefined {
  for (const candidate of findNetworkNamespaces(procDir)) {
    if (!ips.some((ip) => candidate.ips.has(ip))) continue;
    const netns = hostKernel.openNetns(candidate.path);
    if (netns.inode === candidate.inode) return netns;
    netns[Symbol.dispose]();
  }
  return undefined;
}

function inodeOf(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).ino;
  } catch {
    return undefined;
  }
}
