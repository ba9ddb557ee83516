// Owns the small city of the tests: pods as real network namespaces on one bridge, a node agent, a control plane and one ztunnel,
// all in this process. Needs root. Every namespace carries the prefix `zt-test-`.
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import type { Socket as DatagramSocket } from "node:dgram";
import type { Server as NetServer, Socket } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { zds } from "@ambit/proto";
import { hostKernel, listenSeqpacket, type Channel, type ChannelServer, type Netns } from "@ambit/linux";
import { createLogger, LogLevels, Metrics, seededRandom, systemClock } from "@ambit/runtime";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, createXdsServer, type ResourceSource, type ServedResource, type XdsServer } from "@ambit/xds";
import { fakeCa } from "@ambit/testkit";
import type { WorkloadCertificate } from "@ambit/proxy/identity";
import { build, type BoundZtunnel, type Certificates, type Ports } from "./app.ts";
import { readConfig } from "./config.ts";
import { addressBytes, at, ip, policyBytes, type WirePolicy, type WireService, type WireWorkload } from "@ambit/proxy/testing";

const sh = (...command: string[]): void => void execFileSync(command[0] ?? "", command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });

/** The rules of protocol §5.6 that plain IPv4 needs. */
const RULES = `
table inet zt-mangle {
  chain pre { type filter hook prerouting priority -150; meta mark & 0xfff == 0x539 ct mark set ct mark & 0xfffff000 | 0x111; }
  chain out { type route hook output priority -150; ct mark & 0xfff == 0x111 meta mark set ct mark; }
}
table inet zt-nat {
  chain pre { type nat hook prerouting priority -100; ip daddr != 127.0.0.1 tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to :15006; }
  chain out { type nat hook output priority -100;
    oifname != "lo" udp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
    ip daddr != 127.0.0.1 tcp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
    meta l4proto tcp meta mark & 0xfff == 0x111 accept
    oifname "lo" ip daddr != 127.0.0.1 accept
    ip daddr != 127.0.0.1 meta l4proto tcp meta mark & 0xfff != 0x539 redirect to :15001
  }
}`;

/** Sockets of this process that are not closed, as Node names their kinds. */
const openSockets = (): string[] => process.getActiveResourcesInfo().filter((kind) => /^(?:TCP|UDP)/i.test(kind)).sort();
/** Far longer than the last ends take to arrive. */
const LEAK_WAIT_MS = 5_000;

export interface CityPod { readonly name: string; readonly address: string; readonly netns: Netns; readonly path: string }

/** The text until the peer ends its half; rejects when it resets. */
export async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
/** How the socket ends: its error's code, or "closed". */
export function ending(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let code = "closed";
    socket.on("error", (error: NodeJS.ErrnoException) => { code = error.code ?? error.message; });
    socket.on("end", () => socket.end());
    socket.on("close", () => resolve(code));
    socket.resume();
  });
}
export async function firstLine(socket: Socket): Promise<string> {
  const [chunk] = (await once(socket, "data")) as [Buffer];
  return chunk.toString();
}

/** What a test serves over xDS, changed by hand. */
class Shelf implements ResourceSource {
  readonly typeUrl: string;
  readonly versioned = true;
  readonly #all = new Map<string, ServedResource>();
  readonly #joins = new Map<string, readonly string[]>();
  readonly #listeners = new Set<(changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void>();
  #version = 0;

