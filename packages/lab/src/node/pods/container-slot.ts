// Owns one container of a pod through all its runs: starting, hooks, probes, stopping, and what is reported of it.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorText } from "@ambit/runtime";
import { Container, startContainer, type ContainerExit, type ContainerRecord, type StartPlan } from "../container.ts";
import { captureIn } from "../exec.ts";
import type { NodeRoot } from "../node-root.ts";
import { runHandler, type HandlerTarget } from "../handlers.ts";
import { findImage, type Image } from "../images/store.ts";
import { CRASH, nextBackoff, PULL, type Backoff } from "../plan/backoff.ts";
import type { ContainerView, Ended } from "../plan/container-view.ts";
import { parseLogLine } from "../plan/cri-log.ts";
import type { ContainerSpec, Handler, NodePod } from "../plan/pod-spec.ts";
import { probeKills, type ProbeKind } from "../plan/probe.ts";
import type { PodContext } from "./context.ts";
import type { Deadline } from "./deadline.ts";
import { Prober } from "./prober.ts";
import { planStart } from "./start-plan.ts";

/** A configuration that is not there yet (a Secret, say) is looked for again on every change, and at least this often. */
const CONFIG_RETRY_MS = 10_000;
/** Upstream's exit code of a container whose command was never reached. */
const START_ERROR_CODE = 128;
const HOOK_TIMEOUT_MS = 300_000;
const FALLBACK_LOG_LINES = 80;
const FALLBACK_LOG_BYTES = 2048;

export class ContainerSlot {
  readonly spec: ContainerSpec;
  readonly #ctx: PodContext;
  #attempt: number;
  #run: Container | undefined;
  #state: ContainerView["state"] = "none";
  #imageId = "";
  #ended: Ended | undefined;
  #last: Ended | undefined;
  #blocked: ContainerView["blocked"];
  #backoff: Backoff | undefined;
  #pull: Backoff | undefined;
  #postStarted = false;
  #unhealthy: ContainerView["unhealthy"];
  #probers: Prober[] = [];
  #stopping: Promise<void> | undefined;

  constructor(ctx: PodContext, spec: ContainerSpec, earlierRuns: number, last: Ended | undefined) {
    this.#ctx = ctx;
    this.spec = spec;
    this.#attempt = earlierRuns;
    this.#last = last;
  }

