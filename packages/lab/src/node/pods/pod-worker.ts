// Owns one pod on this node from its arrival to its end: one loop that compares what should be with what is and does the next thing.
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isNotFound, KINDS, KubeError, pathOf } from "@ambit/kube";
import { errorText, type Timer } from "@ambit/runtime";
import { netnsOf } from "../netns.ts";
import { planActions } from "../plan/actions.ts";
import { nextBackoff, SANDBOX, type Backoff } from "../plan/backoff.ts";
import type { ContainerView, Ended } from "../plan/container-view.ts";
import { hostsFile, hostnameOf, resolvConf } from "../plan/names.ts";
import { isSidecar, refusals, type ContainerSpec, type NodePod } from "../plan/pod-spec.ts";
import { podStatus } from "../plan/status.ts";
import { referencedObjects } from "../plan/volume-files.ts";
import { PodVolumes } from "../volumes/pod-volumes.ts";
import { ContainerSlot, podLogDir, writeEtc } from "./container-slot.ts";
import type { NodePorts, PodContext } from "./context.ts";
import { Deadline } from "./deadline.ts";
import { createSandbox, readPodRecord, removeSandbox, sandboxAlive, writePodRecord, type PodRecord } from "./sandbox.ts";

const DEFAULT_GRACE_S = 30;
/** A pod that was deleted with grace 0, or is unknown to the API, still gets this long after SIGTERM. */
const FORCED_GRACE_MS = 1_000;
/** A volume whose object is missing is tried again on every change of it, and at least this often. */
const VOLUME_RETRY_MS = 5_000;
const DELETE_RETRY_MS = 1_000;

export class PodWorker {
  readonly uid: string;
  readonly #ports: NodePorts;
  readonly #dir: string;
  readonly #slots: ContainerSlot[];
  readonly #volumes: PodVolumes;
  readonly #onGone: () => void;
  #pod: NodePod;
  #record: PodRecord;
  /** Whether this node has (or had, before a restart of the kubelet) anything of this pod. */
  #known: boolean;
  /** The object is no longer in the API. */
  #removed = false;
  #ready = false;
  #dismantled = false;
  #deadline: Deadline | undefined;
  #sandboxBackoff: Backoff | undefined;
  #timer: Timer | undefined;
  #timerAtMs = 0;
  #dirty = false;
  #looping = false;
  #closed = false;