  constructor(typeUrl: string) { this.typeUrl = typeUrl; }
  /** `joins`: the services it belongs to, which bring it along when they are asked for. */
  put(name: string, bytes: Uint8Array, aliases: readonly string[] = [], joins: readonly string[] = []): void {
    this.#all.set(name, { name, bytes, version: String(++this.#version), aliases });
    this.#joins.set(name, joins);
    for (const tell of this.#listeners) tell(new Set([name]), new Set());
  }
  drop(name: string): void {
    this.#all.delete(name);
    for (const tell of this.#listeners) tell(new Set(), new Set([name]));
  }
  all(): Iterable<ServedResource> { return this.#all.values(); }
  get(nameOrAlias: string): readonly ServedResource[] {
    const found = [...this.#all.values()].filter((r) => r.name === nameOrAlias || r.aliases.includes(nameOrAlias));
    const joined = [...this.#all.values()].filter((r) => this.#joins.get(r.name)?.some((key) => found.some((f) => f.name === key)) === true);
    return [...new Set([...found, ...joined])];
  }
  onChange(listener: (changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

export class City {
  readonly ca = fakeCa();
  readonly lines: Record<string, unknown>[] = [];
  readonly #prefix = `zt-test-${process.pid}`;
  readonly #dir = mkdtempSync(join(tmpdir(), "zt-test-"));
  readonly #pods = new Map<string, CityPod>();
  readonly #addresses = new Shelf(ADDRESS_TYPE);
  readonly #policies = new Shelf(AUTHORIZATION_TYPE);
  readonly #servers: NetServer[] = [];
  readonly #datagrams: DatagramSocket[] = [];
  readonly #sockets = new Set<Socket>();
  #grpc: Server | undefined;
  #xds: XdsServer | undefined;
  #agent: ChannelServer | undefined;
  #channel: Channel | undefined;
  readonly #known = new Set<Channel>();
  readonly #rotated = new Set<(certificate: WorkloadCertificate) => void>();
  #acks: ((error: string) => void)[] = [];
  #waiters: (() => void)[] = [];
  readonly #redirect: (netns: Netns) => Promise<unknown>;
  /** As the city starts: what earlier tests of the process left open is not its own. */
  #socketsBefore = 0;
  zt: BoundZtunnel | undefined;

  /** `redirect`: other rules than the plain ones for IPv4. */
  constructor(redirect?: (netns: Netns) => Promise<unknown>) {
    this.#redirect = redirect ?? ((netns) => hostKernel.applyRules(netns, RULES));
  }

  get ztunnel(): BoundZtunnel {
    if (this.zt === undefined) throw new Error("no ztunnel is running");
    return this.zt;
  }

  async start(): Promise<void> {
    this.#socketsBefore = openSockets().length;
    sh("ip", "netns", "add", `${this.#prefix}-sw`);
    sh("ip", "-n", `${this.#prefix}-sw`, "link", "add", "br0", "type", "bridge");
    sh("ip", "-n", `${this.#prefix}-sw`, "link", "set", "br0", "up");
    this.#xds = createXdsServer({
      sources: [this.#policies, this.#addresses], log: createLogger("xds", { levels: new LogLevels("error") }), clock: systemClock, metrics: new Metrics(),
      authenticate: () => Promise.resolve({ identity: { trustDomain: "cluster.local", namespace: "istio-system", serviceAccount: "ztunnel" } }),
    });
    const grpc = (this.#grpc = new Server());
    grpc.addService(this.#xds.definition, this.#xds.implementation);
    this.#xdsPort = await new Promise<number>((resolve, reject) =>
      grpc.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => (error === null ? resolve(port) : reject(error))));
    this.#agent = listenSeqpacket(join(this.#dir, "ztunnel.sock"), 1024, (channel) => this.#serveAgent(channel));
  }
  #xdsPort = 0;

  async startZtunnel(more: Record<string, string> = {}): Promise<BoundZtunnel> {
    this.zt = await this.buildAnother(more);
    return this.zt;
  }

  /** One that `stop` does not know of. */
  buildAnother(more: Record<string, string> = {}, ports: Partial<Ports> = {}): Promise<BoundZtunnel> {
    this.#fresh = false;
    const config = readConfig({
      INPOD_UDS: join(this.#dir, "ztunnel.sock"), NODE_NAME: "n1", XDS_ADDRESS: `http://127.0.0.1:${this.#xdsPort}`, AUTH_TOKEN: "token", RUST_LOG: "debug",
      AMBIT_ADMIN_PORT: "0", AMBIT_STATS_PORT: "0", AMBIT_READINESS_PORT: "0", ...more,
    });
    const log = createLogger("ztunnel", { levels: new LogLevels(more["RUST_LOG"] ?? "debug"), write: (line) => {
      const record = JSON.parse(line) as Record<string, unknown>;
      this.lines.push(record);
      if (process.env["ZT_TEST_LOG"] !== undefined) process.stderr.write(line);
      for (const wake of this.#waiters.splice(0)) wake();
    } });
    return build(config, { random: seededRandom(1), log, certificates: this.#certificates(), nameServers: [ip("10.77.0.3")], ...ports });
  }

  /** A namespace with an address on the bridge, or several (commas between); `enrolled` redirects its traffic (the agent is told by `add`). */
  async pod(name: string, address: string, enrolled = true): Promise<CityPod> {
    const ns = `${this.#prefix}-${name}`;
    const sw = `${this.#prefix}-sw`;
    sh("ip", "netns", "add", ns);
    sh("ip", "-n", sw, "link", "add", `v-${name}`, "type", "veth", "peer", "name", "eth0", "netns", ns);
    sh("ip", "-n", sw, "link", "set", `v-${name}`, "master", "br0", "up");
    const plan = address.split(",").flatMap((a) => (a.includes(":")
      ? [["addr", "add", `${a}/64`, "dev", "eth0", "nodad"], ["-6", "route", "add", "default", "dev", "eth0"]] : [["addr", "add", `${a}/24`, "dev", "eth0"], ["route", "add", "default", "dev", "eth0"]]));
    for (const args of [["link", "set", "lo", "up"], ["link", "set", "eth0", "up"], ...plan]) sh("ip", "-n", ns, ...args);
    const path = `/var/run/netns/${ns}`;
    const pod: CityPod = { name, address, path, netns: hostKernel.openNetns(path) };
    this.#pods.set(name, pod);
    if (enrolled) {
      sh("ip", "-n", ns, "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100");
      sh("ip", "-n", ns, "rule", "add", "fwmark", "0x111/0xfff", "lookup", "100", "pref", "32764");
      await this.#redirect(pod.netns);
    }
    return pod;
  }

  /** As when a pod's sandbox ends: its address is free again. */
  takeAddress(pod: CityPod): void {
    sh("ip", "-n", `${this.#prefix}-${pod.name}`, "addr", "flush", "dev", "eth0");
    for (const name of this.#pods.keys()) sh("ip", "-n", `${this.#prefix}-${name}`, "neigh", "flush", "all");
  }

  put(...items: ({ workload: WireWorkload } | { service: WireService } | { policy: WirePolicy })[]): void {
    for (const item of items) {
      if ("workload" in item) this.#addresses.put(item.workload.uid ?? "", addressBytes({ case: "workload", value: item.workload }),
        (item.workload.addresses ?? []).map((a) => `${item.workload.network ?? ""}/${a.join(".")}`), Object.keys(item.workload.services ?? {}));
      else if ("service" in item) this.#addresses.put(`${item.service.namespace}/${item.service.hostname}`, addressBytes({ case: "service", value: item.service }),
        (item.service.addresses ?? []).map((a) => `${a.network ?? ""}/${a.address?.join(".") ?? ""}`));
      else this.#policies.put(`${item.policy.namespace}/${item.policy.name}`, policyBytes(item.policy));
    }
  }
  dropPolicy(key: string): void { this.#policies.drop(key); }
  dropAddress(name: string): void { this.#addresses.drop(name); }

  /** Tells ztunnel about a pod as the node agent does; resolves with the acknowledgement's error text. */
  add(pod: CityPod): Promise<string> {
    const fd = openSync(pod.path, "r");
    const sent = this.#ask({ case: "add", value: create(zds.AddWorkloadSchema, { uid: `uid-${pod.name}`, workloadInfo: { name: pod.name, namespace: "ns", serviceAccount: pod.name } }) }, [fd]);
    closeSync(fd);
    return sent;
  }
  del(pod: CityPod): Promise<string> { return this.#ask({ case: "del", value: create(zds.DelWorkloadSchema, { uid: `uid-${pod.name}` }) }); }
  snapshotSent(): Promise<string> { return this.#ask({ case: "snapshotSent", value: create(zds.SnapshotSentSchema) }); }

  async connected(): Promise<void> { while (this.#channel === undefined) await this.#turn(); }
  /** The one that was started last said hello. */
  async connectedAgain(): Promise<void> { while (!this.#fresh) await this.#turn(); }
  #fresh = false;

  #ask(payload: zds.WorkloadRequest["payload"] & {}, fds: number[] = []): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#channel === undefined) return reject(new Error("no ztunnel is connected"));
      this.#acks.push(resolve);
      this.#channel.send(toBinary(zds.WorkloadRequestSchema, create(zds.WorkloadRequestSchema, { payload })), fds);
    });
  }

  #serveAgent(channel: Channel): void {
    const known = this.#known;
    channel.setHandler({
      onPacket: (packet) => {
        // The hello comes first; then each packet answers the oldest request.
        if (!known.has(channel)) { known.add(channel); this.#channel = channel; this.#fresh = true; }
        else this.#acks.shift()?.(Buffer.from(packet.data.subarray(4)).toString());
        for (const wake of this.#waiters.splice(0)) wake();
      },
      onEnd: () => { if (this.#channel === channel) this.#channel = undefined; },
    });
  }

  /** An application's listener inside a pod. */
  async listen(pod: CityPod, port: number, serve: (socket: Socket) => void): Promise<void> {
    const server = hostKernel.listen(pod.netns, at(pod.address.includes(":") ? `[::]:${port}` : `0.0.0.0:${port}`), {});
    server.on("connection", (socket) => { this.#keep(socket); serve(socket); });
    if (!server.listening) await once(server, "listening");
    this.#servers.push(server);
  }

  /** An application's connection from inside a pod; connected when it resolves. */
  async dial(pod: CityPod, to: string): Promise<Socket> {
    const socket = this.#keep(hostKernel.dial(pod.netns, at(to), {}));
    await once(socket, "connect");
    return socket;
  }

  /** Says something, ends its half, and gives what came until the peer ended its own; rejects when it resets. */
  async exchange(pod: CityPod, to: string, say = ""): Promise<string> {
    const socket = await this.dial(pod, to);
    socket.end(say);
    const chunks: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }

  /** Changes what is served, and waits for the push. */
  async pushed(change: () => void): Promise<void> {
    const count = (): number => [...this.ztunnel.metrics.expose().matchAll(/^istio_xds_message_total\{[^}]*\} (\d+)$/gm)].reduce((n, m) => n + Number(m[1]), 0);
    const before = count();
    change();
    while (count() === before) await new Promise((r) => setImmediate(r));
  }

  complete(direction: "inbound" | "outbound"): Promise<Record<string, unknown>> {
    return this.line((l) => l["msg"] === "connection complete" && l["direction"] === direction);
  }

  /** A name server inside a pod, over UDP; `answer` gets the query's octets. */
  nameServer(pod: CityPod, answer: (query: Buffer, from: string) => Uint8Array): void {
    const socket = hostKernel.bindDatagram(pod.netns, at("0.0.0.0:53"), {});
    socket.on("message", (query, from) => socket.send(answer(query, from.address), from.port, from.address));
    this.#datagrams.push(socket);
  }

  /** One DNS exchange over UDP from inside a pod. */
  ask(pod: CityPod, query: Uint8Array, server = "10.77.0.3"): Promise<Buffer> {
    const socket = hostKernel.bindDatagram(pod.netns, { ip: ip("0.0.0.0"), port: 0 }, {});
    return new Promise((resolve) => {
      socket.on("message", (reply) => { socket.close(); resolve(reply); });
      socket.send(query, 53, server);
    });
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
    return socket;
  }

  /** Waits for a log line. */
  async line(matches: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.lines.find(matches);
      if (found !== undefined) return found;
      await this.#turn();
    }
  }

  #turn(): Promise<void> { return new Promise((resolve) => this.#waiters.push(resolve)); }

  readonly #leaves = new Map<string, WorkloadCertificate>();

  #certificates(): Certificates {
    return {
      fetch: (identity) => Promise.resolve(this.#leaves.get(identity.serviceAccount) ?? this.certify(identity.serviceAccount)),
      onRotate: (listener) => { this.#rotated.add(listener); return () => void this.#rotated.delete(listener); },
      prefetch: () => undefined, forget: () => undefined, list: () => [], close: () => undefined,
    };
  }

  /** A new certificate for `ns/NAME`, with its bundle, as if it had been renewed. */
  certify(name: string, ca = this.ca, rootsPem = ca.rootPem): WorkloadCertificate {
    const identity = { trustDomain: "cluster.local", namespace: "ns", serviceAccount: name };
    const { chainPem, keyPem } = ca.leaf("ns", name);
    const made: WorkloadCertificate = { identity, notBefore: 0, notAfter: 0, serial: "", fingerprint: "", chainPem, keyPem, rootsPem };
    const renewed = this.#leaves.has(name);
    this.#leaves.set(name, made);
    if (renewed) for (const tell of this.#rotated) tell(made);
    return made;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
    for (const socket of this.#datagrams) socket.close();
    await this.zt?.drain();
    await this.#agent?.close();
    this.#xds?.close();
    this.#grpc?.forceShutdown();
    for (const pod of this.#pods.values()) pod.netns[Symbol.dispose]();
    for (const name of [...this.#pods.keys(), "sw"]) { try { sh("ip", "netns", "del", `${this.#prefix}-${name}`); } catch { /* was never made */ } }
    rmSync(this.#dir, { recursive: true, force: true });
    // One that nobody closes any more would keep the process from ending, or spin it when it ends.
    for (const deadline = Date.now() + LEAK_WAIT_MS; openSockets().length > this.#socketsBefore; await new Promise((r) => setTimeout(r, 10)))
      if (Date.now() > deadline) throw new Error(`sockets are left over (${this.#socketsBefore} before): ${openSockets().join(", ")}`);
  }
}
