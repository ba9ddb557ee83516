// Owns the loopback rig of this package's tests: an in-memory source, a real TLS gRPC server, and clients of it.
import { connect, constants, type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { connect as dial, createServer, type AddressInfo, type Socket } from "node:net";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";
import { createLogger, LogLevels, Metrics, seededRandom, systemClock, type Logger } from "@ambit/runtime";
import { fakeCa } from "@ambit/testkit";
import { createControlPlane, type ControlPlane, type ControlPlaneOptions } from "./client/control-plane.ts";
import { createXdsClient, type Delivery, type XdsClient, type XdsClientOptions } from "./client/xds-client.ts";
import { ADDRESS_TYPE } from "./protocol/messages.ts";
import { proxyNode } from "./protocol/node.ts";
import { DELTA_PATH } from "./wire/method.ts";
import { createXdsServer, type Authenticated, type XdsServer, type XdsServerOptions } from "./server/server.ts";
import type { ResourceSource, ServedResource } from "./server/source.ts";

export const HOST = "istiod.istio-system.svc";
export const ca = fakeCa();
const serving = ca.issue({ dnsNames: [HOST] });

/** A source that tests change by hand: content is the resource's bytes and, hashed by identity, its version. */
export class MemorySource implements ResourceSource {
  readonly typeUrl: string;
  readonly versioned: boolean;
  readonly #all = new Map<string, ServedResource>();
  readonly #listeners = new Set<(changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void>();

  constructor(typeUrl = ADDRESS_TYPE, versioned = true) {
    this.typeUrl = typeUrl;
    this.versioned = versioned;
  }

  put(name: string, content: string, aliases: readonly string[] = []): void {
    this.putAll([[name, content, aliases]]);
  }

  putAll(entries: readonly (readonly [string, string, (readonly string[])?])[]): void {
    for (const [name, content, aliases] of entries)
      this.#all.set(name, { name, version: `v-${content.slice(0, 64)}`, bytes: Buffer.from(content), aliases: aliases ?? [] });
    this.#tell(new Set(entries.map((e) => e[0])), new Set());
  }

  drop(...names: string[]): void {
    for (const name of names) this.#all.delete(name);
    this.#tell(new Set(), new Set(names));
  }

  all(): Iterable<ServedResource> {
    return this.#all.values();
  }

  get(name: string): readonly ServedResource[] {
    return [...this.#all.values()].filter((r) => r.name === name || r.aliases.includes(name));
  }

  onChange(listener: (changed: ReadonlySet<string>, removed: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  content(): Record<string, string> {
    return Object.fromEntries([...this.#all.values()].map((r) => [r.name, Buffer.from(r.bytes).toString()]));
  }

  #tell(changed: ReadonlySet<string>, removed: ReadonlySet<string>): void {
    for (const listener of this.#listeners) listener(changed, removed);
  }
}

export const quiet: Logger = createLogger("test", { levels: new LogLevels("error"), write: () => undefined });

export const ztunnel = { trustDomain: "cluster.local", namespace: "istio-system", serviceAccount: "ztunnel" };
export const node = proxyNode({ role: "ztunnel", ip: "10.0.0.1", podName: "ztunnel-x", podNamespace: "istio-system", nodeName: "node-1" });

export interface Rig {
  readonly port: number;
  readonly xds: XdsServer;
  readonly metrics: Metrics;
  readonly server: Server;
  close(): Promise<void>;
}

export interface RigOptions {
  readonly authenticate?: (token: string) => Promise<Authenticated>;
  readonly port?: number;
  readonly bounds?: XdsServerOptions["bounds"];
  readonly ready?: () => boolean;
  readonly fresh?: () => boolean;
  readonly grpc?: ServerOptions;
}

export async function serve(sources: readonly ResourceSource[], o: RigOptions = {}): Promise<Rig> {
  const authenticate = o.authenticate ?? ((token) => Promise.resolve(token === "Bearer good" ? { identity: ztunnel } : { error: "bad token" }));
  const metrics = new Metrics();
  const xds = createXdsServer({
    sources, log: quiet, clock: systemClock, metrics,
    authenticate: (metadata) => authenticate(String(metadata.get("authorization")[0] ?? "")),
    bounds: { doubtMs: 1, ...o.bounds },
    ...(o.fresh === undefined ? {} : { fresh: o.fresh }),
    ...(o.ready === undefined ? {} : { ready: o.ready }),
  });
  const server = new Server(o.grpc);
  server.addService(xds.definition, xds.implementation);
  const creds = ServerCredentials.createSsl(null, [{ private_key: Buffer.from(serving.keyPem), cert_chain: Buffer.from(serving.certPem) }]);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${o.port ?? 0}`, creds, (error, bound) => (error === null ? resolve(bound) : reject(error))));
  return {
    port, xds, metrics, server,
    close: () => new Promise((resolve) => {
      xds.close();
      server.forceShutdown();
      // The library never answers for a session that its own ping has ended.
      const timer = setTimeout(resolve, SHUTDOWN_MAX_MS);
      server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    }),
  };
}

export function plane(port: number, o: Partial<ControlPlaneOptions> = {}): ControlPlane {
  return createControlPlane({
    address: `https://127.0.0.1:${port}`, roots: ca.rootPem, token: "good", clusterId: "Kubernetes", altHostname: HOST, clock: systemClock, ...o,
  });
}

/** A client that keeps what it was given, counts pushes, and lets a test wait for a state. */
export class Watcher {
  readonly state = new Map<string, string>();
  readonly deliveries: (Delivery & { typeUrl: string })[] = [];
  readonly ended: { code: number; detail: string }[] = [];
  readonly client: XdsClient;
  readonly plane: ControlPlane;
  connects = 0;
  #waiting: { until: () => boolean; resolve: () => void }[] = [];

  constructor(port: number, o: Partial<XdsClientOptions> & { refuse?: (name: string, text: string) => string | undefined } = {}) {
    this.plane = o.connect ?? plane(port);
    this.client = createXdsClient({
      connect: this.plane, node, types: [{ typeUrl: ADDRESS_TYPE, onDemand: false }],
      clock: systemClock, random: seededRandom(1), log: quiet, ...o,
      onConnected: () => { this.connects++; this.#look(); },
      onDisconnected: (how) => { this.ended.push(how); this.#look(); },
      handler: (typeUrl, delivery) => {
        this.deliveries.push({ typeUrl, ...delivery });
        const problems = delivery.upserts.flatMap((u) => {
          const text = Buffer.from(u.bytes).toString();
          const reason = o.refuse?.(u.name, text);
          if (reason !== undefined) return [{ path: u.name, message: reason }];
          this.state.set(u.name, text);
          return [];
        });
        for (const name of delivery.removed) this.state.delete(name);
        setImmediate(() => this.#look());
        return problems;
      },
    });
  }

  get content(): Record<string, string> {
    return Object.fromEntries([...this.state].sort());
  }

  until(condition: () => boolean): Promise<void> {
    return condition() ? Promise.resolve() : new Promise((resolve) => this.#waiting.push({ until: condition, resolve }));
  }

  close(): void {
    this.client.close();
    this.plane.close();
  }

  #look(): void {
    const done = this.#waiting.filter((w) => w.until());
    this.#waiting = this.#waiting.filter((w) => !done.includes(w));
    for (const w of done) w.resolve();
  }
}

const SHUTDOWN_MAX_MS = 2_000;
const EVENTUALLY_MAX_MS = 10_000;

/** Waits for a condition that another part reaches by itself, looking again and again. */
export async function eventually(condition: () => boolean): Promise<void> {
  for (const start = performance.now(); !condition(); ) {
    if (performance.now() - start > EVENTUALLY_MAX_MS) throw new Error(`never came true: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

export interface RawStream {
  readonly stream: ClientHttp2Stream;
  readonly trailers: Promise<IncomingHttpHeaders>;
  readonly closed: Promise<void>;
  /** One gRPC message frame. */
  write(message: Uint8Array): void;
  close(): void;
}

/** A delta stream by hand, for clients that no gRPC library would be: silent, slow, malformed. */
export function rawStream(port: number): RawStream {
  const session = connect(`https://127.0.0.1:${port}`, { ca: ca.rootPem, servername: HOST });
  session.on("error", () => undefined);
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: "POST", [constants.HTTP2_HEADER_PATH]: DELTA_PATH,
    "content-type": "application/grpc", te: "trailers", authorization: "Bearer good",
  });
  stream.on("error", () => undefined);
  const trailers = new Promise<IncomingHttpHeaders>((resolve) => {
    stream.on("trailers", resolve);
    stream.on("response", (headers) => { if (headers["grpc-status"] !== undefined) resolve(headers); });
  });
  return {
    stream, trailers,
    closed: new Promise((resolve) => stream.on("close", () => resolve())),
    write: (message) => {
      const head = Buffer.alloc(5);
      head.writeUInt32BE(message.length, 1);
      stream.write(Buffer.concat([head, message]));
    },
    close: () => session.destroy(),
  };
}

/** A way to `port` that can be told to swallow everything, without a word to either end. */
export async function blackHole(port: number): Promise<{ readonly port: number; vanish(): void; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  let vanished = false;
  const server = createServer((near) => {
    const far = dial(port, "127.0.0.1");
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from);
      from.on("data", (chunk: Buffer) => { if (!vanished) to.write(chunk); });
      from.on("end", () => { if (!vanished) to.end(); });
      from.on("error", () => undefined);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    vanish: () => { vanished = true; },
    close: async () => {
      for (const s of sockets) s.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
