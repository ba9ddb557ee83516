// Owns the course of a scale run at one size: every figure of the goal table, in one life of one control plane.
import { readFileSync } from "node:fs";
import { cpuSeconds, residentMb } from "../bench/processes.ts";
import { startApi, startControlPlane, startProxies, type Api, type ControlPlane, type Proxies } from "./parts.ts";
import { podUid, type Size } from "./world.ts";

export const STEPS = ["one", "all", "change", "churn", "resume", "csr"] as const;
export type Step = (typeof STEPS)[number];
export type Figures = Record<string, number>;

/** In the order of the table; goals are those of 10,000 pods. */
export const GOALS: Readonly<Record<string, { readonly unit: string; readonly goal?: number }>> = {
  "cold start to ready": { unit: "s", goal: 3 },
  "CPU until ready": { unit: "s" },
  "cold start to first complete answer": { unit: "s" },
  "resources of one answer": { unit: "" },
  "one answer": { unit: "MB" },
  "memory after the first answer": { unit: "MiB" },
  "all proxies connect with nothing: time": { unit: "s" },
  "– CPU": { unit: "s" },
  "one change to every proxy, p50": { unit: "ms", goal: 30 },
  "– p99": { unit: "ms" },
  "100 changes a second: lag p50": { unit: "ms" },
  "– lag p99": { unit: "ms", goal: 500 },
  "– lag max": { unit: "ms" },
  "– cores": { unit: "", goal: 0.5 },
  "– pushes received by each": { unit: "" },
  "all reconnect with known versions: request of each": { unit: "KB" },
  "– answers all together": { unit: "KB", goal: 15 },
  "– time to the last": { unit: "s", goal: 2 },
  "– CPU of it": { unit: "s", goal: 3 },
  "1,000 certificate requests at once: p50": { unit: "s" },
  "– p99 of them": { unit: "s", goal: 5 },
  "– CPU of them": { unit: "s" },
  "– refused": { unit: "", goal: 0 },
  "memory at the end": { unit: "MiB" },
  "peak memory": { unit: "MiB", goal: 680 },
};

const SINGLE_CHANGES = 40;
const SINGLE_EVERY_MS = 250;
const CHURN_EVERY_MS = 10;
const CSRS = 1_000;

interface Run { readonly size: Size; readonly clients: number; readonly seconds: number; readonly only: readonly Step[]; readonly nodeOptions: string; readonly say: (what: string) => void }

export async function measure(run: Run): Promise<Figures> {
  const figures: Figures = {};
  const api = startApi();
  const proxies = startProxies();
  let plane: ControlPlane | undefined;
  try {
    const listening = await api.ask({ kind: "start", size: run.size }, "listening");
    run.say(`${listening.pods} pods of ${Math.round(listening.bytes / listening.pods)} bytes`);
    plane = await startControlPlane({ port: listening.port, caPem: listening.caPem }, run.nodeOptions);
    figures["cold start to ready"] = plane.readyMs / 1000;
    figures["CPU until ready"] = cpuSeconds(plane.pid) ?? NaN;
    await steps(run, api, proxies, plane, figures);
    figures["memory at the end"] = residentMb(plane.pid) ?? NaN;
    figures["peak memory"] = peakMb(plane.pid);
    return figures;
  } finally {
    await Promise.all([proxies.stop(), plane?.stop()]);
    await api.stop();
  }
}

async function steps(run: Run, api: Api, proxies: Proxies, plane: ControlPlane, figures: Figures): Promise<void> {
  const cpu = (): number => cpuSeconds(plane.pid) ?? NaN;
  const { port, rootsPem } = plane;
  const has = (step: Step): boolean => run.only.includes(step);
  const connect = (clients: number, known: boolean) => proxies.ask({ kind: "connect", port, rootsPem, clients, known }, "connected");
  const disconnect = () => proxies.ask({ kind: "disconnect" }, "disconnected");

  const one = await connect(1, false);
  figures["cold start to first complete answer"] = (plane.readyMs + one.lastMs - one.beganMs) / 1000;
  figures["resources of one answer"] = one.resources;
  figures["one answer"] = one.answerBytes / 1e6;
  figures["memory after the first answer"] = residentMb(plane.pid) ?? NaN;
  await disconnect();
  if (run.only.length === 1 && has("one")) return;

  let before = cpu();
  const all = await connect(run.clients, false);
  figures["all proxies connect with nothing: time"] = (all.lastMs - all.beganMs) / 1000;
  figures["– CPU"] = cpu() - before;
  run.say(`connected: ${all.resources} resources in ${all.responses} responses`);

  if (has("change")) {
    const { lags } = await change(run, api, proxies, { from: 0, count: SINGLE_CHANGES, everyMs: SINGLE_EVERY_MS });
    const last = lags.map((l) => Math.max(...l));
    figures["one change to every proxy, p50"] = quantile(last, 0.5);
    figures["– p99"] = quantile(last, 0.99);
  }
  if (has("churn")) {
    before = cpu();
    const count = Math.min(run.size.pods - SINGLE_CHANGES, (run.seconds * 1000) / CHURN_EVERY_MS);
    const { lags, responses } = await change(run, api, proxies, { from: SINGLE_CHANGES, count, everyMs: CHURN_EVERY_MS });
    const flat = lags.flat();
    figures["100 changes a second: lag p50"] = quantile(flat, 0.5);
    figures["– lag p99"] = quantile(flat, 0.99);
    figures["– lag max"] = quantile(flat, 1);
    figures["– cores"] = (cpu() - before) / ((count * CHURN_EVERY_MS) / 1000);
    figures["– pushes received by each"] = quantile(responses, 0.5);
  }
  if (has("resume")) {
    await disconnect();
    before = cpu();
    const again = await connect(run.clients, true);
    figures["all reconnect with known versions: request of each"] = again.requestBytes / run.clients / 1000;
    figures["– answers all together"] = again.answerBytes / 1000;
    figures["– time to the last"] = (again.lastMs - again.beganMs) / 1000;
    figures["– CPU of it"] = cpu() - before;
  }
  if (has("csr")) {
    before = cpu();
    const certified = await proxies.ask({ kind: "certificates", size: run.size, each: Math.ceil(CSRS / run.clients) }, "certified");
    figures["1,000 certificate requests at once: p50"] = quantile(certified.ms, 0.5) / 1000;
    figures["– p99 of them"] = quantile(certified.ms, 0.99) / 1000;
    figures["– CPU of them"] = cpu() - before;
    figures["– refused"] = certified.failures.length;
    if (certified.failures[0] !== undefined) run.say(`refused: ${certified.failures[0]}`);
  }
}

/** Per changed pod, the lag of every proxy in milliseconds. */
async function change(run: Run, api: Api, proxies: Proxies, c: { from: number; count: number; everyMs: number }): Promise<{ lags: number[][]; responses: readonly number[] }> {
  const pods = Array.from({ length: c.count }, (_, i) => (c.from + i) % run.size.pods);
  await proxies.ask({ kind: "expect", pods: pods.map((p) => podUid(run.size, p)) }, "expecting");
  const received = proxies.ask({ kind: "await" }, "received");
  const churned = await api.ask({ kind: "churn", ...c }, "churned");
  const { at, responses } = await received;

  return { lags: churned.at.map(([, sent], i) => at.map((client) => (client[i] ?? NaN) - sent)), responses };
}

function quantile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
}

const peakMb = (pid: number): number => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? NaN) / 1024;
