// Owns a node's own view of a file system: STATE/nodes/NODE/root, an overlay over the machine's with the node's own /run and CNI folders.
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { runCommand, tryCommand } from "./command.ts";
import { overlayPath, renderFstab, type MountLine } from "./plan/fstab.ts";

export interface NodeRoot {
  /** STATE/nodes/NODE, with no symbolic link in it. */
  readonly state: string;
  /** Pods' folders, on a tmpfs: they end with the lab, as a node's memory does. */
  readonly pods: string;
  /** The root that hostPath volumes and CNI plugins see. */
  readonly root: string;
  /** Container logs, on disk: they survive the lab. */
  readonly logs: string;
  readonly tools: string;
  readonly loader: string;
  readonly logRequests: string;
  /** File systems of the machine besides `/` that containers of local commands see too. */
  readonly machineMounts: readonly string[];
  readonly overlayOptions: readonly string[];
}

/** Programs a container's set-up needs after the machine's own have gone out of sight. */
const TOOLS = ["mount", "umount", "mkdir", "setpriv", "env"];
const DISK_TYPES = new Set(["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs", "9p", "virtiofs", "nfs", "nfs4", "fuseblk", "squashfs"]);
/** A machine with more separate file systems than this shows the first ones only. */
const MACHINE_MOUNTS_MAX = 16;
/** Folders of the node that must not show the machine's. */
const OWN = [["etc/cni", "etc-cni"], ["opt/cni", "opt-cni"], ["var/lib/cni", "var-lib-cni"]] as const;

/** Idempotent: after a restart of the kubelet it finds the mounts it made. Must run in the node's network namespace. */
export async function prepareNodeRoot(stateDir: string): Promise<NodeRoot> {
  mkdirSync(stateDir, { recursive: true });
  const state = realpathSync(stateDir);
  const [pods, root, logs] = [join(state, "pods"), join(state, "root"), join(state, "log", "pods")];
  for (const dir of [pods, root, logs]) mkdirSync(dir, { recursive: true });
  const tools = join(pods, ".tools");
  const own = join(pods, ".node");
  const mounted = mountPoints();
  if (!mounted.some((m) => m.path === pods)) await runCommand(["mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", pods]);
  const loader = await installTools(tools);
  const logRequests = join(pods, ".logs");
  mkdirSync(logRequests, { recursive: true });
  const saved = join(own, "overlay.json");
  if (!mounted.some((m) => m.path === root)) {
    for (const dir of ["upper", "work", ...OWN.map(([, name]) => name)]) mkdirSync(join(own, dir), { recursive: true });
    for (const dir of ["etc-cni/net.d", "opt-cni/bin", "var-lib-cni/results", "var-lib-cni/networks"]) mkdirSync(join(own, dir), { recursive: true });
    const overlayOptions = await mountOverlay("/", root, join(own, "upper"), join(own, "work"));
    const machineMounts = await mountMachine(mounted, state, root, own, overlayOptions);
    const bind = (source: string, target: string, type = "none", ...options: string[]): MountLine => ({ source, target: join(root, target), type, options: [...options, "X-mount.mkdir"] });
    const fstab = join(own, "fstab");
    writeFileSync(fstab, renderFstab([
      bind("tmpfs", "run", "tmpfs", "mode=755"),
      bind("/proc", "proc", "none", "rbind", "rprivate"),
      bind("/dev", "dev", "none", "rbind", "rprivate"),
      bind("sysfs", "sys", "sysfs", "nosuid", "nodev", "noexec"),
      ...OWN.map(([target, name]) => bind(join(own, name), target, "none", "bind")),
      bind(logs, "var/log/pods", "none", "bind"),
    ]));
    await runCommand(["mount", "-a", "-T", fstab]);
    mkdirSync(join(root, "run/netns"), { recursive: true });
    // Namespaces that appear under /run/netns later must appear in the pods that mounted it (HostToContainer).
    await runCommand(["mount", "--make-shared", join(root, "run")]);
    writeFileSync(saved, JSON.stringify({ overlayOptions, machineMounts }));
  }
  const { overlayOptions, machineMounts } = JSON.parse(readFileSync(saved, "utf8")) as Pick<NodeRoot, "overlayOptions" | "machineMounts">;
  return { state, pods, root, logs, tools, loader, logRequests, overlayOptions, machineMounts };
}

