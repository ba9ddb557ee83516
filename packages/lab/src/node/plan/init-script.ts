// Owns the shell script that makes one container: mounts, the new root, and at last the user's command with its privileges.
import type { MountLine } from "./fstab.ts";

export interface InitPlan {
  /** The container's own folder (host path): fstab files, dev/, rootfs/, pid, started. */
  readonly dir: string;
  /** Folder of the tool bundle (host path). */
  readonly tools: string;
  readonly loader: string;
  /** Where the old root waits inside the new one, below /dev; unguessable, because an image's symlinks may point anywhere. */
  readonly oldRoot: string;
  readonly hostname: string;
  readonly directories: readonly string[];
  readonly files: readonly string[];
  readonly readOnlyRoot: boolean;
  readonly openFiles: number;
  readonly process: ProcessPlan;
}
export interface ProcessPlan {
  readonly setpriv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
}

/** Where a container sees the tool bundle. */
export const TOOLS_INSIDE = "/dev/.ambit";

export const quote = (s: string): string => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", "'\\''")}'`);

/** The command line that drops privileges and runs a process inside a container's namespaces. */
export function processArgv(loader: string, p: ProcessPlan): string[] {
  const tool = (name: string) => [`${TOOLS_INSIDE}/${loader}`, "--library-path", TOOLS_INSIDE, `${TOOLS_INSIDE}/${name}`];
  return [...tool("setpriv"), ...p.setpriv, ...tool("env"), "-i", "-C", p.cwd, ...Object.entries(p.env).map(([k, v]) => `${k}=${v}`), ...p.argv];
}

/**
 * Runs as pid 1 of new pid, mount, uts and ipc namespaces in the pod's network. Descriptors: 1 and 2 the set-up log, 3 and 4 the
 * container's output. What comes before `started` is set-up: a failure there is a start error, not the command's.
 */
export function renderInitScript(p: InitPlan): string {
  const old = `/dev/${p.oldRoot}`;
  const root = `${p.dir}/rootfs`;
  const words = (list: readonly string[]) => list.map(quote).join(" ");
  const lines = [
    "set -eu",
    // The first field is this process' id as the kubelet sees it: /proc is still the old one.
    `read -r stat < /proc/self/stat`,
    `echo "$stat" > ${quote(`${p.dir}/pid`)}`,
    // The file is quicker; in a user namespace only the system call works.
    `(echo ${quote(p.hostname)} > /proc/sys/kernel/hostname) 2> /dev/null || hostname ${quote(p.hostname)}`,
    `mount -a -T ${quote(`${p.dir}/fstab-root`)}`,
    `pivot_root ${quote(root)} ${quote(`${root}${old}`)}`,
    "cd /",
    `tool() { t=$1; shift; ${old}${quote(p.tools)}/${p.loader} --library-path ${old}${quote(p.tools)} ${old}${quote(p.tools)}/$t "$@"; }`,
    ...(p.directories.length === 0 ? [] : [`tool mkdir -p ${words(p.directories)}`]),
    ...(p.files.length === 0 ? [] : [`for f in ${words(p.files)}; do [ -e "$f" ] || : > "$f"; done`]),
    `tool mount -a -T ${old}${quote(`${p.dir}/fstab`)}`,
    ...(p.readOnlyRoot ? ["tool mount -o remount,ro,bind /"] : []),
    `ulimit -n ${p.openFiles}`,
    "umask 022",
    `: > ${old}${quote(`${p.dir}/started`)}`,
    `${TOOLS_INSIDE}/${p.loader} --library-path ${TOOLS_INSIDE} ${TOOLS_INSIDE}/umount -l ${old}`,
    "exec >&3 2>&4 3>&- 4>&-",
    `exec ${words(processArgv(p.loader, p.process))}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** 10 s: a log writer that was killed is back long before. */
const LOG_WAIT_TRIES = 200;

/**
 * The process that waits for a container and writes down how it ended. It keeps the output pipes open, so that neither a restarting
 * log writer nor a restarting kubelet breaks them.
 */
