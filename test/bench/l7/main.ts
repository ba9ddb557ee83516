// `pnpm bench:l7`: our waypoint and (with ENVOY=/path/to/binary) Envoy configured alike, in turns: CPU of the proxy for each request, p50, memory.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fakeCa } from "@ambit/testkit";
import { cpuSeconds, loadAverage, machine, residentMb } from "../processes.ts";
import { envoyConfig } from "./envoy.ts";
import { AT, type BackendPorts, type LoadResult, type LoadSetup, type Pem, type ProxyPorts } from "./messages.ts";
import { freePorts, Program, wait } from "./programs.ts";

interface Scenario { readonly kind: LoadSetup["kind"]; readonly connections: number; readonly streams: number; readonly rate: number; readonly goal: number }
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "h1 64": { kind: "h1", connections: 64, streams: 1, rate: 0, goal: 0.6 },
  "grpc 4x16": { kind: "grpc", connections: 4, streams: 16, rate: 0, goal: 0.4 },
  "grpc 64x1": { kind: "grpc", connections: 64, streams: 1, rate: 0, goal: 0.45 },
  "hbone 4x16": { kind: "hbone", connections: 4, streams: 16, rate: 0, goal: 0.5 },
  "hbone 32x1": { kind: "hbone", connections: 32, streams: 1, rate: 0, goal: 0.65 },
  "h1 1,000 rps": { kind: "h1", connections: 8, streams: 1, rate: 1_000, goal: 0.95 },
  "hbone 1,000 rps": { kind: "hbone", connections: 4, streams: 16, rate: 1_000, goal: 0.95 },
};
const IDLE_CONNECTIONS = 10_000;
/** The proxy has one processor, load and backend share the other. */
const [PROXY_CPU, LOAD_CPU] = [0, 1];

/** As in the pods that istiod-lite makes of a Gateway. */
const POD_OPTIONS = "--max-semi-space-size=4";

const { values } = parseArgs({ options: { only: { type: "string" }, rounds: { type: "string", default: "3" }, seconds: { type: "string", default: "3" }, "node-options": { type: "string", default: POD_OPTIONS }, memory: { type: "boolean", default: false } } });
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const envoy = process.env["ENVOY"] || undefined;
const chosen = Object.entries(SCENARIOS).filter(([name]) => new RegExp(values.only ?? ".").test(name));

