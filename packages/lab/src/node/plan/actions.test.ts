import assert from "node:assert/strict";
import { planActions } from "./actions.ts";
import { neverRun, type ContainerView, type Ended } from "./container-view.ts";
import type { ContainerSpec, NodePod } from "./pod-spec.ts";
import { podStatus, shortDuration, type StatusFacts } from "./status.ts";

const NOW = Date.parse("2026-01-02T03:04:05Z");
const ended = (exitCode: number, agoMs = 0): Ended => ({ id: "e", exitCode, reason: exitCode === 0 ? "Completed" : "Error", message: "", startedAtMs: NOW - agoMs - 1000, finishedAtMs: NOW - agoMs });
const c = (name: string, more: Partial<ContainerSpec> = {}): ContainerSpec => ({ name, image: "i", ...more });
const side = (name: string): ContainerSpec => c(name, { restartPolicy: "Always" });
const pod = (containers: ContainerSpec[], initContainers: ContainerSpec[] = [], restartPolicy?: string): NodePod => ({
  metadata: { name: "p", namespace: "n", uid: "u" }, spec: { containers, initContainers, ...(restartPolicy === undefined ? {} : { restartPolicy }) },
});
const v = (name: string, more: Partial<ContainerView> = {}): ContainerView => ({ ...neverRun(name), ...more });
const running = (name: string, more: Partial<ContainerView> = {}): ContainerView => v(name, { state: "running", started: true, ready: true, id: "x", startedAtMs: NOW - 5000, ...more });
const exited = (name: string, code: number, more: Partial<ContainerView> = {}): ContainerView => v(name, { state: "exited", ended: ended(code), id: "x", ...more });
const views = (...list: ContainerView[]) => new Map(list.map((x) => [x.name, x]));

describe("what a node does next for a pod", () => {
  const line = (p: NodePod, list: ContainerView[]) => {
    const a = planActions(p, views(...list), NOW);
    return [a.start.length > 0 ? `start ${a.start.map((s) => s.name).join(",")}` : "", a.kill.length > 0 ? `kill ${a.kill.map((k) => k.name).join(",")}` : "", a.finished ?? "", a.wakeAtMs === undefined ? "" : `wake in ${(a.wakeAtMs - NOW) / 1000}`].filter((s) => s !== "").join("; ");
  };
  const m = c("m");
  const backoff = { delayMs: 20_000, sinceMs: NOW - 1000 };
  const rows: [string, NodePod, ContainerView[], string][] = [
    ["a new pod: every container", pod([m, c("n")]), [], "start m,n"],
    ["all run: nothing", pod([m]), [running("m")], ""],
    ["one is being started: nothing", pod([m]), [v("m", { state: "starting" })], ""],
    ["init containers first, one at a time", pod([m], [c("i"), c("j")]), [], "start i"],
    ["the next when the first succeeded", pod([m], [c("i"), c("j")]), [exited("i", 0)], "start j"],
    ["the containers when all succeeded", pod([m], [c("i")]), [exited("i", 0)], "start m"],
    ["a failed init container again", pod([m], [c("i")]), [exited("i", 1)], "start i"],
    ["later, while it backs off", pod([m], [c("i")]), [exited("i", 1, { backoff })], "wake in 20"],
    ["a failed init container ends a pod that never restarts", pod([m], [c("i")], "Never"), [exited("i", 1)], "Failed"],
    ["init containers never again once a container ran", pod([m], [c("i")]), [exited("m", 1)], "start m"],
    ["a sidecar, and what follows waits until it has started", pod([m], [side("s")]), [running("s", { started: false })], ""],
    ["then what follows", pod([m], [side("s"), c("i")]), [running("s")], "start i"],
    ["a sidecar that ended is started again beside the others", pod([m], [side("s")]), [exited("s", 0), running("m")], "start s"],
    ["sidecars stop when the rest is over", pod([m], [side("s"), side("t")], "Never"), [running("s"), running("t"), exited("m", 0)], "kill t,s; Succeeded"],
    ["Always restarts even a success", pod([m]), [exited("m", 0)], "start m"],
    ["OnFailure does not", pod([m], [], "OnFailure"), [exited("m", 0)], "Succeeded"],
    ["OnFailure restarts a failure", pod([m, c("n")], [], "OnFailure"), [exited("m", 3), exited("n", 0)], "start m"],
    ["Never: one failure fails the pod", pod([m, c("n")], [], "Never"), [exited("m", 3), exited("n", 0)], "Failed"],
    ["Never: not before all have ended", pod([m, c("n")], [], "Never"), [exited("m", 3), running("n")], ""],
    ["a crash waits its back-off", pod([m]), [exited("m", 1, { backoff })], "wake in 20"],
    ["an image that is not there waits its own", pod([m]), [v("m", { blocked: { reason: "ErrImagePull", message: "", untilMs: NOW + 7000 } })], "wake in 7"],
    ["and is tried again in its time", pod([m]), [v("m", { blocked: { reason: "ErrImagePull", message: "", untilMs: NOW } })], "start m"],
    ["a failed liveness probe kills", pod([m]), [running("m", { unhealthy: "liveness" })], "kill m"],
  ];
  for (const [name, p, list, expected] of rows) it(name, () => assert.equal(line(p, list), expected));
});

