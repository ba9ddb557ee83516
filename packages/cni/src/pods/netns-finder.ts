// Owns finding the network namespace of a pod that already runs: the namespace, held by some process, that owns the pod's IP.
// Where the runtime keeps pods in cgroups, the process must also be in this pod's: a stale IP in a status proves nothing.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { ipBytes, parseIp } from "@ambit/core";
import { hostKernel, type Netns } from "@ambit/linux";

export interface FoundNetns {
  readonly path: string;
  readonly inode: bigint;
  /** Local addresses, each as the hex of its bytes. */
  readonly ips: ReadonlySet<string>;
  /** As the process's cgroup says; undefined where cgroups say nothing. */
  readonly podUid: string | undefined;
}

/** The comparable form of an address; undefined for what is none. */
function keyOf(ip: string): string | undefined {
  const parsed = parseIp(ip);
  return parsed.ok ? Buffer.from(ipBytes(parsed.value)).toString("hex") : undefined;
}

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

/** IPv6 addresses from /proc/PID/net/if_inet6, as 32 hex digits. Pure. */
export function localIpv6(ifInet6: string): Set<string> {
  return new Set(ifInet6.split("\n").flatMap((line) => (/^[0-9a-f]{32} /.test(line) ? [line.slice(0, 32)] : [])));
}

/** The pod that a process belongs to, from the text of /proc/PID/cgroup: `…/pod<uid>/…`, dashes or (systemd) underscores. Pure. */
export function podUidOf(cgroup: string): string | undefined {
  return /pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})/.exec(cgroup)?.[1]?.replaceAll("_", "-");
}

/** Every network namespace that a process holds open, except the one of `hostPid` and our own. */
export function findNetworkNamespaces(procDir: string, hostPid = "1"): FoundNetns[] {
  const seen = new Set<bigint | undefined>([inodeOf(`${procDir}/${hostPid}/ns/net`), inodeOf("/proc/self/ns/net")]);
  const found: FoundNetns[] = [];
  for (const pid of readdirSync(procDir)) {
    if (!/^\d+$/.test(pid)) continue;
    const path = `${procDir}/${pid}/ns/net`;
    const inode = inodeOf(path);
    if (inode === undefined || seen.has(inode)) continue;
    try {
      const read = (file: string) => readFileSync(`${procDir}/${pid}/${file}`, "utf8");
      const v4 = [...localIpv4(read("net/fib_trie"))].flatMap((ip) => keyOf(ip) ?? []);
      found.push({ path, inode, ips: new Set([...v4, ...localIpv6(readOr(() => read("net/if_inet6")))]), podUid: podUidOf(readOr(() => read("cgroup"))) });
      seen.add(inode);
    } catch {
      // The process ended between the listing and the look: another of its namespace will be met, or none is left.
    }
  }
  return found;
}

/** Opens the namespace of this pod: it owns one of `ips`, and no cgroup says it is another pod's. undefined when no process holds it (yet). */
export function openPodNetns(procDir: string, uid: string, ips: readonly string[]): Netns | undefined {
  const wanted = ips.flatMap((ip) => keyOf(ip) ?? []);
  for (const candidate of findNetworkNamespaces(procDir)) {
    if (!wanted.some((ip) => candidate.ips.has(ip)) || (candidate.podUid !== undefined && candidate.podUid !== uid)) continue;
    try {
      const netns = hostKernel.openNetns(candidate.path);
      if (netns.inode === candidate.inode) return netns;
      netns[Symbol.dispose]();
    } catch {
      // Its process ended meanwhile.
    }
  }
  return undefined;
}

function readOr(read: () => string): string {
  try {
    return read();
  } catch {
    // No IPv6 in this kernel, no cgroups: nothing is known from there.
    return "";
  }
}

function inodeOf(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).ino;
  } catch {
    return undefined;
  }
}