export function renderShimScript(dir: string, netns: string | undefined): string {
  const file = (name: string) => quote(`${dir}/${name}`);
  return [
    `read -r stat < /proc/self/stat; echo "$stat" > ${file("shim")}`,
    `exec 6<>${file("stdout")} 7<>${file("stderr")}`,
    `${netns === undefined ? "" : `nsenter --net=${quote(netns)} `}unshare --pid --mount --uts --ipc --fork --kill-child --propagation slave sh ${file("init.sh")} 3>${file("stdout")} 4>${file("stderr")} 6>&- 7>&-`,
    `echo $? > ${file("exit")}`,
    // What a short command printed is in the pipes: they must stay open until the log writer has them.
    `n=0; while [ ! -e ${file("logging")} ] && [ $n -lt ${LOG_WAIT_TRIES} ]; do sleep 0.05; n=$((n+1)); done`,
  ].join("\n").concat("\n");
}

/** Device files every container has; each is bound from the machine's. */
export const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];
export const PRIVILEGED_DEVICES = ["net/tun", "fuse", "kmsg", "kvm", "vhost-net", "loop-control"];

/** Parts of /proc through which a root user without capabilities could still change the machine; those that exist are read-only. */
export const PROTECTED = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];

export interface RootPlan {
  readonly dir: string;
  /** A prepared folder that is the root where `/` has no layer of its own. */
  readonly base: string | undefined;
  readonly layers: readonly { readonly path: string; readonly lower: string }[];
  /** Folders of the machine shown as they are, read-only. */
  readonly shown: readonly string[];
  readonly privileged: boolean;
  /** A root that is the machine's own: its /run is not for pods to see. */
  readonly ownRun: boolean;
  readonly overlayOptions: readonly string[];
}

/** The mounts that make the new root, before the pivot. */
export function rootMounts(p: RootPlan): MountLine[] {
  const root = `${p.dir}/rootfs`;
  const at = (path: string) => (path === "/" ? root : `${root}${path}`);
  return [
    ...(p.base === undefined ? [] : [{ source: p.base, target: root, type: "none", options: ["bind"] }]),
    ...p.layers.map((l, i): MountLine => ({ source: "overlay", target: at(l.path), type: "overlay", options: [`lowerdir=${l.lower}`, `upperdir=${p.dir}/upper/${i}`, `workdir=${p.dir}/work/${i}`, ...p.overlayOptions] })),
    ...p.shown.map((path): MountLine => ({ source: path, target: at(path), type: "none", options: ["rbind", "ro"] })),
    ...(p.ownRun ? [{ source: "tmpfs", target: `${root}/run`, type: "tmpfs", options: ["mode=755", "nosuid", "nodev"] }] : []),
    { source: "proc", target: `${root}/proc`, type: "proc", options: ["nosuid", "nodev", "noexec"] },
    { source: `${p.dir}/dev`, target: `${root}/dev`, type: "none", options: ["bind"] },
    { source: "sysfs", target: `${root}/sys`, type: "sysfs", options: ["nosuid", "nodev", "noexec", ...(p.privileged ? [] : ["ro"])] },
  ];
}

/** The mounts made inside the new root, so that an image's symlinks cannot lead out of it. `bind` sources are host paths. */
export function innerMounts(p: { readonly oldRoot: string; readonly tools: string; readonly devices: readonly string[]; readonly readOnly: readonly string[]; readonly binds: readonly Bind[] }): MountLine[] {
  const old = `/dev/${p.oldRoot}`;
  return [
    { source: `${old}${p.tools}`, target: TOOLS_INSIDE, type: "none", options: ["bind", "ro"] },
    ...p.devices.map((d): MountLine => ({ source: `${old}/dev/${d}`, target: `/dev/${d}`, type: "none", options: ["bind"] })),
    { source: "devpts", target: "/dev/pts", type: "devpts", options: ["newinstance", "ptmxmode=0666", "mode=0620", "nosuid", "noexec"] },
    { source: "tmpfs", target: "/dev/shm", type: "tmpfs", options: ["mode=1777", "size=64m", "nosuid", "nodev"] },
    ...p.readOnly.map((path): MountLine => ({ source: path, target: path, type: "none", options: ["bind", "ro"] })),
    ...p.binds.map((b): MountLine => ({ source: `${old}${b.source}`, target: b.target, type: "none", options: [b.file ? "bind" : "rbind", b.propagate ? "rslave" : "rprivate", ...(b.readOnly ? ["ro"] : [])] })),
  ];
}
export interface Bind { readonly source: string; readonly target: string; readonly readOnly: boolean; readonly file: boolean; readonly propagate: boolean }