describe("a pod's status", () => {
  const facts: StatusFacts = { nowMs: NOW, hostIP: "172.30.0.11", podIP: "10.244.1.2", startedAtMs: NOW - 60_000, sandboxReady: true, terminal: undefined };
  const of = (p: NodePod, list: ContainerView[], more: Partial<StatusFacts> = {}) => podStatus(p, views(...list), { ...facts, ...more });
  const line = (s: ReturnType<typeof of>) => {
    const state = (x: Record<string, unknown>) => { const st = x["state"] as Record<string, { reason?: string; exitCode?: number }>; const [kind = ""] = Object.keys(st); return `${kind}${st[kind]?.reason === undefined ? "" : `(${st[kind]?.reason})`}${x["ready"] === true ? "+" : ""}`; };
    const all = [...((s["initContainerStatuses"] ?? []) as Record<string, unknown>[]), ...(s["containerStatuses"] as Record<string, unknown>[])];
    return `${s.phase} ${all.map(state).join(" ")} ${s.conditions.filter((x) => x.status === "True").map((x) => x.type).join(",")}`;
  };
  const m = c("m");
  const base = "PodReadyToStartContainers";
  const rows: [string, NodePod, ContainerView[], Partial<StatusFacts>, string][] = [
    ["nothing yet", pod([m]), [], { sandboxReady: false, podIP: "" }, "Pending waiting(ContainerCreating) Initialized,PodScheduled"],
    ["running and ready", pod([m]), [running("m")], {}, `Running running+ ${base},Initialized,Ready,ContainersReady,PodScheduled`],
    ["running, not ready", pod([m]), [running("m", { ready: false })], {}, `Running running ${base},Initialized,PodScheduled`],
    ["initialising", pod([m], [c("i")]), [running("i", { ready: false })], {}, `Pending running waiting(PodInitializing) ${base},PodScheduled`],
    ["an unknown image", pod([m]), [v("m", { blocked: { reason: "ErrImagePull", message: "x", untilMs: 0 } })], {}, `Pending waiting(ErrImagePull) ${base},Initialized,PodScheduled`],
    ["crash loop", pod([m]), [exited("m", 1, { backoff: { delayMs: 10_000, sinceMs: NOW } })], {}, `Running waiting(CrashLoopBackOff) ${base},Initialized,PodScheduled`],
    ["ended, about to be restarted", pod([m]), [exited("m", 1)], {}, `Running terminated(Error) ${base},Initialized,PodScheduled`],
    ["succeeded", pod([m], [], "Never"), [exited("m", 0)], { sandboxReady: false, terminal: { phase: "Succeeded" } }, "Succeeded terminated(Completed) Initialized,PodScheduled"],
    ["a sidecar counts for readiness", pod([m], [side("s")]), [running("s", { ready: false }), running("m")], {}, `Running running running+ ${base},Initialized,PodScheduled`],
  ];
  for (const [name, p, list, more, expected] of rows) it(name, () => assert.equal(line(of(p, list, more)), expected));

  it("a readiness gate of someone else holds readiness back", () => {
    const gated: NodePod = { ...pod([m]), spec: { containers: [m], readinessGates: [{ conditionType: "x/gate" }] } };
    const ready = (p: NodePod) => of(p, [running("m")]).conditions.find((x) => x.type === "Ready");
    assert.deepEqual([ready(gated)?.status, ready(gated)?.reason], ["False", "ReadinessGatesNotReady"]);
    assert.equal(ready({ ...gated, status: { conditions: [{ type: "x/gate", status: "True" }] } })?.status, "True");
  });
  it("a condition keeps its time until it turns", () => {
    const before = { conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2020-01-01T00:00:00Z" }, { type: "ContainersReady", status: "False", lastTransitionTime: "2020-01-01T00:00:00Z" }] };
    const now = of({ ...pod([m]), status: before }, [running("m")]).conditions;
    assert.deepEqual(now.filter((x) => x.type.endsWith("Ready")).map((x) => x.lastTransitionTime), ["2020-01-01T00:00:00Z", "2026-01-02T03:04:05Z"]);
  });
  it("a crash loop says what ended and how long it waits", () => {
    const [status] = of(pod([m]), [exited("m", 7, { attempt: 2, backoff: { delayMs: 80_000, sinceMs: NOW } })])["containerStatuses"] as Record<string, Record<string, Record<string, unknown>>>[];
    assert.match(String(status?.["state"]?.["waiting"]?.["message"]), /^back-off 1m20s restarting failed container=m pod=p_n\(u\)$/);
    assert.equal((status?.["lastState"]?.["terminated"] as { exitCode?: number } | undefined)?.exitCode, 7);
    assert.equal(status?.["restartCount"], 2);
  });
  it("durations as Go writes them", () => assert.deepEqual([10_000, 80_000, 300_000].map(shortDuration), ["10s", "1m20s", "5m0s"]));
});
