// Owns one run of one container: its folder, its process, how it is seen to start and end, and how it is killed.
import { spawn } from "node:child_process";
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, watch, writeFileSync, type FSWatcher } from "node:fs";
import { dirname, join, relative } from "node:path";
import { randomHex } from "@ambit/runtime";
import { runCommand, SYSTEM_PATH, tryCommand } from "./command.ts";
import type { NodeRoot } from "./node-root.ts";
import { resolveInRoot } from "./paths.ts";
import { copyAttributes, makeMountPoint, type Layer } from "./mount-points.ts";
import { overlayPath, renderFstab } from "./plan/fstab.ts";
import { DEVICES, innerMounts, PRIVILEGED_DEVICES, PROTECTED, renderInitScript, renderShimScript, rootMounts, TOOLS_INSIDE, type Bind, type ProcessPlan } from "./plan/init-script.ts";

/** What is kept on disk of a run: enough to adopt it after the kubelet restarted, and to run commands in it. */
export interface ContainerRecord {
  readonly id: string; readonly name: string; readonly attempt: number; readonly imageId: string; readonly createdAtMs: number;
  readonly process: ProcessPlan; readonly logFile: string; readonly netns: string | undefined;
}
export interface StartPlan {
  readonly dir: string;
  readonly name: string; readonly attempt: number; readonly imageId: string;
  /** Root folder of the image; undefined = the machine's own `/` (a local command). */
  readonly imageRoot: string | undefined;
  readonly netns: string | undefined;
  readonly hostname: string;
  readonly privileged: boolean; readonly readOnlyRoot: boolean;
  readonly process: ProcessPlan;
  readonly binds: readonly Bind[];
  readonly terminationMessagePath: string;
  readonly logFile: string;
}
export interface ContainerExit { readonly code: number; readonly finishedAtMs: number }

/** Enough for a proxy with 1,000 connections of its pods; the machine's own hard limit still holds. */
const OPEN_FILES = 1_048_576;
/** How often an adopted run is checked for having vanished without a word (its shim was killed too). */
const LOST_CHECK_MS = 2_000;
/** The exit code of a run that vanished. */
const LOST_CODE = 137;