  constructor(ports: NodePorts, pod: NodePod, onGone: () => void) {
    this.#ports = ports;
    this.#pod = pod;
    this.uid = pod.metadata.uid ?? "";
    this.#onGone = onGone;
    this.#dir = join(ports.root.pods, this.uid);
    const found = readPodRecord(this.#dir);
    this.#known = found !== undefined;
    this.#record = found ?? { pod, startedAtMs: startTime(pod) ?? ports.clock.now() };
    this.#volumes = new PodVolumes(ports.root, ports.objects, ports.client, ports.clock, ports.log, pod, this.#dir, () => ({ nodeName: ports.nodeName, hostIP: ports.hostIP, podIP: this.podIP, cpuMillis: ports.cpuMillis, memoryBytes: ports.memoryBytes }));
    const context: PodContext = { ports, pod: () => this.#pod, podIP: () => this.podIP, netns: () => this.#netns(), volumes: this.#volumes, dir: this.#dir, changed: () => this.wake() };
    const specs = refusals(pod).length > 0 ? [] : [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
    this.#slots = specs.map((c) => new ContainerSlot(context, c, ...earlierRuns(pod, c, found !== undefined, ports.clock.now())));
    if (found !== undefined) for (const s of this.#slots) s.adopt();
  }

  get pod(): NodePod { return this.#pod; }
  get podIP(): string { return this.#pod.spec.hostNetwork === true ? this.#ports.hostIP : (this.#record.ips?.[0] ?? ""); }
  get netnsPath(): string | undefined { return this.#netns(); }
  slot(container: string): ContainerSlot | undefined { return this.#slots.find((s) => s.spec.name === container); }
  views(): Map<string, ContainerView> { return new Map(this.#slots.map((s) => [s.spec.name, s.view()])); }

  update(pod: NodePod): void {
    this.#pod = pod;
    if (this.#ready) this.#volumes.refresh(pod);
    if (pod.metadata.deletionTimestamp !== undefined) this.#deadline?.shorten(this.#graceMs());
    this.wake();
  }
  removed(): void {
    this.#removed = true;
    this.#deadline?.shorten(FORCED_GRACE_MS);
    this.wake();
  }
  imagesChanged(): void {
    if (this.#slots.filter((s) => s.unblock("image")).length > 0) this.wake();
  }
  /** Something changed: look again, soon and once. */
  wake(): void {
    this.#dirty = true;
    if (this.#closed) return;
    if (this.#looping) return;
    this.#looping = true;
    void this.#loop().finally(() => { this.#looping = false; if (this.#dirty) this.wake(); });
  }
  /** The kubelet stops; the pod goes on. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#deadline?.cancel();
    for (const s of this.#slots) s.close();
    this.#volumes.close();
  }

  async #loop(): Promise<void> {
    while (this.#dirty && !this.#closed) {
      this.#dirty = false;
      try {
        await this.#sync();
      } catch (error) {
        if (this.#closed) return;
        this.#ports.log.error("a pod's worker failed, will try again", { pod: this.#name(), error: errorText(error), stack: error instanceof Error ? error.stack : undefined });
        this.#wakeIn(VOLUME_RETRY_MS);
      }
    }
  }

  async #sync(): Promise<void> {
    if (this.#dismantled) return;
    if (this.#removed || this.#pod.metadata.deletionTimestamp !== undefined) return this.#terminate();
    if (this.#record.terminal !== undefined) return this.#finish(this.#record.terminal);
    const apiPhase = this.#pod.status?.["phase"];
    if (this.#slots.every((s) => s.view().state === "none") && (apiPhase === "Succeeded" || apiPhase === "Failed")) return; // ended before this kubelet's time
    const problems = refusals(this.#pod);
    if (problems.length > 0) {
      this.#ports.events.report(this.#pod, "Warning", "FailedAdmission", problems.join("; "));
      return this.#finish({ phase: "Failed", reason: "UnexpectedAdmissionError", message: `Pod was rejected: ${problems.join("; ")}` });
    }
    // The node restarted: what the API says of this pod is no longer so, and nobody should wait for an address that is gone.
    if (!this.#known && this.#pod.status?.["podIP"] !== undefined) this.#publish();
    this.#known = true;
    if (!this.#ready && !(await this.#ports.starts.run(() => this.#setUp()))) return this.#publish();
    const actions = planActions(this.#pod, this.views(), this.#ports.clock.now());
    for (const k of actions.kill) {
      const slot = this.slot(k.name);
      const deadline = this.#newDeadline(slot?.probeGraceMs ?? this.#graceMs());
      void slot?.stop(k.reason, deadline).finally(() => { deadline.cancel(); this.wake(); });
    }
    if (actions.finished !== undefined && !this.#slots.some((s) => s.runs)) return this.#finish({ phase: actions.finished });
    if (actions.wakeAtMs !== undefined) this.#wakeIn(actions.wakeAtMs - this.#ports.clock.now());
    this.#publish();
    await Promise.all(actions.start.map((c) => this.#ports.starts.run(async () => this.slot(c.name)?.start())));
    if (actions.start.length > 0) this.#dirty = true; // what was started changes what comes next
    for (const s of this.#slots) { const { blocked } = s.view(); if (blocked !== undefined) this.#wakeIn(blocked.untilMs - this.#ports.clock.now()); }
  }

  /** Volumes and sandbox. False: not yet, with an event and a time to try again. */
  async #setUp(): Promise<boolean> {
    const ports = this.#ports;
    mkdirSync(this.#dir, { recursive: true, mode: 0o711 });
    this.#save({});
    ports.objects.need(this.uid, this.#pod.metadata.namespace ?? "", referencedObjects(this.#pod), () => {
      this.#volumes.refresh(this.#pod);
      for (const s of this.#slots) s.unblock("config");
      this.wake();
    });
    try {
      await this.#volumes.prepare();
    } catch (error) {
      ports.events.report(this.#pod, "Warning", "FailedMount", errorText(error));
      this.#wakeIn(VOLUME_RETRY_MS);
      return false;
    }
    if (this.#pod.spec.hostNetwork !== true && (this.#record.sandboxId === undefined || this.#record.ips === undefined || !sandboxAlive(ports.root.root, this.#record.sandboxId))) {
      try {
        await this.#forgetSandbox(); // a restart of the node took it: its addresses are to be free again
        const made = await createSandbox(ports.root.root, ports.cni, this.#pod, (sandboxId) => this.#save({ sandboxId }));
        this.#save({ sandboxId: made.sandboxId, ips: made.ips });
      } catch (error) {
        this.#withoutSandbox();
        this.#sandboxBackoff = nextBackoff(this.#sandboxBackoff, ports.clock.now(), SANDBOX);
        ports.events.report(this.#pod, "Warning", "FailedCreatePodSandBox", `Failed to create pod sandbox: ${errorText(error)}`);
        this.#wakeIn(this.#sandboxBackoff.delayMs);
        return false;
      }
      this.#volumes.refresh(this.#pod); // the pod's address is known now
    }
    writeEtc(this.#dir, { hosts: hostsFile(this.#pod, this.podIP, ports.nodeName, ports.dns.clusterDomain), hostname: `${hostnameOf(this.#pod, ports.nodeName)}\n`, "resolv.conf": resolvConf(this.#pod, ports.dns) });
    chmodSync(this.#dir, 0o711);
    this.#ready = true;
    return true;
  }

  /** Deleted: stop everything, take it apart, and tell the API that nothing is left. */
  async #terminate(): Promise<void> {
    const ports = this.#ports;
    this.#deadline ??= this.#newDeadline(this.#removed ? FORCED_GRACE_MS : this.#graceMs());
    const deadline = this.#deadline;
    for (const s of this.#slots) s.stopProbes(["liveness", "startup"]);
    const sidecars = this.#slots.filter((s) => isSidecar(s.spec));
    const stop = (s: ContainerSlot) => s.stop(`Stopping container ${s.spec.name}`, deadline).then(() => { this.#publish(); });
    await Promise.all(this.#slots.filter((s) => !sidecars.includes(s)).map(stop));
    for (const s of sidecars.reverse()) await stop(s);
    deadline.cancel();
    for (const s of this.#slots) s.close();
    await this.#dismantle();
    const failed = [...this.views().values()].some((v) => v.ended !== undefined && v.ended.exitCode !== 0);
    this.#record = { ...this.#record, terminal: this.#record.terminal ?? { phase: failed ? "Failed" : "Succeeded" } };
    if (!this.#removed) {
      this.#publish();
      await ports.status.flush(this.uid);
      await this.#deleteObject();
    }
    this.#dismantled = true;
    ports.status.forget(this.uid);
    rmSync(this.#dir, { recursive: true, force: true });
    rmSync(podLogDir(ports.root, this.#pod), { recursive: true, force: true });
    this.#onGone();
  }

  /** Grace 0 and this very uid: what "the node is done with it" means to the API server. */
  async #deleteObject(): Promise<void> {
    const { client, clock } = this.#ports;
    const { namespace, name } = this.#pod.metadata;
    while (!this.#closed && !this.#removed) {
      try {
        await client.request("DELETE", pathOf(KINDS.pods, namespace, name), { body: { apiVersion: "v1", kind: "DeleteOptions", gracePeriodSeconds: 0, preconditions: { uid: this.uid } } });
        return;
      } catch (error) {
        if (isNotFound(error) || (error instanceof KubeError && error.status === 409)) return;
        this.#ports.log.warn("cannot delete a pod that has ended, will try again", { pod: this.#name(), error: errorText(error) });
        await clock.sleep(DELETE_RETRY_MS);
      }
    }
  }

  /** Ended by itself: the object stays, its network and volumes go. */
  async #finish(terminal: NonNullable<PodRecord["terminal"]>): Promise<void> {
    if (this.#record.terminal === undefined) this.#save({ terminal });
    if (this.#ready || this.#record.sandboxId !== undefined) await this.#dismantle();
    this.#publish();
  }

  async #dismantle(): Promise<void> {
    const ports = this.#ports;
    this.#ready = false; // from here on its volumes follow nothing any more
    ports.objects.release(this.uid);
    await this.#forgetSandbox();
    await this.#volumes.remove();
  }

  async #forgetSandbox(): Promise<void> {
    const { sandboxId } = this.#record;
    if (sandboxId === undefined) return;
    await removeSandbox(this.#ports.root.root, this.#ports.cni, this.#pod, sandboxId, this.#ports.log);
    this.#withoutSandbox();
  }

  #withoutSandbox(): void {
    const { sandboxId: _, ...rest } = this.#record;
    this.#record = rest;
    if (existsSync(this.#dir)) writePodRecord(this.#dir, this.#record);
  }

  #publish(): void {
    if (this.#removed || this.#closed) return;
    const ports = this.#ports;
    ports.status.publish(this.#pod, podStatus(this.#pod, this.views(), {
      nowMs: ports.clock.now(), hostIP: ports.hostIP, podIP: this.podIP, startedAtMs: this.#record.startedAtMs,
      sandboxReady: this.#ready && this.#record.terminal === undefined, terminal: this.#record.terminal,
    }));
  }

  #netns(): string | undefined {
    return this.#pod.spec.hostNetwork === true || this.#record.sandboxId === undefined ? undefined : netnsOf(this.#ports.root.root, this.#record.sandboxId).path;
  }
  #graceMs(): number {
    const { metadata, spec } = this.#pod;
    const seconds = metadata.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S;
    return Math.max(FORCED_GRACE_MS, seconds * 1000);
  }
  #newDeadline(graceMs: number): Deadline { return new Deadline(this.#ports.clock, graceMs); }
  #save(part: Partial<PodRecord>): void {
    this.#record = { ...this.#record, ...part, pod: this.#pod };
    writePodRecord(this.#dir, this.#record);
  }
  /** The earliest of several wins. */
  #wakeIn(delayMs: number): void {
    const atMs = this.#ports.clock.now() + Math.max(0, delayMs);
    if (this.#timer !== undefined && this.#timerAtMs <= atMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = atMs;
    this.#timer = this.#ports.clock.after(Math.max(0, delayMs), () => { this.#timer = undefined; this.wake(); });
  }
  #name(): string { return `${this.#pod.metadata.namespace}/${this.#pod.metadata.name}`; }
}

function startTime(pod: NodePod): number | undefined {
  const ms = Date.parse(String(pod.status?.["startTime"] ?? ""));
  return Number.isNaN(ms) ? undefined : ms;
}

/** After the machine restarted only the API remembers earlier runs: they count, and ended without our seeing it. */
function earlierRuns(pod: NodePod, c: ContainerSpec, known: boolean, nowMs: number): [number, Ended | undefined] {
  if (known) return [0, undefined];
  const all = [...((pod.status?.["containerStatuses"] ?? []) as Record<string, unknown>[]), ...((pod.status?.["initContainerStatuses"] ?? []) as Record<string, unknown>[])];
  const before = all.find((s) => s["name"] === c.name);
  if (before === undefined || typeof before["containerID"] !== "string") return [0, undefined];
  return [Number(before["restartCount"] ?? 0) + 1, { id: before["containerID"].replace("ambit://", ""), exitCode: 255, reason: "Unknown", message: "the node restarted", startedAtMs: nowMs, finishedAtMs: nowMs }];
}