  get container(): Container | undefined { return this.#run; }
  get runs(): boolean { return this.#state === "running" || this.#state === "starting"; }
  get logDir(): string { return join(podLogDir(this.#ctx.ports.root, this.#ctx.pod()), this.spec.name); }
  get attempt(): number { return this.#attempt; }

  view(): ContainerView {
    const by = (kind: ProbeKind) => this.#probers.find((p) => p.kind === kind);
    const running = this.#state === "running";
    const started = running && this.#postStarted && (by("startup")?.state.ok ?? true);
    return {
      name: this.spec.name, attempt: this.#attempt, state: this.#state, id: this.#run?.record.id ?? "", imageId: this.#imageId, startedAtMs: this.#run?.startedAtMs ?? 0,
      ended: this.#ended, last: this.#last, started, ready: started && (this.spec.readinessProbe === undefined || by("readiness")?.state.ok === true),
      unhealthy: this.#stopping === undefined ? this.#unhealthy : undefined, blocked: this.#blocked, backoff: this.#backoff,
    };
  }

  /** The grace that the probe which wants it killed asks for, when it asks for one of its own. */
  get probeGraceMs(): number | undefined {
    const probe = this.#unhealthy === "liveness" ? this.spec.livenessProbe : this.#unhealthy === "startup" ? this.spec.startupProbe : undefined;
    return probe?.terminationGracePeriodSeconds === undefined ? undefined : Math.max(1, probe.terminationGracePeriodSeconds) * 1000;
  }

  /** Takes up runs that an earlier kubelet left. */
  adopt(): void {
    const dir = this.#dir();
    const attempts = readdirSync(dir).map(Number).filter(Number.isInteger).sort((a, b) => b - a);
    const [newest, before] = attempts.map((n) => readRecord(join(dir, String(n))));
    if (newest === undefined) return;
    if (before !== undefined) {
      const earlier = new Container(join(dir, String(before.attempt)), before);
      if (earlier.exit !== undefined) this.#last = this.#endedOf(earlier, earlier.exit);
      earlier.close();
    }
    this.#attempt = newest.attempt;
    this.#imageId = newest.imageId;
    const run = new Container(join(dir, String(newest.attempt)), newest);
    this.#run = run;
    if (run.exit !== undefined) {
      this.#state = "exited";
      this.#ended = this.#endedOf(run, run.exit);
      return;
    }
    this.#state = "running";
    this.#postStarted = true;
    void run.exited.then((exit) => this.#onExit(run, exit));
    this.#startProbes(run);
  }

  /** Starts the next run. Never throws: what goes wrong is in the view, with an event. */
  async start(): Promise<void> {
    const { ports } = this.#ctx;
    const pod = this.#ctx.pod();
    const block = (reason: string, message: string, untilMs: number) => { this.#blocked = { reason, message, untilMs }; };
    const image = this.#image();
    if (image === undefined) return;
    let plan: StartPlan;
    try {
      const attempt = this.#state === "none" ? this.#attempt : this.#attempt + 1;
      plan = planStart(this.#ctx, this.spec, image, { attempt, dir: join(this.#dir(), String(attempt)), logFile: join(this.logDir, `${attempt}.log`) });
    } catch (error) {
      this.#pull = undefined;
      block("CreateContainerConfigError", errorText(error), ports.clock.now() + CONFIG_RETRY_MS);
      ports.events.report(pod, "Warning", "Failed", `Error: ${errorText(error)}`, this.spec.name);
      return;
    }
    if (this.#state === "exited") {
      this.#last = this.#ended;
      this.#backoff = nextBackoff(this.#backoff, ports.clock.now(), CRASH);
    }
    this.#blocked = undefined;
    this.#pull = undefined;
    this.#ended = undefined;
    this.#unhealthy = undefined;
    this.#postStarted = false;
    this.#attempt = plan.attempt;
    this.#imageId = plan.imageId;
    this.#state = "starting";
    ports.events.report(pod, "Normal", "Pulled", `Container image "${this.spec.image}" already present on machine`, this.spec.name);
    const run = await startContainer(ports.root, plan);
    this.#run = run;
    this.#dropOldRuns();
    ports.events.report(pod, "Normal", "Created", `Container created`, this.spec.name);
    void run.exited.then((exit) => this.#onExit(run, exit));
    try {
      await run.started;
    } catch {
      return; // exited: #onExit has the words
    }
    if (run.exit === undefined) this.#state = "running";
    ports.events.report(pod, "Normal", "Started", `Container started`, this.spec.name);
    await this.#postStart(run);
  }

  /** preStop, SIGTERM, then SIGKILL at the deadline. Resolves when nothing of it runs any more. */
  stop(reason: string, deadline: Deadline): Promise<void> {
    this.#stopping ??= this.#stop(reason, deadline).finally(() => { this.#stopping = undefined; });
    return this.#stopping;
  }

  /** Stops probing; readiness goes on while a pod ends, as upstream. */
  stopProbes(kinds: readonly ProbeKind[]): void {
    for (const p of this.#probers) if (kinds.includes(p.kind)) p.stop();
  }

  close(): void {
    for (const p of this.#probers) p.stop();
    this.#run?.close();
  }

  /** Runs a command in the container that runs now. */
  async capture(command: readonly string[], timeoutMs: number): Promise<{ exitCode: number; output: string }> {
    if (this.#run === undefined) throw new Error("the container does not run");
    return captureIn(this.#run, this.#ctx.ports.root.loader, command, timeoutMs);
  }

  #dir(): string {
    const dir = join(this.#ctx.dir, "containers", this.spec.name);
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  #image(): Image | undefined {
    const { ports } = this.#ctx;
    const pod = this.#ctx.pod();
    const now = ports.clock.now();
    const image = findImage(ports.images, this.spec.image ?? "");
    if (!("problem" in image)) return image;
    const [first, then] = image.invalid ? ["InvalidImageName", "InvalidImageName"] : this.spec.imagePullPolicy === "Never" ? ["ErrImageNeverPull", "ErrImageNeverPull"] : ["ErrImagePull", "ImagePullBackOff"];
    const again = this.#pull !== undefined;
    this.#pull = nextBackoff(this.#pull, now, PULL);
    const message = again && then === "ImagePullBackOff" ? `Back-off pulling image "${this.spec.image}": ${image.problem}` : image.problem;
    this.#blocked = { reason: again ? then : first, message, untilMs: now + this.#pull.delayMs };
    if (again && then === "ImagePullBackOff") ports.events.report(pod, "Normal", "BackOff", `Back-off pulling image "${this.spec.image}"`, this.spec.name);
    else {
      ports.events.report(pod, "Warning", "Failed", `Failed to pull image "${this.spec.image}": ${image.problem}`, this.spec.name);
      ports.events.report(pod, "Warning", "Failed", `Error: ${first}`, this.spec.name);
    }
    return undefined;
  }

  /** What it waited for may be there now: an image was added, a ConfigMap or Secret changed. Returns whether it waited for that. */
  unblock(what: "image" | "config"): boolean {
    if (this.#blocked === undefined || (this.#pull !== undefined) !== (what === "image")) return false;
    this.#blocked = { ...this.#blocked, untilMs: 0 };
    return true;
  }

  #dropOldRuns(): void {
    for (const name of readdirSync(this.#dir())) if (Number(name) < this.#attempt - 1) rmSync(join(this.#dir(), name), { recursive: true, force: true });
    const logs = this.logDir;
    for (const name of readdirSync(logs)) if (Number(name.split(".")[0]) < this.#attempt - 1) rmSync(join(logs, name), { force: true });
  }

  async #postStart(run: Container): Promise<void> {
    const hook = this.spec.lifecycle?.postStart;
    if (hook !== undefined) {
      const result = await this.#hook(hook, HOOK_TIMEOUT_MS);
      if (!result.ok && run.exit === undefined) {
        this.#ctx.ports.events.report(this.#ctx.pod(), "Warning", "FailedPostStartHook", `PostStartHook failed: ${result.output}`, this.spec.name);
        run.signal("SIGKILL");
        return;
      }
    }
    if (run.exit !== undefined) return;
    this.#postStarted = true;
    this.#startProbes(run);
    this.#ctx.changed();
  }

  async #hook(hook: Handler, timeoutMs: number): Promise<{ ok: boolean; output: string }> {
    if (hook.sleep !== undefined) await this.#ctx.ports.clock.sleep(Math.min(timeoutMs, hook.sleep.seconds * 1000));
    return runHandler(hook, this.#target(), timeoutMs);
  }
  #target(): HandlerTarget {
    return { podIP: this.#ctx.podIP(), container: this.spec, exec: (command, timeoutMs) => this.capture(command, timeoutMs) };
  }

  #startProbes(run: Container): void {
    const { clock } = this.#ctx.ports;
    for (const p of this.#probers) p.stop();
    this.#probers = [];
    const specs = [["startup", this.spec.startupProbe], ["readiness", this.spec.readinessProbe], ["liveness", this.spec.livenessProbe]] as const;
    for (const [kind, probe] of specs)
      if (probe !== undefined) this.#probers.push(new Prober(kind, probe, clock, (timeoutMs) => runHandler(probe, this.#target(), timeoutMs), (p, result) => this.#onProbe(run, p, result)));
    const startup = this.#probers.find((p) => p.kind === "startup");
    const ranForMs = clock.now() - run.startedAtMs;
    if (startup !== undefined) startup.start(ranForMs);
    else for (const p of this.#probers) p.start(ranForMs);
  }

  #onProbe(run: Container, prober: Prober, result: { ok: boolean; output: string }): void {
    if (run !== this.#run || run.exit !== undefined) return;
    if (!result.ok) this.#ctx.ports.events.report(this.#ctx.pod(), "Warning", "Unhealthy", `${prober.kind[0]?.toUpperCase()}${prober.kind.slice(1)} probe failed: ${result.output}`, this.spec.name);
    if (prober.kind === "startup" && prober.state.ok) {
      prober.stop();
      for (const p of this.#probers) if (p !== prober) p.start(this.#ctx.ports.clock.now() - run.startedAtMs);
    }
    if (prober.kind !== "readiness" && probeKills(prober.kind, prober.state, prober.spec)) {
      this.#unhealthy = prober.kind;
      prober.stop();
    }
    this.#ctx.changed();
  }

  async #stop(reason: string, deadline: Deadline): Promise<void> {
    const run = this.#run;
    if (run === undefined || run.exit !== undefined) return;
    this.#ctx.ports.events.report(this.#ctx.pod(), "Normal", "Killing", reason, this.spec.name);
    this.stopProbes(["liveness", "startup"]);
    const preStop = this.spec.lifecycle?.preStop;
    if (preStop !== undefined && this.#postStarted) {
      const result = await Promise.race([this.#hook(preStop, deadline.leftMs), deadline.passed.then(() => ({ ok: false, output: "it took longer than the grace period" })), run.exited.then(() => ({ ok: true, output: "" }))]);
      if (!result.ok) this.#ctx.ports.events.report(this.#ctx.pod(), "Warning", "FailedPreStopHook", `PreStopHook failed: ${result.output}`, this.spec.name);
    }
    // Before its command runs there is nobody to hear a SIGTERM.
    await Promise.race([run.started.catch(() => undefined), deadline.passed]);
    run.signal("SIGTERM");
    await Promise.race([run.exited, deadline.passed]);
    run.signal("SIGKILL");
    await run.exited;
  }

  #onExit(run: Container, exit: ContainerExit): void {
    if (run !== this.#run) return;
    for (const p of this.#probers) p.stop();
    this.#ended = this.#endedOf(run, exit);
    this.#state = "exited";
    if (this.#ended.reason === "StartError") this.#ctx.ports.events.report(this.#ctx.pod(), "Warning", "Failed", `Error: ${this.#ended.message}`, this.spec.name);
    void run.clean().finally(() => this.#ctx.changed());
  }

  #endedOf(run: Container, exit: ContainerExit): Ended {
    const failed = run.setupError();
    const base = { id: run.record.id, startedAtMs: run.startedAtMs, finishedAtMs: exit.finishedAtMs };
    if (failed !== undefined) return { ...base, exitCode: START_ERROR_CODE, reason: "StartError", message: `failed to create the container: ${failed}` };
    const own = run.terminationMessage();
    const message = own !== "" || exit.code === 0 || this.spec.terminationMessagePolicy !== "FallbackToLogsOnError" ? own : logEnd(run.record.logFile);
    return { ...base, exitCode: exit.code, reason: exit.code === 0 ? "Completed" : "Error", message };
  }
}

/** As kubelets name it. */
export const podLogDir = (root: NodeRoot, { metadata }: NodePod): string => join(root.logs, `${metadata.namespace}_${metadata.name}_${metadata.uid}`);

function readRecord(dir: string): ContainerRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, "record.json"), "utf8")) as ContainerRecord;
  } catch {
    return undefined; // a start that never got that far
  }
}

function logEnd(file: string): string {
  try {
    const lines = readFileSync(file, "utf8").split("\n").slice(-FALLBACK_LOG_LINES);
    return lines.map((l) => parseLogLine(l)?.text ?? "").join("\n").trim().slice(-FALLBACK_LOG_BYTES);
  } catch {
    return "";
  }
}

/** The files every container of a pod shares. */
export function writeEtc(dir: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(dir, "etc"), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, "etc", name), text, { mode: 0o644 });
}
