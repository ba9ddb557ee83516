// Owns starting an image's program in nothing but its own root: read-only, without a network but loopback, without the machine's files.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import assert from "node:assert/strict";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadImageArchive, type Image } from "@ambit/lab/images";
import type { Part } from "./components.ts";
import type { BuiltImage } from "./image.ts";

/** Far beyond any start. */
const START_TIMEOUT_MS = 30_000;
const LOOK_EVERY_MS = 5;
const SHOWN_CHARS = 4_000;

export interface Booting {
  readonly image: Image;
  /** The unpacked root, absolute. */
  readonly root: string;
  /** Folder that is /tmp in there. */
  readonly tmp: string;
  /** Folders of the machine, by where they appear below the root. */
  readonly mounts?: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  /** A TCP port that the program listens on once it has started. */
  readonly port: number;
  /** How long it may take, milliseconds. */
  readonly limitMs?: number;
}

const TOKEN = `${"t".repeat(40)},istio-system/ztunnel\n`;
/** What each program needs to come up without a cluster. */
const MINIMAL: Readonly<Record<Part, Readonly<Record<string, string>>>> = {
  "istiod-lite": { AMBIT_CONFIG_DIR: "/tmp/config", AMBIT_TOKENS_FILE: "/tmp/tokens", ROOT_CA_DIR: "/tmp/ca" }, waypoint: { GATEWAY_NAME: "waypoint" },
  ztunnel: { XDS_ADDRESS: "127.0.0.1:1", ZTUNNEL_WORKER_THREADS: "2" }, cni: { NODE_NAME: "node", KUBERNETES_SERVICE_HOST: "127.0.0.1" },
};
/** Each says by one that it has come up. */
export const PORTS: Readonly<Record<Part, number>> = { "istiod-lite": 15012, waypoint: 15008, ztunnel: 15021, cni: 8000 };

/** The archive as a root file system in `store`, a new folder, with what the kubelet would mount. */
export async function unpack(part: Part, built: BuiltImage, store: string): Promise<{ image: Image; booting: Omit<Booting, "port"> }> {
  mkdirSync(store);
  const archive = join(store, "image.tar");
  writeFileSync(archive, built.archive);
  const [image] = await loadImageArchive(store, archive);
  assert.ok(image?.root !== undefined);
  const tmp = join(store, "tmp");
  for (const folder of ["", "config", "ca"]) mkdirSync(join(tmp, folder));
  writeFileSync(join(tmp, "tokens"), TOKEN, { mode: 0o600 });
  chmodSync(tmp, 0o1777);
  const [uid = 0, gid = 0] = image.user.split(":").map(Number);
  for (const path of ["ca", "tokens"]) chownSync(join(tmp, path), uid, gid);
  const root = join(store, image.root);
  // The kubelet's mount, which only the agent cannot start without.
  const account = join(store, "account");
  mkdirSync(account);
  for (const name of ["token", "ca.crt", "namespace"]) writeFileSync(join(account, name), name);
  const mountPoint = "run/secrets/kubernetes.io/serviceaccount";
  mkdirSync(join(root, mountPoint), { recursive: true });
  return { image, booting: { image, root, tmp, mounts: { [mountPoint]: account }, env: MINIMAL[part] } };
}

const SCRIPT = `
ip link set lo up
mount --bind "$ROOT" "$ROOT"
for pair in $MOUNTS; do mount --bind "\${pair#*=}" "$ROOT/\${pair%%=*}"; done
mount -t proc proc "$ROOT/proc"
mount -o remount,bind,ro "$ROOT"
exec chroot --userspec="$USERSPEC" "$ROOT" "$@"`;

/** Runs a command in the root and gives what it printed; throws where it fails. */
export async function runIn(b: Omit<Booting, "port">, command: readonly string[]): Promise<string> {
  const { child, output } = begin(b, command);
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${command.join(" ")}: exit ${code}: ${output().slice(-SHOWN_CHARS)}`);
  return output();
}

/** Milliseconds from exec until the port listens; then the process is asked to end and its exit awaited. */
export async function boot(b: Booting): Promise<{ startMs: number; log: string }> {
  const started = performance.now();
  const { child, output } = begin(b, b.image.entrypoint);
  const closed = once(child, "close");
  try {
    while (!listens(child.pid ?? 0, b.port)) {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${output().slice(-SHOWN_CHARS)}`);
      if (performance.now() - started > (b.limitMs ?? START_TIMEOUT_MS)) throw new Error(`port ${b.port} does not listen: ${output().slice(-SHOWN_CHARS)}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    return { startMs: performance.now() - started, log: output() };
  } finally {
    end(child);
    await closed;
  }
}

/** Kills the first process of the pid namespace: everything in it ends with it. (--kill-child does not reach one that changed its user.) */
function end(child: ChildProcess): void {
  const children = `/proc/${child.pid}/task/${child.pid}/children`;
  const inside = existsSync(children) ? readFileSync(children, "utf8").trim() : "";
  if (inside === "") child.kill("SIGKILL");
  else process.kill(Number(inside), "SIGKILL");
}

function begin(b: Omit<Booting, "port">, command: readonly string[]): { child: ChildProcess; output: () => string } {
  const mounts = Object.entries({ tmp: b.tmp, ...b.mounts }).map(([to, from]) => `${to}=${from}`).join(" ");
  const child = spawn("unshare", ["--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-e", "-c", SCRIPT, "sh", ...command], {
    stdio: ["ignore", "pipe", "pipe"], env: { ...b.image.env, PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...b.env, ROOT: b.root, MOUNTS: mounts, USERSPEC: b.image.user },
  });
  let text = "";
  const take = (chunk: Buffer): void => { text += chunk.toString("utf8"); };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  return { child, output: () => text };
}

const LISTEN = "0A";

/** As the kernel tells of that process's network namespace. */
function listens(pid: number, port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return ["tcp", "tcp6"].some((table) => {
    try {
      return readFileSync(`/proc/${pid}/net/${table}`, "utf8").split("\n").some((line) => { const f = line.trim().split(/\s+/); return f[1]?.endsWith(local) === true && f[3] === LISTEN; });
    } catch {
      return false; // ended: the caller sees its exit code
    }
  });
}
