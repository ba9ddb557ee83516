// `pnpm scale:ztunnel`: one ztunnel as a process, told of many workloads: time and memory until it knows them, and what a large push costs the loop.
// Idle connections are measured by `pnpm bench --only idle`, which has pods.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { addressBytes, member, octets, pod, svc } from "@ambit/proxy/testing";
import { createLogger, LogLevels, Metrics, systemClock } from "@ambit/runtime";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, createXdsServer, type ResourceSource, type ServedResource } from "@ambit/xds";
import { cpuSeconds, loadAverage, residentMb } from "../bench/processes.ts";

const { values } = parseArgs({ options: {
  workloads: { type: "string", default: "1000,10000,50000" }, push: { type: "string", default: "10000" }, threads: { type: "string", default: "1" },
  /** Everything in one message, as the real istiod does; ours sends 500 at a time. */
  whole: { type: "boolean", default: false },
} });
const ZTUNNEL = join(import.meta.dirname, "../../packages/ztunnel/src/main.ts");
/** Pods of one service, as a Deployment of that size has. */
const PER_SERVICE = 8;
const NODES = 200;
/** Memory is read when garbage had time to go. */
const SETTLE_MS = 3_000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

class Shelf implements ResourceSource {
  readonly typeUrl: string;
  readonly versioned = true;
  readonly #all = new Map<string, ServedResource>();
  readonly #listeners = new Set<(changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void>();
  #version = 0;
  constructor(typeUrl: string) { this.typeUrl = typeUrl; }
  put(entries: readonly (readonly [string, Uint8Array])[]): void {
    const version = String(++this.#version);
    for (const [name, bytes] of entries) this.#all.set(name, { name, bytes, version, aliases: [] });
    for (const tell of this.#listeners) tell(new Set(entries.map(([name]) => name)), new Set());
  }
  all(): Iterable<ServedResource> { return this.#all.values(); }
  get(name: string): readonly ServedResource[] { const r = this.#all.get(name); return r === undefined ? [] : [r]; }
  onChange(listener: (changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

const address = (base: number, i: number): string => `10.${base + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
function workload(i: number, revision: string): readonly [string, Uint8Array] {
  const app = `app-${Math.floor(i / PER_SERVICE)}`;
  const value = pod(`${app}-${i % PER_SERVICE}`, address(100, i), { serviceAccount: app, workloadName: app, canonicalName: app, canonicalRevision: revision, node: `n${i % NODES}`, services: member(`${app}.ns.svc.cluster.local`) });
  return [value.uid ?? "", addressBytes({ case: "workload", value })];
}
function service(i: number): readonly [string, Uint8Array] {
  const value = svc(`app-${i}.ns.svc.cluster.local`, "", { addresses: [{ network: "", address: octets(address(80, i)) }] });
  return [`ns/${value.hostname}`, addressBytes({ case: "service", value })];
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The longest look at /healthz, milliseconds: the longest the loop was held, and noise. From another process, since this one is busy itself. */
async function lookAt(port: number): Promise<{ end(): Promise<number> }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "look.ts"), String(port)], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return { end: async () => { child.stdin.end(); return Number((await lines.next()).value); } };
}

async function measure(count: number): Promise<string> {
  const [addresses, policies] = [new Shelf(ADDRESS_TYPE), new Shelf(AUTHORIZATION_TYPE)];
  addresses.put([...Array.from({ length: Math.ceil(count / PER_SERVICE) }, (_, i) => service(i)), ...Array.from({ length: count }, (_, i) => workload(i, "v1"))]);
  const xds = createXdsServer({
    sources: [policies, addresses], log: createLogger("xds", { levels: new LogLevels("error") }), clock: systemClock, metrics: new Metrics(),
    authenticate: () => Promise.resolve({ identity: { trustDomain: "cluster.local", namespace: "istio-system", serviceAccount: "ztunnel" } }),
    ...(values.whole ? { bounds: { chunkResources: Number.MAX_SAFE_INTEGER, chunkBytes: Number.MAX_SAFE_INTEGER } } : {}),
  });
  const grpc = new Server({ "grpc.max_send_message_length": -1 });
  grpc.addService(xds.definition, xds.implementation);
  const xdsPort = await new Promise<number>((resolve, reject) => grpc.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => (error === null ? resolve(port) : reject(error))));
  const admin = await freePort();
  const began = performance.now();
  const child = spawn(process.execPath, [ZTUNNEL], { stdio: ["ignore", "ignore", "inherit"], env: {
    ...process.env, NODE_OPTIONS: "--max-semi-space-size=4", MALLOC_ARENA_MAX: "2", NODE_NAME: "n1", XDS_ADDRESS: `http://127.0.0.1:${xdsPort}`, AUTH_TOKEN: "none", INPOD_UDS: "/nonexistent/ztunnel.sock",
    RUST_LOG: "error", AMBIT_ADMIN_PORT: String(admin), AMBIT_STATS_PORT: String(await freePort()), AMBIT_READINESS_PORT: String(await freePort()), ZTUNNEL_WORKER_THREADS: values.threads, ISTIO_META_DNS_CAPTURE: "false",
  } });
  const pid = child.pid ?? 0;
  const settled = async (): Promise<void> => {
    for (;;) {
      const types = xds.clients()[0]?.types;
      if ([ADDRESS_TYPE, AUTHORIZATION_TYPE].every((t) => types?.[t] !== undefined && types[t].pending === 0 && types[t].unacked === 0 && types[t].ackedNonce !== "")) return;
      if (child.exitCode !== null) throw new Error(`ztunnel ended with ${child.exitCode}`);
      await pause(5);
    }
  };
  try {
    await settled();
    const [readyS, cpuS] = [(performance.now() - began) / 1000, cpuSeconds(pid) ?? NaN];
    await pause(SETTLE_MS);
    const rss = residentMb(pid) ?? NaN;
    const quiet = await lookAt(admin);
    await pause(1_000);
    const before = await quiet.end();
    const looking = await lookAt(admin);
    const cpu = cpuSeconds(pid) ?? NaN;
    const pushed = performance.now();
    addresses.put(Array.from({ length: Math.min(count, Number(values.push)) }, (_, i) => workload(i, "v2")));
    await settled();
    const pushMs = performance.now() - pushed;
    await pause(200);
    const during = await looking.end();
    const figures = [readyS.toFixed(2), cpuS.toFixed(2), Math.round(rss), Math.round(pushMs), Math.round(1000 * ((cpuSeconds(pid) ?? NaN) - cpu)), Math.round(during), Math.round(before), Math.round(residentMb(pid) ?? NaN)];
    return `| ${[count.toLocaleString("en"), ...figures].join(" | ")} |`;
  } finally {
    child.kill("SIGKILL");
    xds.close();
    grpc.forceShutdown();
  }
}

process.stdout.write(`| workloads | start to all known, s | CPU until then, s | RSS, MB | push of ${values.push}: until ACK, ms | CPU of it, ms | longest look meanwhile, ms | without a push, ms | RSS after, MB |\n|${"---:|".repeat(9)}\n`);
for (const count of values.workloads.split(",").map(Number)) process.stdout.write(`${await measure(count)}\n`);
process.stdout.write(`\n${values.threads} thread(s), ${values.whole ? "one message" : "messages of 500 resources"}, Node ${process.version}, load ${loadAverage()}\n`);
process.exit(0);