export class Container {
  readonly record: ContainerRecord;
  readonly dir: string;
  /** Resolves when the user's command was started; rejects with the set-up's words when it never was. */
  readonly started: Promise<void>;
  readonly exited: Promise<ContainerExit>;
  #exit: ContainerExit | undefined;
  #watcher: FSWatcher | undefined;
  #check: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(dir: string, record: ContainerRecord) {
    this.dir = dir;
    this.record = record;
    const start = Promise.withResolvers<void>();
    const end = Promise.withResolvers<ContainerExit>();
    this.started = start.promise;
    this.exited = end.promise;
    start.promise.catch(() => undefined);
    const check = () => {
      if (this.#exit !== undefined) return;
      if (existsSync(join(dir, "started"))) start.resolve();
      const exit = this.#readExit();
      if (exit === undefined) return;
      this.#exit = exit;
      this.close();
      if (existsSync(join(dir, "started"))) start.resolve();
      else start.reject(new Error(this.#setupLog()));
      end.resolve(exit);
    };
    this.#check = check;
    this.#watcher = watch(dir, check);
    this.#watcher.on("error", check);
    this.#timer = setInterval(() => { if (existsSync(join(dir, "pid")) && !this.alive && !this.#shimAlive()) this.#lost(); check(); }, LOST_CHECK_MS);
    this.#timer.unref();
    check();
  }

  get exit(): ContainerExit | undefined { return this.#exit; }
  get startedAtMs(): number { return existsSync(join(this.dir, "started")) ? statSync(join(this.dir, "started")).mtimeMs : this.record.createdAtMs; }

  /** The container's first process as the lab sees it, or undefined before it exists or after it is gone. */
  get pid(): number | undefined {
    return livePid(join(this.dir, "pid"));
  }
  get alive(): boolean { return this.pid !== undefined; }

  signal(name: NodeJS.Signals): void {
    const pid = this.pid;
    if (pid === undefined) return;
    try { process.kill(pid, name); } catch (error) { if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; }
  }

  /** Stops looking; the process goes on. */
  close(): void {
    this.#watcher?.close();
    clearInterval(this.#timer);
    this.#check = undefined;
  }

  /** Called when our own child, the shim, ended. */
  shimEnded(): void {
    if (this.#exit === undefined && !existsSync(join(this.dir, "exit"))) this.#lost();
    this.#check?.();
  }

  /** Why the command was never reached, once that is certain. */
  setupError(): string | undefined {
    return this.#exit !== undefined && !existsSync(join(this.dir, "started")) ? this.#setupLog() : undefined;
  }

  terminationMessage(): string {
    return readEnd(join(this.dir, "termination-log"), 4096);
  }

  /** Ends whatever still runs and removes what the run left, except its exit status. */
  async clean(): Promise<void> {
    this.signal("SIGKILL");
    for (const part of ["rootfs", "base", "upper", "work", "dev"]) rmSync(join(this.dir, part), { recursive: true, force: true });
  }

  #readExit(): ContainerExit | undefined {
    const path = join(this.dir, "exit");
    if (!existsSync(path)) return undefined;
    const text = readFileSync(path, "utf8").trim();
    return text === "" ? undefined : { code: Number(text) & 255, finishedAtMs: statSync(path).mtimeMs };
  }
  #shimAlive(): boolean { return livePid(join(this.dir, "shim")) !== undefined; }
  #lost(): void { if (!existsSync(join(this.dir, "exit"))) writeFileSync(join(this.dir, "exit"), `${LOST_CODE}\n`); }
  #setupLog(): string { return readEnd(join(this.dir, "setup.log"), 1000).trim() || "the container's set-up ended without a word"; }
}

/** A pid file holds a line of /proc/PID/stat: its start time tells a reused number. */
export function livePid(path: string): number | undefined {
  try {
    const saved = readFileSync(path, "utf8");
    const pid = Number(saved.split(" ")[0]);
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return startTicks(saved) === startTicks(stat) && !/\) [ZX] /.test(stat) ? pid : undefined;
  } catch {
    return undefined;
  }
}
/** Field 22; the command in field 2 may hold anything, so count from its closing bracket. */
const startTicks = (stat: string): string => stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";

function readEnd(path: string, maxBytes: number): string {
  try {
    return readFileSync(path).subarray(-maxBytes).toString("utf8");
  } catch {
    return "";
  }
}

/** Makes the folder, starts the shim, and returns at once; `started` says how it went. */
export async function startContainer(node: NodeRoot, plan: StartPlan): Promise<Container> {
  const { dir } = plan;
  rmSync(dir, { recursive: true, force: true });
  for (const d of ["rootfs", "upper", "work", "dev", "dev/pts", "dev/shm"]) mkdirSync(join(dir, d), { recursive: true, mode: 0o755 });
  const oldRoot = `.old-${randomHex(8)}`;
  const { machine } = node;
  const local = plan.imageRoot === undefined;
  const layers = (plan.imageRoot === undefined ? machine.layers : ["/"]).map((path, i) => ({ path, lower: plan.imageRoot ?? path, upper: join(dir, "upper", String(i)) }));
  for (const [i, l] of layers.entries()) {
    for (const d of ["upper", "work"]) mkdirSync(join(dir, d, String(i)), { mode: 0o755 });
    copyAttributes(l.upper, statSync(l.lower));
  }
  const base = local && machine.links !== undefined ? join(dir, "base") : undefined;
  if (base !== undefined) {
    for (const path of ["/run", ...machine.layers, ...machine.binds]) mkdirSync(join(base, path), { recursive: true, mode: 0o755 });
    for (const [name, target] of machine.links ?? []) symlinkSync(target, join(base, name));
  }
  for (const path of ["/proc", "/sys", "/dev"]) makeMountPoint(layers, base, path, false);
  const devices = prepareDev(dir, oldRoot, plan.privileged);
  const termination = join(dir, "termination-log");
  writeFileSync(termination, "", { mode: 0o666 });
  chmodSync(termination, 0o666);
  // Where the image's own links lead: the same answer as inside, for its root does not change before the mounts are made.
  const inRoot = (path: string) => { const from = plan.imageRoot ?? "/"; return `/${relative(from, resolveInRoot(from, path))}`; };
  const binds: Bind[] = [...plan.binds.map((b) => ({ ...b, target: inRoot(b.target) })), { source: termination, target: plan.terminationMessagePath, readOnly: false, file: true, propagate: false }];
  const record: ContainerRecord = { id: `${randomHex(32)}`, name: plan.name, attempt: plan.attempt, imageId: plan.imageId, createdAtMs: Date.now(), process: plan.process, logFile: plan.logFile, netns: plan.netns };
  writeFileSync(join(dir, "fstab-root"), renderFstab(rootMounts({ dir, base, layers: layers.map((l) => ({ path: l.path, lower: overlayPath(l.lower) })), shown: local ? machine.binds : [], privileged: plan.privileged, ownRun: local, overlayOptions: machine.overlayOptions })));
  writeFileSync(join(dir, "fstab"), renderFstab(innerMounts({ oldRoot, tools: node.tools, devices, readOnly: plan.privileged ? [] : PROTECTED.filter((f) => existsSync(f)), binds })));
  const { files, directories } = mountTargets(binds, inRoot(plan.process.cwd), local, layers, base);
  writeFileSync(join(dir, "init.sh"), renderInitScript({
    dir, tools: node.tools, loader: node.loader, oldRoot, hostname: plan.hostname, directories, files,
    readOnlyRoot: plan.readOnlyRoot, openFiles: await openFilesLimit(), process: plan.process,
  }), { mode: 0o600 });
  writeFileSync(join(dir, "record.json"), JSON.stringify(record), { mode: 0o600 });
  await runCommand(["mkfifo", join(dir, "stdout"), join(dir, "stderr")]);
  requestLog(node, record, dir);
  const container = new Container(dir, record);
  const setup = openSync(join(dir, "setup.log"), "w", 0o600);
  writeFileSync(join(dir, "shim.sh"), renderShimScript(dir, plan.netns), { mode: 0o600 });
  try {
    const child = spawn("sh", [join(dir, "shim.sh")], { detached: true, stdio: ["ignore", setup, setup], env: { PATH: SYSTEM_PATH }, cwd: "/" });
    child.on("exit", () => container.shimEnded());
    child.on("error", () => container.shimEnded());
    child.unref();
  } finally {
    closeSync(setup);
  }
  return container;
}

/** Asks the log writer to read this run's output; the request stays until the output ended. */
function requestLog(node: NodeRoot, record: ContainerRecord, dir: string): void {
  const request = join(node.logRequests, `${record.id}.json`);
  mkdirSync(dirname(record.logFile), { recursive: true });
  writeFileSync(`${request}.new`, JSON.stringify({ stdout: join(dir, "stdout"), stderr: join(dir, "stderr"), file: record.logFile }));
  renameSync(`${request}.new`, request);
}

/**
 * Makes what the mounts need: in the layers, or in the volume that a target lies in. What lies in a file system that the container's set-up
 * makes (/dev, and /run of a local command) is returned, for it to make.
 */
function mountTargets(binds: readonly Bind[], cwd: string, ownRun: boolean, layers: readonly Layer[], base: string | undefined): { files: string[]; directories: string[] } {
  const files: string[] = [];
  const directories: string[] = [];
  const made = ["/dev", "/proc", "/sys", ...(ownRun ? ["/run"] : [])];
  for (const b of [...binds, { target: cwd, file: false }]) {
    const around = binds.filter((a) => a !== b && !a.file && b.target.startsWith(`${a.target}/`)).sort((x, y) => y.target.length - x.target.length)[0];
    if (around !== undefined) {
      const there = resolveInRoot(around.source, b.target.slice(around.target.length));
      if (existsSync(there)) continue;
      mkdirSync(b.file ? dirname(there) : there, { recursive: true });
      if (b.file) writeFileSync(there, "");
    } else if (made.some((m) => b.target.startsWith(`${m}/`))) {
      if (b.file) files.push(b.target);
      directories.push(b.file ? dirname(b.target) : b.target);
    } else if (b.target !== "/") makeMountPoint(layers, base, b.target, b.file);
  }
  return { files, directories: [...new Set(directories)].filter((d) => !made.includes(d)) };
}

function prepareDev(dir: string, oldRoot: string, privileged: boolean): string[] {
  const dev = join(dir, "dev");
  const devices = [...DEVICES, ...(privileged ? PRIVILEGED_DEVICES : [])].filter((d) => existsSync(`/dev/${d}`));
  for (const d of devices) {
    mkdirSync(dirname(join(dev, d)), { recursive: true });
    writeFileSync(join(dev, d), "");
  }
  for (const d of [oldRoot, TOOLS_INSIDE.slice("/dev/".length)]) mkdirSync(join(dev, d));
  for (const [name, to] of [["fd", "/proc/self/fd"], ["stdin", "/proc/self/fd/0"], ["stdout", "/proc/self/fd/1"], ["stderr", "/proc/self/fd/2"], ["ptmx", "pts/ptmx"]] as const) symlinkSync(to, join(dev, name));
  return devices;
}

let openFiles: Promise<number> | undefined;
function openFilesLimit(): Promise<number> {
  openFiles ??= tryCommand(["sh", "-c", "ulimit -Hn"]).then(({ stdout }) => { const hard = Number(stdout.trim()); return Number.isInteger(hard) && hard > 0 ? Math.min(hard, OPEN_FILES) : OPEN_FILES; });
  return openFiles;
}
