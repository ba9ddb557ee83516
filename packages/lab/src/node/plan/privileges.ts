// Owns the privileges a container gets: user, groups, capability bounds, as arguments of setpriv.
import type { ContainerSpec, NodePod } from "./pod-spec.ts";

/** What Docker and containerd give a container that asks for nothing. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  "audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service", "net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot",
];
const KNOWN = new Set([...DEFAULT_CAPABILITIES,
  "audit_control", "audit_read", "block_suspend", "bpf", "checkpoint_restore", "dac_read_search", "ipc_lock", "ipc_owner", "lease", "linux_immutable", "mac_admin", "mac_override",
  "net_admin", "net_broadcast", "perfmon", "sys_admin", "sys_boot", "sys_module", "sys_nice", "sys_pacct", "sys_ptrace", "sys_rawio", "sys_resource", "sys_time", "sys_tty_config", "syslog", "wake_alarm"]);

export interface ImageUser { readonly uid: number; readonly gid: number; readonly groups: readonly number[] }
export type Privileges = { readonly privileged: boolean; readonly uid: number; readonly setpriv: readonly string[]; readonly note: string | undefined } | { readonly problem: string };

const normal = (name: string): string => name.toLowerCase().replace(/^cap_/, "");

/** Which ids the kernel lets us become: all of them for root, few in a user namespace. */
export interface IdMap { readonly uids: readonly (readonly [from: number, count: number])[]; readonly gids: readonly (readonly [from: number, count: number])[]; readonly setgroups: boolean }

/** Reads /proc/self/uid_map or gid_map. */
export const parseIdMap = (text: string): [number, number][] => text.split("\n").map((l) => l.trim().split(/\s+/).map(Number)).filter((f) => f.length === 3).map(([from = 0, , count = 0]) => [from, count]);
const maps = (ranges: IdMap["uids"], id: number): boolean => ranges.some(([from, count]) => id >= from && id < from + count);

/** The container's own settings win over the pod's, the pod's over the image's. */
export function privilegesOf(pod: NodePod, container: ContainerSpec, image: ImageUser, ids: IdMap): Privileges {
  const own = container.securityContext ?? {};
  const shared = pod.spec.securityContext ?? {};
  const runAsUser = own.runAsUser ?? shared.runAsUser;
  const uid = runAsUser ?? image.uid;
  const gid = own.runAsGroup ?? shared.runAsGroup ?? (runAsUser === undefined ? image.gid : 0);
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) === true && uid === 0) return { problem: "container has runAsNonRoot and image will run as root" };
  for (const n of [uid, gid]) if (!Number.isInteger(n) || n < 0 || n > 0xfffffffe) return { problem: `${n} is not a user or group id` };
  const groups = [...new Set([...(shared.supplementalGroups ?? []), ...(shared.fsGroup === undefined ? [] : [shared.fsGroup]), ...image.groups])];
  // A lab without root has one user: it stands in for every other, and the pod is told so.
  const known = (ranges: IdMap["uids"], id: number) => (maps(ranges, id) ? id : (ranges[0]?.[0] ?? 0));
  const unmapped = [...(maps(ids.uids, uid) ? [] : [`user ${uid}`]), ...[...new Set([gid, ...groups])].filter((g) => !maps(ids.gids, g)).map((g) => `group ${g}`)];
  const note = unmapped.length === 0 ? undefined : `this lab runs without root and has one user only, which stands in for ${unmapped.join(", ")}`;
  const args: string[] = [];
  const privileged = own.privileged === true;
  if (!privileged) {
    const wanted = capabilities(own.capabilities?.add ?? [], own.capabilities?.drop ?? []);
    if ("problem" in wanted) return wanted;
    args.push(`--bounding-set=${["-all", ...wanted.list.map((c) => `+${c}`)].join(",")}`);
  }
  args.push("--inh-caps=-all", `--reuid=${known(ids.uids, uid)}`, `--regid=${known(ids.gids, gid)}`, !ids.setgroups ? "--keep-groups" : groups.length > 0 ? `--groups=${groups.join(",")}` : "--clear-groups");
  if (own.allowPrivilegeEscalation === false && !privileged) args.push("--no-new-privs");
  return { privileged, uid: known(ids.uids, uid), setpriv: args, note };
}

function capabilities(add: readonly string[], drop: readonly string[]): { list: string[] } | { problem: string } {
  const adds = add.map(normal);
  const drops = drop.map(normal);
  const unknown = [...adds, ...drops].filter((c) => c !== "all" && !KNOWN.has(c));
  if (unknown.length > 0) return { problem: `unknown capability "${unknown[0]}"` };
  const set = new Set(adds.includes("all") ? KNOWN : drops.includes("all") ? [] : DEFAULT_CAPABILITIES);
  for (const c of drops) set.delete(c);
  for (const c of adds) if (c !== "all") set.add(c);
  return { list: [...set].sort() };
}
