// Owns a node's own view of a file system: STATE/nodes/NODE/root, an overlay over the machine's with the node's own /run and CNI folders.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { runCommand, tryCommand } from "./command.ts";
import { copyAttributes, makeMountPoint } from "./mount-points.ts";
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
  readonly machine: MachineView;
}

/** How containers of local commands see the machine's files: through layers they may write to and that end with them. */
export interface MachineView {
  /** Folders that get a layer of their own, parents first: `/` and separate file systems, or every top-level folder. */
  readonly layers: readonly string[];
  /** Folders that cannot be layered (a user namespace hides what lies under their mounts): shown read-only. */
  readonly binds: readonly string[];
  /** Set when `/` itself cannot be layered: its symbolic links, to be made in an empty root. */
  readonly links: readonly (readonly [name: string, target: string])[] | undefined;
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
    for (const dir of ["etc-cni/net.d", "opt-cni/bin", "var-lib-cni/results", "var-lib-cni/networks"]) mkdirSync(join(own, dir), { recursive: true });
    const machine = await mountMachine(mounted, state, root, own);
    const bind = (source: string, target: string, type = "none", ...options: string[]): MountLine => ({ source, target: join(root, target), type, options });
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
    writeFileSync(saved, JSON.stringify(machine));
  }
  const machine = JSON.parse(readFileSync(saved, "utf8")) as MachineView;
  return { state, pods, root, logs, tools, loader, logRequests, machine };
}

/** Mounts the machine's files at `root` and says how, for containers to do the same. */
async function mountMachine(mounted: readonly MountPoint[], state: string, root: string, own: string): Promise<MachineView> {
  // In a user namespace overlayfs keeps its marks in user.* attributes.
  const initialUser = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map", "utf8"));
  const overlayOptions = initialUser ? [] : ["userxattr"];
  let count = 0;
  const layer = async (path: string): Promise<string | undefined> => {
    const [upper, work] = [join(own, "upper", String(count)), join(own, "work", String(count))];
    count++;
    for (const dir of [upper, work]) mkdirSync(dir, { recursive: true });
    copyAttributes(upper, statSync(path));
    const inside = ["run", "proc", "dev", "sys", "var/log/pods", ...OWN.map(([target]) => target)].map((t) => `/${t}`).filter((t) => path === "/" || t.startsWith(`${path}/`));
    for (const t of inside) makeMountPoint([{ path, lower: path, upper }], undefined, t, false);
    const option = [`lowerdir=${overlayPath(path)}`, `upperdir=${overlayPath(upper)}`, `workdir=${overlayPath(work)}`, ...overlayOptions].join(",");
    const { code, stderr } = await tryCommand(["mount", "-t", "overlay", "overlay", "-o", option, join(root, path)]);
    return code === 0 ? undefined : stderr.trim();
  };
  const hidden = ["/proc", "/sys", "/dev", "/run", state];
  const isHidden = (path: string) => hidden.some((s) => path === s || path.startsWith(`${s}/`));
  const layers: string[] = [];
  const binds: string[] = [];
  let links: [string, string][] | undefined;
  const whole = await layer("/");
  if (whole === undefined) layers.push("/");
  else {
    if (initialUser) throw new Error(`cannot make an overlay of /: ${whole}`);
    links = [];
    const base = join(own, "base");
    mkdirSync(base);
    for (const dir of ["run", "proc", "dev", "sys"]) mkdirSync(join(base, dir));
    await runCommand(["mount", "--bind", base, root]);
    for (const e of readdirSync("/", { withFileTypes: true })) {
      const path = `/${e.name}`;
      if (e.isSymbolicLink()) {
        links.push([e.name, readlinkSync(path)]);
        symlinkSync(readlinkSync(path), join(base, e.name));
      } else if (e.isDirectory() && !isHidden(path)) {
        mkdirSync(join(base, e.name));
        if ((await layer(path)) === undefined) layers.push(path);
        else if ((await tryCommand(["mount", "--rbind", "-o", "ro", path, join(root, path)])).code === 0) binds.push(path);
      }
    }
  }
  const separate = mounted.filter((m) => m.path !== "/" && DISK_TYPES.has(m.type) && !(m.type === "tmpfs" && m.readOnly) && !isHidden(m.path) && !binds.some((b) => m.path.startsWith(`${b}/`)));
  // One that cannot be layered stays out of sight for pods.
  for (const m of separate.slice(0, MACHINE_MOUNTS_MAX)) if (!layers.includes(m.path) && (await layer(m.path)) === undefined) layers.push(m.path);
  return { layers, binds, links, overlayOptions };
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
