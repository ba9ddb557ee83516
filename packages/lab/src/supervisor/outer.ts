// Owns a lab seen from the machine: starts its namespaces, carries its API to a loopback port, and ends it without a trace.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseKubeconfig } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";
import { writeKubeconfig } from "../pki.ts";
import type { Word } from "./inner.ts";
import { layoutOf, type LabLayout } from "./layout.ts";
import { startRelay, type Relay } from "./relay.ts";

export interface LabOptions {
  readonly state: string;
  readonly nodes: number;
  /** Preferred loopback port of the API server; a free one is taken when it is busy. */
  readonly port: number;
  readonly onStep?: (text: string) => void;
  /** A process of the lab ended and is being started again. */
  readonly onExit?: (name: string, how: string) => void;
}
/** What is known of a running lab, kept in STATE/lab.json for the other commands. */
export interface LabRecord {
  /** The process that holds the lab open. */
  readonly keeper: number;
  /** Process 1 of the lab, as the machine numbers it: the way in for nsenter. */
  readonly init: number;
  readonly initStart: string;
  readonly port: number;
  readonly nodes: number;
  readonly rootless: boolean;
}
export interface Lab {
  readonly layout: LabLayout;
  readonly record: LabRecord;
  /** Resolves when the inside ended by itself, with the reason. */
  readonly ended: Promise<string>;
  stop(options?: { keep?: boolean }): Promise<void>;
}

export class LabError extends Error {}

const START_TIMEOUT_MS = 60_000;
/** The inside flushes its API server; then the kernel is asked to end it. */
const STOP_TIMEOUT_MS = 6_000;
/** sun_path, without its closing NUL. */
const SOCKET_PATH_MAX = 107;
export const DEFAULT_PORT = 26443;

/** Throws LabError naming what is missing or already running. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const layout = layoutOf(options.state, options.nodes);
  const known = readRecord(options.state);
  if (known !== undefined) throw new LabError(`a lab is already running (process ${known.keeper}, state ${options.state}): see "ambit lab status", end it with "ambit lab down"`);
  const socketLength = Buffer.byteLength(layout.apiSocket);
  if (socketLength > SOCKET_PATH_MAX) throw new LabError(`the state folder's path is too long: ${layout.apiSocket} has ${socketLength} bytes, a socket's path at most ${SOCKET_PATH_MAX}; choose another with --state`);
  mkdirSync(options.state, { recursive: true });
  rmSync(layout.apiSocket, { force: true });
  const rootless = process.getuid?.() !== 0;
  const child = spawn("setpriv", insideCommand(layout, options.nodes, rootless), { stdio: ["pipe", "pipe", "inherit"], detached: true });
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit ${code}`));
  });
  try {
    await isUp(child, ended, options);
    const relay = await startRelay(options.port, layout.apiSocket);
    writeHostKubeconfig(layout, relay.port);
    const init = innerPid(child.pid ?? 0);
    const record: LabRecord = { keeper: process.pid, init, initStart: startOf(init) ?? "", port: relay.port, nodes: options.nodes, rootless };
    writeFileSync(`${layout.record}.new`, `${JSON.stringify(record)}\n`);
    renameSync(`${layout.record}.new`, layout.record);
    return { layout, record, ended, stop: (o) => stopLab(child, ended, relay, layout, o?.keep === true) };
  } catch (error) {
    await killInside(child, ended);
    throw error;
  }
}

/** Process 1 collects every orphan of the lab, which Node would leave as zombies, and ends with the program it started. */
const INIT = 'exec 3<&0; "$@" <&3 3<&- & exec 3<&-; wait $!';

/** One private world: if this process dies in any way, the kernel kills setpriv's child, its pid namespace, and all with it. */
function insideCommand(layout: LabLayout, nodes: number, rootless: boolean): string[] {
  const namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private"];
  if (rootless) namespaces.unshift("--user", "--map-root-user");
  return ["--pdeathsig", "KILL", "unshare", ...namespaces, "sh", "-c", INIT, "sh", process.execPath, join(import.meta.dirname, "inner.ts"), layout.state, String(nodes)];
}

async function isUp(child: ChildProcess, ended: Promise<string>, options: LabOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = systemClock.after(START_TIMEOUT_MS, () => reject(new LabError(`the lab did not start within ${START_TIMEOUT_MS / 1000} s; its logs are in ${join(options.state, "logs")}`)), { hold: true });
    let last = "";
    void ended.then((how) => { timer.cancel(); reject(new LabError(last === "" ? `the lab's namespaces cannot be made here (${how}): namespaces for mount, pid and net are needed${process.getuid?.() === 0 ? "" : ", and for others than root unprivileged user namespaces"}` : last)); });
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const word = JSON.parse(line) as Word;
      if (word.kind === "step") options.onStep?.(word.text);
      else if (word.kind === "exit") options.onExit?.(word.name, word.how);
      else if (word.kind === "failed") last = word.error;
      else { timer.cancel(); resolve(); }
    });
  });
}

async function stopLab(child: ChildProcess, ended: Promise<string>, relay: Relay, layout: LabLayout, keep: boolean): Promise<void> {
  await relay.close();
  child.stdin?.end();
  await killInside(child, ended);
  if (keep) for (const file of [layout.record, layout.apiSocket]) rmSync(file, { force: true });
  else rmSync(layout.state, { recursive: true, force: true });
}

async function killInside(child: ChildProcess, ended: Promise<string>): Promise<void> {
  const timer = systemClock.after(STOP_TIMEOUT_MS, () => child.kill("SIGKILL"), { hold: true });
  child.stdin?.end();
  await ended;
  timer.cancel();
}

/** The administrator's credentials with the relay's address: what the user's kubectl reads. */
function writeHostKubeconfig(layout: LabLayout, port: number): void {
  const admin = parseKubeconfig(readFileSync(layout.adminKubeconfig, "utf8"), layout.adminKubeconfig);
  writeKubeconfig(layout.kubeconfig, {
    server: `https://127.0.0.1:${port}`, ca: admin.ca ?? "", user: "admin",
    ...(admin.cert === undefined ? {} : { cert: admin.cert }), ...(admin.key === undefined ? {} : { key: admin.key }),
  });
}

/** The lab that runs on this state folder, if its process still does. */
export function readRecord(state: string): LabRecord | undefined {
  const file = layoutOf(state, 1).record;
  if (!existsSync(file)) return undefined;
  try {
    const record = JSON.parse(readFileSync(file, "utf8")) as LabRecord;
    return startOf(record.init) === record.initStart ? record : undefined;
  } catch {
    return undefined;
  }
}

/** setpriv became unshare; unshare's only child is process 1 of the lab. */
function innerPid(unshare: number): number {
  const children = readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  const [pid] = children;
  if (pid === undefined) throw new LabError("the lab ended while it started");
  return pid;
}

/** Start time of a process in clock ticks: with the pid it names one process for ever. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Dead, and only not buried yet.
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/**
 * The command that runs `command` inside the lab: on the fabric, or in a node's network namespace. It keeps the machine's pid
 * namespace, so that nsenter needs no process of its own in between and signals reach the command itself.
 */
export function enterCommand(record: LabRecord, node: string | undefined, command: readonly string[]): string[] {
  const enter = ["nsenter", "-t", String(record.init), "-m", "-n", "-i", "-u", ...(record.rootless ? ["-U", "--preserve-credentials"] : []), "--"];
  return node === undefined ? [...enter, ...command] : [...enter, "nsenter", `--net=/run/netns/${node}`, "--", ...command];
}