/** In a user namespace overlayfs keeps its marks in user.* attributes; where that is not possible either, it says so here. */
async function mountOverlay(lower: string, target: string, upper: string, work: string): Promise<string[]> {
  const argv = (extra: readonly string[]) => ["mount", "-t", "overlay", "overlay", "-o", [`lowerdir=${overlayPath(lower)}`, `upperdir=${overlayPath(upper)}`, `workdir=${overlayPath(work)}`, ...extra].join(","), target];
  const initialUser = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map", "utf8"));
  const choices = initialUser ? [[]] : [["userxattr"], []];
  let why = "";
  for (const extra of choices) {
    const { code, stderr } = await tryCommand(argv(extra));
    if (code === 0) return extra;
    why = stderr.trim();
  }
  throw new Error(`cannot make an overlay of ${lower}: ${why}`);
}

async function mountMachine(mounted: readonly MountPoint[], state: string, root: string, own: string, options: readonly string[]): Promise<string[]> {
  const skip = ["/proc", "/sys", "/dev", "/run", state];
  const wanted = mounted.filter((m) => m.path !== "/" && DISK_TYPES.has(m.type) && !(m.type === "tmpfs" && m.readOnly) && !skip.some((s) => m.path === s || m.path.startsWith(`${s}/`)));
  const done: string[] = [];
  for (const [i, m] of wanted.slice(0, MACHINE_MOUNTS_MAX).entries()) {
    const [upper, work] = [join(own, `upper-${i}`), join(own, `work-${i}`)];
    mkdirSync(upper);
    mkdirSync(work);
    const option = [`lowerdir=${overlayPath(m.path)}`, `upperdir=${overlayPath(upper)}`, `workdir=${overlayPath(work)}`, ...options].join(",");
    const { code } = await tryCommand(["mount", "-t", "overlay", "overlay", "-o", option, join(root, m.path)]);
    if (code === 0) done.push(m.path); // one that cannot be layered stays out of sight for pods
  }
  return done;
}

/** Copies the set-up tools with their libraries; returns the name of their dynamic loader. */
async function installTools(dir: string): Promise<string> {
  const mark = join(dir, ".loader");
  if (existsSync(mark)) return readFileSync(mark, "utf8");
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const files = new Set<string>();
  let loader = "";
  for (const name of TOOLS) {
    const path = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map((d) => join(d, name)).find((p) => existsSync(p));
    if (path === undefined) throw new Error(`the program "${name}" is missing: install util-linux and coreutils`);
    files.add(path);
    for (const line of (await runCommand(["ldd", path])).split("\n")) {
      const file = /(?:=>\s+)?(\/\S+)\s+\(0x/.exec(line)?.[1];
      if (file === undefined) continue;
      files.add(file);
      if (basename(file).startsWith("ld-")) loader = basename(file);
    }
  }
  if (loader === "") throw new Error("cannot find the dynamic loader of mount(8)");
  for (const file of files) copyFileSync(realpathSync(file), join(dir, basename(file)));
  writeFileSync(mark, loader);
  return loader;
}

interface MountPoint { readonly path: string; readonly type: string; readonly readOnly: boolean }

/** Mount points of our own namespace, in mount order. */
export function mountPoints(): MountPoint[] {
  const unescape = (s: string) => s.replace(/\\([0-7]{3})/g, (_, o: string) => String.fromCharCode(parseInt(o, 8)));
  return readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter((l) => l !== "").map((line) => {
    const fields = line.split(" ");
    return { path: unescape(fields[4] ?? ""), type: fields[fields.indexOf("-") + 1] ?? "", readOnly: (fields[5] ?? "").split(",").includes("ro") };
  });
}
