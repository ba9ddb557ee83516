// Owns the volumes of one pod: their folders, their contents kept current, and how each container mounts them.
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { KubeClient } from "@ambit/kube";
import { errorText, type Clock, type Logger } from "@ambit/runtime";
import { runCommand, tryCommand } from "../command.ts";
import { mountPoints, type NodeRoot } from "../node-root.ts";
import { resolveInRoot } from "../paths.ts";
import { parseQuantity, type NodeFacts } from "../plan/downward.ts";
import { expand } from "../plan/env.ts";
import type { Bind } from "../plan/init-script.ts";
import type { ContainerSpec, NodePod, Volume } from "../plan/pod-spec.ts";
import { volumeFiles } from "../plan/volume-files.ts";
import { writeAtomically } from "./atomic-dir.ts";
import type { ObjectCache } from "./object-cache.ts";
import { PodTokens } from "./tokens.ts";

/** hostPath volumes of these are the machine's own. */
const MACHINE_PATHS = ["/proc", "/sys", "/dev", "/lib/modules"];

export class PodVolumes {
  readonly #node: NodeRoot;
  readonly #objects: ObjectCache;
  readonly #log: Logger;
  readonly #tokens: PodTokens;
  readonly #dir: string;
  readonly #facts: () => NodeFacts;
  #pod: NodePod;
  #prepared = false;

  constructor(node: NodeRoot, objects: ObjectCache, client: KubeClient, clock: Clock, log: Logger, pod: NodePod, podDir: string, facts: () => NodeFacts) {
    this.#node = node;
    this.#objects = objects;
    this.#log = log;
    this.#pod = pod;
    this.#dir = join(podDir, "volumes");
    this.#facts = facts;
    this.#tokens = new PodTokens(client, clock, log, pod, () => this.refresh(this.#pod));
  }

  /** Makes every folder and file. Throws with the volume's name and the reason. */
  async prepare(): Promise<void> {
    await this.#objects.whenKnown(this.#pod.metadata.uid ?? "");
    await this.#tokens.ensure();
    for (const v of this.#pod.spec.volumes ?? []) {
      try {
        if (v.emptyDir !== undefined || Object.keys(v).length === 1) await this.#emptyDir(v);
        else if (v.hostPath !== undefined) this.#hostPath(v);
        else this.#files(v);
      } catch (error) {
        throw new Error(`MountVolume.SetUp failed for volume "${v.name}" : ${errorText(error)}`);
      }
    }
    this.#prepared = true;
  }

  /** Brings the contents of file volumes up to date; what fails keeps its last contents. */
  refresh(pod: NodePod): void {
    this.#pod = pod;
    if (!this.#prepared) return;
    for (const v of pod.spec.volumes ?? []) {
      if (v.configMap === undefined && v.secret === undefined && v.projected === undefined && v.downwardAPI === undefined) continue;
      try {
        this.#files(v);
      } catch (error) {
        this.#log.warn("a volume keeps its last contents", { pod: pod.metadata.name, volume: v.name, error: errorText(error) });
      }
    }
  }

  /** What a container mounts. Throws on a subPath that cannot be. */
  binds(container: ContainerSpec, env: Readonly<Record<string, string>>): Bind[] {
    return (container.volumeMounts ?? []).map((m): Bind => {
      const volume = this.#pod.spec.volumes?.find((v) => v.name === m.name);
      if (volume === undefined) throw new Error(`no volume "${m.name}"`);
      const base = this.#pathOf(volume);
      const sub = m.subPathExpr !== undefined ? expand(m.subPathExpr, (name) => env[name]) : (m.subPath ?? "");
      if (sub.startsWith("/") || sub.split("/").includes("..")) throw new Error(`subPath "${sub}" must be relative, without ".."`);
      const source = sub === "" ? base : resolveInRoot(base, sub);
      if (!existsSync(source)) mkdirSync(source, { recursive: true });
      const ownReadOnly = volume.configMap !== undefined || volume.secret !== undefined || volume.projected !== undefined || volume.downwardAPI !== undefined;
      return { source, target: m.mountPath.replace(/\/+$/, "") || "/", readOnly: m.readOnly === true || ownReadOnly, file: !statSync(source).isDirectory(), propagate: m.mountPropagation === "HostToContainer" };
    }).sort((a, b) => a.target.length - b.target.length);
  }

  /** Ends renewals; removes what is on the node, except hostPath. */
  async remove(): Promise<void> {
    this.close();
    for (const m of mountPoints()) if (m.path.startsWith(`${this.#dir}/`)) await tryCommand(["umount", "-l", m.path]);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  close(): void {
    this.#tokens.close();
  }

  #pathOf(v: Volume): string {
    if (v.hostPath === undefined) return join(this.#dir, v.name);
    const path = v.hostPath.path;
    const machine = MACHINE_PATHS.some((p) => path === p || path.startsWith(`${p}/`));
    return machine ? resolveInRoot("/", path) : resolveInRoot(this.#node.root, path);
  }

  async #emptyDir(v: Volume): Promise<void> {
    const path = this.#pathOf(v);
    const fsGroup = this.#pod.spec.securityContext?.fsGroup;
    if (existsSync(path)) return;
    mkdirSync(path, { recursive: true });
    const limit = v.emptyDir?.sizeLimit === undefined ? undefined : parseQuantity(v.emptyDir.sizeLimit);
    // All of a pod's folder is memory already; a size limit needs a file system of its own.
    if (limit !== undefined) await runCommand(["mount", "-t", "tmpfs", "-o", `size=${Math.max(4096, Math.ceil(limit))},mode=777`, "tmpfs", path]);
    chmodSync(path, fsGroup === undefined ? 0o777 : 0o2777);
    if (fsGroup !== undefined) chownSync(path, 0, fsGroup);
  }

  #hostPath(v: Volume): void {
    const path = this.#pathOf(v);
    const type = v.hostPath?.type ?? "";
    const there = lstatSync(path, { throwIfNoEntry: false });
    if (there === undefined) {
      if (type === "FileOrCreate") {
        writeFileSync(path, "", { mode: 0o644 });
        return;
      }
      if (type !== "DirectoryOrCreate" && type !== "") throw new Error(`hostPath type check failed: ${v.hostPath?.path} does not exist on the node`);
      mkdirSync(path, { recursive: true, mode: 0o755 });
      return;
    }
    const ok = { "": true, DirectoryOrCreate: there.isDirectory(), Directory: there.isDirectory(), FileOrCreate: there.isFile(), File: there.isFile(), Socket: there.isSocket(), CharDevice: there.isCharacterDevice(), BlockDevice: there.isBlockDevice() }[type];
    if (ok === undefined) throw new Error(`hostPath type "${type}" is unknown`);
    if (!ok) throw new Error(`hostPath type check failed: ${v.hostPath?.path} is not a ${type}`);
  }

  #files(v: Volume): void {
    const namespace = this.#pod.metadata.namespace ?? "";
    const result = volumeFiles(this.#pod, v, {
      configMap: (name) => this.#objects.configMap(namespace, name), secret: (name) => this.#objects.secret(namespace, name),
      token: (i) => this.#tokens.get(v.name, i), node: this.#facts(),
    });
    if ("problem" in result) throw new Error(result.problem);
    const path = this.#pathOf(v);
    mkdirSync(dirname(path), { recursive: true });
    writeAtomically(path, result.files, this.#pod.spec.securityContext?.fsGroup);
  }
}
