// `pnpm bench:l7`: our waypoint and (with ENVOY=/path/to/binary) Envoy configured alike, side by side, load now on one and now on the other in short windows: CPU of
// the proxy for each request, latency, memory. `--against=CHECKOUT` measures another checkout's waypoint in the same windows: before and after.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundle } from "@ambit/images/bundle";
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

const { values } = parseArgs({ options: { only: { type: "string" }, rounds: { type: "string", default: "7" }, seconds: { type: "string", default: "1" }, "node-options": { type: "string", default: POD_OPTIONS }, memory: { type: "boolean", default: false }, against: { type: "string" } } });
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

type Way = "ambit" | "before" | "envoy" | "plain";
const WAYS: readonly Way[] = ["ambit", ...(values.against === undefined ? [] : ["before" as const]), ...(envoy === undefined ? [] : ["envoy" as const])];
interface Sample { readonly us: number; readonly p50: number; readonly p99: number; readonly rps: number; readonly foreign: number }
const samples = new Map<string, Sample[]>();
const memory = new Map<string, number>();

async function start(way: Way, backend: BackendPorts): Promise<{ program: Program; ports: ProxyPorts }> {
  if (way !== "envoy") {
    const program = run(Program.node(await bundled(way === "before" ? values.against ?? "" : REPO, way), PROXY_CPU, values["node-options"].split(" ").filter((o) => o !== "")));
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

const REPO = resolve(import.meta.dirname, "../../..");
/** One file of JavaScript, as in the image: nothing is translated at start, and the memory for that is not counted. */
async function bundled(checkout: string, name: string): Promise<string> {
  const file = join(folder, `${name}.mjs`);
  if (!existsSync(file)) writeFileSync(file, (await bundle(checkout, { proxy: "test/bench/l7/proxy.ts" })).files["proxy.mjs"] ?? "");
  return file;
}

async function load(scenario: Omit<Scenario, "goal">, host: string, port: number): Promise<Program> {
  const program = run(Program.node("load.ts", LOAD_CPU));
  const { kind, connections, streams, rate } = scenario;
  await program.ask({ kind, connections, streams, rate, host, port, client: pem("client") } satisfies LoadSetup);
  return program;
}

/** A proxy that has run for a while is measured, not its compiler: so many requests first, as fast as they go, or as many as come in this time. */
const WARM_REQUESTS = 150_000;
const WARM_MAX_MS = 12_000;

async function warm(scenario: Scenario, host: string, port: number): Promise<void> {
  const client = await load({ ...scenario, rate: 0 }, host, port);
  client.tell("begin");
  for (const until = performance.now() + WARM_MAX_MS; performance.now() < until; await wait(250)) if ((await client.ask("end") as LoadResult).requests >= WARM_REQUESTS) break;
  await end(client);
}

/** One contender of a scenario: a proxy (none: straight to the backend) and its load. */
interface Lane { readonly way: Way; readonly proxy: Program | undefined; readonly client: Program }

/** A rate of 1,000 a second needs longer for the same number of requests, and the kernel counts CPU in hundredths. */
const RATE_PART = 3;
/** From the first request after a halt to the window. */
const SETTLE_MS = 200;

async function lane(way: Way, scenario: Scenario, backend: BackendPorts): Promise<Lane> {
  const proxy = way === "plain" ? undefined : await start(way, backend);
  const [host, port] = proxy === undefined ? [AT.plain, backend.h1] : ["127.0.0.1", proxy.ports[scenario.kind]];
  await warm(scenario, host, port);
  const client = await load(scenario, host, port);
  client.halt();
  return { way, proxy: proxy?.program, client };
}

async function measure({ proxy, client }: Lane, scenario: Scenario, backend: Program): Promise<Sample> {
  client.run();
  await wait(SETTLE_MS);
  const own = (): number => [backend, client, ...(proxy === undefined ? [] : [proxy])].reduce((sum, p) => sum + (cpuSeconds(p.pid) ?? 0), 0);
  const [cpu, all, ours, at] = [cpuSeconds(proxy?.pid ?? 0) ?? 0, machine().busyS, own(), performance.now()];
  client.tell("begin");
  await wait(seconds * 1000 * (scenario.rate > 0 ? RATE_PART : 1));
  const result = await client.ask("end") as LoadResult;
  const [used, wall] = [(cpuSeconds(proxy?.pid ?? 0) ?? 0) - cpu, (performance.now() - at) / 1000];
  const foreign = (machine().busyS - all - own() + ours) / wall;
  client.halt();
  if (result.failed > 0 || result.requests === 0) throw new Error(`${result.failed} of ${result.requests} requests failed`);
  return { us: (used * 1e6) / result.requests, p50: result.p50, p99: result.p99, rps: result.requests / wall, foreign };
}

const keep = (name: string, sample: Sample): void => { samples.set(name, [...(samples.get(name) ?? []), sample]); };

async function compare(name: string, scenario: Scenario, backend: Program, ports: BackendPorts): Promise<void> {
  const lanes: Lane[] = [];
  try {
    for (const way of scenario.rate > 0 && scenario.kind === "h1" ? ["plain" as const, ...WAYS] : WAYS) lanes.push(await lane(way, scenario, ports));
    for (let round = 0; round < rounds; round++) for (let i = 0; i < lanes.length; i++) {
      const at = lanes[(i + round) % lanes.length];
      if (at !== undefined) keep(`${name} ${at.way}`, await measure(at, scenario, backend));
    }
    for (const { way, proxy } of lanes) {
      if (proxy !== undefined) memory.set(`under ${name} ${way}`, residentMb(proxy.pid) ?? 0);
      const of = (x: (s: Sample) => number): string => (samples.get(`${name} ${way}`) ?? []).map((v) => x(v).toFixed(0)).join(" ");
      say(`${name.padEnd(16)} ${way.padEnd(6)} µs ${of((x) => x.us)}; rps ${of((x) => x.rps)}; p50 ${of((x) => x.p50)}; ${(memory.get(`under ${name} ${way}`) ?? 0).toFixed(0)} MB; others ${of((x) => x.foreign * 10)} tenths`);
    }
  } finally {
    for (const { proxy, client } of lanes) {
      await end(client);
      if (proxy !== undefined) await end(proxy);
    }
  }
}

say(envoy === undefined ? "no ENVOY given: nothing is compared" : `Envoy is ${envoy}`);
const backend = run(Program.node("backend.ts", LOAD_CPU));
const stop = (): void => { for (const p of running) p.kill(); rmSync(folder, { recursive: true, force: true }); process.exit(130); };
process.once("SIGINT", stop).once("SIGTERM", stop);
try {
  const ports = await backend.ask({ own: pem("backend") }) as BackendPorts;
  for (const [name, scenario] of chosen) await compare(name, scenario, backend, ports);
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
  const middle = (all: readonly number[]): number => { const sorted = all.toSorted((a, b) => a - b); return ((sorted[(sorted.length - 1) >> 1] ?? Number.NaN) + (sorted[sorted.length >> 1] ?? Number.NaN)) / 2; };
  const of = (name: string, way: Way, x: (s: Sample) => number): number[] => (samples.get(`${name} ${way}`) ?? []).map(x);
  const cell = (value: number, digits: number): string => (Number.isNaN(value) ? "–" : value.toFixed(digits));
  /** The ratio is the middle of the rounds' ratios: neighbours in time, so that what the machine did besides is in both. */
  const row = (what: string, ambit: readonly number[], before: readonly number[], other: readonly number[], goal: number, digits = 1): string => {
    const ratio = middle(ambit.map((a, i) => a / (other[i] ?? Number.NaN)));
    const change = before.length === 0 ? "" : ` ${cell(middle(before), digits)} (${cell(middle(ambit.map((a, i) => a / (before[i] ?? Number.NaN))), 2)}) |`;
    return `| ${what} | ${cell(middle(ambit), digits)} |${change} ${cell(middle(other), digits)} | ${cell(ratio, 2)} | ${goal.toFixed(2)} | ${Number.isNaN(ratio) ? "–" : ratio <= goal ? "yes" : "no"} |`;
  };
  const rowOf = (what: string, name: string, x: (s: Sample) => number, goal: number, digits = 1): string => row(what, of(name, "ambit", x), of(name, "before", x), of(name, "envoy", x), goal, digits);
  const rows = chosen.map(([name, s]) => rowOf(`${name}, CPU, µs`, name, (x) => x.us, s.goal));
  for (const [name, s] of chosen) {
    if (s.rate === 0) continue;
    const plain = middle(of(name, "plain", (x) => x.p50));
    if (!Number.isNaN(plain)) rows.push(rowOf(`${name}, p50 added to ${plain.toFixed(0)}, µs`, name, (x) => x.p50 - plain, 1, 0));
    rows.push(rowOf(`${name}, p99, µs`, name, (x) => x.p99, 1.5, 0));
  }
  const mb = (what: string, goal: number): string => row(`memory, ${what}, MB`, ...(["ambit", "before", "envoy"] as const).map((way) => [memory.get(`${what} ${way}`)].filter((m) => m !== undefined)) as [number[], number[], number[]], goal, 0);
  for (const [name, s] of chosen) if (s.kind === "hbone" && s.rate === 0) rows.push(mb(`under ${name}`, 1.8));
  if (values.memory) rows.push(mb("idle", 1.5), mb("10,000 connections that asked once", 0.8));
  const foreign = [...samples.values()].flat().map((s) => s.foreign);
  process.stdout.write(`| | Ambit |${values.against === undefined ? "" : " before (ratio) |"} Envoy | ratio | goal | met |\n|---|---:|${values.against === undefined ? "" : "---:|"}---:|---:|---:|---|\n${rows.join("\n")}\n\nmedians of ${rounds} windows of ${seconds} s each (${(seconds * RATE_PART).toFixed(1)} s at a rate), in turns; ${cpus().length} x ${cpus()[0]?.model.trim() ?? "?"}, Linux ${release()}, Node ${process.version}; busy with other things: ${(foreign.reduce((a, b) => a + b, 0) / Math.max(1, foreign.length)).toFixed(2)} processors on average; load average ${loadAverage()}\n`);
}