const begin = performance.now();
const say = (text: string): void => void process.stderr.write(`${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);
const folder = mkdtempSync(join(tmpdir(), "ambit-l7-"));
const ca = fakeCa("bench");
const pem = (serviceAccount: string): Pem => { const leaf = ca.leaf("shop", serviceAccount); return { chain: leaf.chainPem, key: leaf.keyPem, roots: ca.rootPem }; };
const running = new Set<Program>();
const run = (program: Program): Program => { running.add(program); return program; };
const end = async (program: Program): Promise<void> => { await program.stop(); running.delete(program); };

type Way = "ambit" | "envoy";
const WAYS: readonly Way[] = envoy === undefined ? ["ambit"] : ["ambit", "envoy"];
interface Sample { readonly us: number; readonly p50: number; readonly rps: number; readonly foreign: number; readonly rss: number }
const samples = new Map<string, Sample[]>();
const memory = new Map<string, number>();

async function start(way: Way, backend: BackendPorts): Promise<{ program: Program; ports: ProxyPorts }> {
  if (way === "ambit") {
    const program = run(Program.node("proxy.ts", PROXY_CPU, values["node-options"].split(" ").filter((o) => o !== "")));
    return { program, ports: await program.ask({ own: pem("waypoint"), ...backend }) as ProxyPorts };
  }
  const [h1 = 0, grpc = 0, hbone = 0, admin = 0] = await freePorts(4);
  const own = pem("waypoint");
  for (const [name, text] of Object.entries(own)) writeFileSync(join(folder, `${name}.pem`), text, { mode: 0o600 });
  const path = join(folder, "envoy.json");
  writeFileSync(path, envoyConfig({ h1, grpc, hbone, admin, backend, folder }));
  const program = run(Program.start(PROXY_CPU, [envoy ?? "", "-c", path, "--concurrency", "1", "-l", "error", "--disable-hot-restart"]));
  await program.listens(hbone);
  return { program, ports: { h1, grpc, hbone } };
}

async function load(scenario: Omit<Scenario, "goal">, host: string, port: number): Promise<Program> {
  const program = run(Program.node("load.ts", LOAD_CPU));
  const { kind, connections, streams, rate } = scenario;
  await program.ask({ kind, connections, streams, rate, host, port, client: pem("client") } satisfies LoadSetup);
  return program;
}

/** A proxy that has run for a while is measured, not its compiler: so many requests first, as fast as they go, or as many as come in this time. */
const WARM_REQUESTS = 30_000;
const WARM_MAX_MS = 12_000;

async function warm(scenario: Scenario, host: string, port: number): Promise<void> {
  const client = await load({ ...scenario, rate: 0 }, host, port);
  client.tell("begin");
  for (const until = performance.now() + WARM_MAX_MS; performance.now() < until; await wait(250)) if ((await client.ask("end") as LoadResult).requests >= WARM_REQUESTS) break;
  await end(client);
}

/** One window. `of`: whose CPU. */
async function measure(scenario: Scenario, host: string, port: number, backend: Program, of: Program | undefined): Promise<Sample> {
  await warm(scenario, host, port);
  const client = await load(scenario, host, port);
  try {
    await wait(500);
    const own = (): number => [backend, client, ...(of === undefined ? [] : [of])].reduce((sum, p) => sum + (cpuSeconds(p.pid) ?? 0), 0);
    const [cpu, all, ours, at] = [cpuSeconds(of?.pid ?? 0) ?? 0, machine().busyS, own(), performance.now()];
    client.tell("begin");
    await wait(seconds * 1000);
    const result = await client.ask("end") as LoadResult;
    const wall = (performance.now() - at) / 1000;
    if (result.failed > 0 || result.requests === 0) throw new Error(`${result.failed} of ${result.requests} requests failed`);
    return { us: (((cpuSeconds(of?.pid ?? 0) ?? 0) - cpu) * 1e6) / result.requests, p50: result.p50, rps: result.requests / wall, foreign: (machine().busyS - all - own() + ours) / wall, rss: residentMb(of?.pid ?? 0) ?? 0 };
  } finally {
    await end(client);
  }
}

const keep = (name: string, sample: Sample): void => { samples.set(name, [...(samples.get(name) ?? []), sample]); };

say(envoy === undefined ? "no ENVOY given: nothing is compared" : `Envoy is ${envoy}`);
const backend = run(Program.node("backend.ts", LOAD_CPU));
const stop = (): void => { for (const p of running) p.kill(); rmSync(folder, { recursive: true, force: true }); process.exit(130); };
process.once("SIGINT", stop).once("SIGTERM", stop);
try {
  const ports = await backend.ask({ own: pem("backend") }) as BackendPorts;
  for (let round = 1; round <= rounds; round++) {
    for (const [name, scenario] of chosen) {
      if (scenario.rate > 0 && scenario.kind === "h1") keep(`${name} plain`, await measure(scenario, AT.plain, ports.h1, backend, undefined));
      for (const way of round % 2 === 0 ? [...WAYS].reverse() : WAYS) {
        const proxy = await start(way, ports);
        try {
          const sample = await measure(scenario, "127.0.0.1", proxy.ports[scenario.kind], backend, proxy.program);
          keep(`${name} ${way}`, sample);
          say(`round ${round}  ${name.padEnd(16)} ${way}  ${sample.us.toFixed(1)} µs  ${sample.rps.toFixed(0)} rps  p50 ${sample.p50.toFixed(0)} µs  ${sample.rss.toFixed(0)} MB  (${sample.foreign.toFixed(1)} processors busy with other things)`);
        } finally {
          await end(proxy.program);
        }
      }
    }
  }
  if (values.memory) for (const way of WAYS) await measureMemory(way, ports);
} finally {
  for (const p of [...running]) await end(p);
  rmSync(folder, { recursive: true, force: true });
}
report();

async function measureMemory(way: Way, ports: BackendPorts): Promise<void> {
  const proxy = await start(way, ports);
  try {
    await wait(3_000);
    memory.set(`idle ${way}`, residentMb(proxy.program.pid) ?? 0);
    const client = await load({ kind: "h1", connections: IDLE_CONNECTIONS, streams: 1, rate: -1 }, "127.0.0.1", proxy.ports.h1);
    await wait(4_000);
    memory.set(`10,000 connections that asked once ${way}`, residentMb(proxy.program.pid) ?? 0);
    await end(client);
    say(`memory  ${way}  ${[...memory].filter(([k]) => k.endsWith(way)).map(([k, mb]) => `${k} ${mb.toFixed(0)} MB`).join(", ")}`);
  } finally {
    await end(proxy.program);
  }
}

function report(): void {
  const median = (name: string, of: (s: Sample) => number): number => { const all = (samples.get(name) ?? []).map(of).sort((a, b) => a - b); return ((all[(all.length - 1) >> 1] ?? Number.NaN) + (all[all.length >> 1] ?? Number.NaN)) / 2; };
  const row = (what: string, ambit: number, other: number, goal: number, digits = 1): string =>
    `| ${what} | ${ambit.toFixed(digits)} | ${Number.isNaN(other) ? "–" : other.toFixed(digits)} | ${Number.isNaN(other) ? "–" : (ambit / other).toFixed(2)} | ${goal.toFixed(2)} | ${Number.isNaN(other) ? "–" : ambit / other <= goal ? "yes" : "no"} |`;
  const rows = chosen.map(([name, s]) => row(`${name}, CPU, µs`, median(`${name} ambit`, (x) => x.us), median(`${name} envoy`, (x) => x.us), s.goal));
  for (const [name] of chosen) if (samples.has(`${name} plain`)) {
    const plain = median(`${name} plain`, (x) => x.p50);
    rows.push(row(`${name}, p50 added to ${plain.toFixed(0)}, µs`, median(`${name} ambit`, (x) => x.p50) - plain, median(`${name} envoy`, (x) => x.p50) - plain, 1, 0));
  }
  if (values.memory) for (const [what, goal] of [["idle", 1.5], ["10,000 connections that asked once", 0.8]] as const) rows.push(row(`memory, ${what}, MB`, memory.get(`${what} ambit`) ?? Number.NaN, memory.get(`${what} envoy`) ?? Number.NaN, goal, 0));
  const foreign = [...samples.values()].flat().map((s) => s.foreign);
  process.stdout.write(`| | Ambit | Envoy | ratio | goal | met |\n|---|---:|---:|---:|---:|---|\n${rows.join("\n")}\n\nmedians of ${rounds} rounds, windows of ${seconds} s; ${cpus().length} x ${cpus()[0]?.model.trim() ?? "?"}, Linux ${release()}, Node ${process.version}; busy with other things: ${(foreign.reduce((a, b) => a + b, 0) / Math.max(1, foreign.length)).toFixed(2)} processors on average; load average ${loadAverage()}\n`);
}
