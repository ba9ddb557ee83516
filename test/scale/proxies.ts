// Owns the proxies of a scale run: many delta-xDS clients over TLS and HTTP/2 that subscribe, acknowledge and resume as ztunnel does. A process of its own.
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { auth, discovery } from "@ambit/proto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { fakeCsr } from "@ambit/testkit";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, proxyNode } from "@ambit/xds";
import { monotonicMs, type ClientCommand, type ClientReport } from "./messages.ts";
import { DELTA_PATH, field, frame, nameAndVersion, response, Unframer } from "./wire.ts";
import { accountOf, namespaceOf, serviceOf, ztunnelOf, type Size } from "./world.ts";

const HOST = "istiod.istio-system.svc";
const CA_PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
const TYPES = [ADDRESS_TYPE, AUTHORIZATION_TYPE];
const report = (message: ClientReport): void => void process.send?.(message);

/** What the first client holds: all hold the same, so one table is enough to resume them all. */
const held = new Map(TYPES.map((t) => [t, new Map<string, string>()]));

class Proxy {
  readonly number: number;
  readonly session: ClientHttp2Session;
  readonly headers: Record<string, string>;
  readonly complete = new Set<string>();
  /** When each expected pod was received; NaN: not yet. */
  seen = new Float64Array(0);
  missing = 0;
  requestBytes = 0;
  answerBytes = 0;
  resources = 0;
  responses = 0;
  /** The last response of the opening. */
  completeMs = 0;
  onComplete: () => void = () => undefined;
  onSeen: () => void = () => undefined;
  #stream: ClientHttp2Stream | undefined;

  constructor(number: number, port: number, rootsPem: string) {
    this.number = number;
    const { name, uid } = ztunnelOf(number);
    this.headers = { ":method": "POST", "content-type": "application/grpc", te: "trailers", clusterid: "Kubernetes", authorization: `Bearer istio-system:ztunnel:${name}:${uid}` };
    this.session = connect(`https://127.0.0.1:${port}`, { ca: rootsPem, servername: HOST });
    this.session.on("error", (error) => { throw error; });
  }

  subscribe(initial: ReadonlyMap<string, Buffer>): void {
    const stream = this.session.request({ ...this.headers, ":path": DELTA_PATH });
    this.#stream = stream;
    const unframer = new Unframer();
    stream.on("data", (chunk: Buffer) => { this.answerBytes += chunk.length; for (const message of unframer.push(chunk)) this.#message(message); });
    stream.on("trailers", (t) => { if (t["grpc-status"] !== "0") throw new Error(`client ${this.number}: stream ended with ${t["grpc-status"]} ${t["grpc-message"]}`); });
    for (const type of TYPES) this.#send(Buffer.concat([opening(this.number, type), initial.get(type) ?? Buffer.alloc(0)]));
  }

  async certificate(csrPem: string, identity: string): Promise<string> {
    const stream = this.session.request({ ...this.headers, ":path": CA_PATH });
    stream.end(frame(toBinary(auth.IstioCertificateRequestSchema, create(auth.IstioCertificateRequestSchema, { csr: csrPem, validityDuration: 86_400n, metadata: { ImpersonatedIdentity: identity } }))));
    const unframer = new Unframer();
    let error = "no answer";
    const note = (h: Record<string, unknown>): void => { if (h["grpc-status"] !== undefined && h["grpc-status"] !== "0") error = `${String(h["grpc-status"])} ${String(h["grpc-message"])}`; };
    stream.on("response", note);
    stream.on("trailers", note);
    for await (const chunk of stream as AsyncIterable<Buffer>)
      for (const message of unframer.push(chunk)) if (fromBinary(auth.IstioCertificateResponseSchema, message).certChain.length >= 2) error = "";
    return error;
  }

  close(): void {
    this.#stream?.close();
    this.session.destroy();
  }

  #send(message: Uint8Array): void {
    this.requestBytes += message.length;
    this.#stream?.write(frame(message));
  }

  #message(bytes: Buffer): void {
    const r = response(bytes);
    this.responses++;
    this.resources += r.resources.length;
    this.#send(Buffer.concat([field(2, Buffer.from(r.typeUrl)), field(6, r.nonce)]));
    const opening = this.complete.size < TYPES.length;
    if (this.number === 0 || !opening) {
      const now = monotonicMs();
      for (const resource of r.resources) {
        const [name, version] = nameAndVersion(resource);
        if (this.number === 0) held.get(r.typeUrl)?.set(name, version);
        if (opening) continue;
        const index = expected.get(name);
        if (index === undefined || !Number.isNaN(this.seen[index])) continue;
        this.seen[index] = now;
        this.missing--;
      }
    }
    if (!opening) return this.onSeen();
    if (!r.partial) this.complete.add(r.typeUrl);
    if (this.complete.size < TYPES.length) return;
    this.completeMs = monotonicMs();
    this.onComplete();
  }
}

function opening(number: number, typeUrl: string): Uint8Array {
  const node = proxyNode({ role: "ztunnel", ip: `192.168.${number >> 8}.${number & 255}`, podName: ztunnelOf(number).name, podNamespace: "istio-system", nodeName: `node-${number}` });
  return toBinary(discovery.DeltaDiscoveryRequestSchema, create(discovery.DeltaDiscoveryRequestSchema, { typeUrl, node: { id: node.id, metadata: { ...node.metadata } as Record<string, string> } }));
}

const versions = (known: ReadonlyMap<string, string>): Buffer =>
  Buffer.concat([...known].map(([name, version]) => field(5, Buffer.concat([field(1, Buffer.from(name)), field(2, Buffer.from(version))]))));

let proxies: Proxy[] = [];
let expected: ReadonlyMap<string, number> = new Map();

async function connectAll(c: ClientCommand & { kind: "connect" }): Promise<void> {
  const initial = new Map(c.known ? TYPES.map((t) => [t, versions(held.get(t) ?? new Map())]) : []);
  if (!c.known) for (const known of held.values()) known.clear();
  const beganMs = monotonicMs();
  proxies = Array.from({ length: c.clients }, (_, i) => new Proxy(i, c.port, c.rootsPem));
  await Promise.all(proxies.map((p) => new Promise<void>((resolve) => { p.onComplete = resolve; p.subscribe(initial); })));
  const sum = (of: (p: Proxy) => number): number => proxies.reduce((n, p) => n + of(p), 0);
  report({ kind: "connected", beganMs, lastMs: Math.max(...proxies.map((p) => p.completeMs)), resources: sum((p) => p.resources), responses: sum((p) => p.responses), requestBytes: sum((p) => p.requestBytes), answerBytes: sum((p) => p.answerBytes) });
}

function expect(pods: readonly string[]): void {
  expected = new Map(pods.map((name, i) => [name, i]));
  for (const p of proxies) {
    p.seen = new Float64Array(pods.length).fill(NaN);
    p.missing = pods.length;
    p.responses = 0;
  }
  report({ kind: "expecting" });
}

async function awaitAll(): Promise<void> {
  await Promise.all(proxies.map((p) => new Promise<void>((resolve) => {
    p.onSeen = () => {
      if (p.missing > 0) return;
      p.onSeen = () => undefined;
      resolve();
    };
    p.onSeen();
  })));
  report({ kind: "received", at: proxies.map((p) => [...p.seen]), responses: proxies.map((p) => p.responses) });
}

async function certificates(size: Size, each: number): Promise<void> {
  const perNode = size.pods / size.nodes;
  const asked = proxies.flatMap((p) => Array.from({ length: each }, (_, i) => {
    const pod = Math.floor(p.number * perNode) + (i % perNode);
    const identity = { trustDomain: "cluster.local", namespace: namespaceOf(serviceOf(size, pod)), serviceAccount: accountOf(size, pod) };
    return { p, csr: fakeCsr(identity).csrPem, uri: `spiffe://${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}` };
  }));
  const began = monotonicMs();
  const done = await Promise.all(asked.map(async (a) => ({ error: await a.p.certificate(a.csr, a.uri), ms: monotonicMs() - began })));
  report({ kind: "certified", ms: done.map((d) => d.ms), failures: done.flatMap((d) => (d.error === "" ? [] : [d.error])) });
}

process.on("message", (c: ClientCommand) => {
  switch (c.kind) {
    case "connect": return void connectAll(c);
    case "disconnect":
      for (const p of proxies) p.close();
      proxies = [];
      return report({ kind: "disconnected" });
    case "expect": return expect(c.pods);
    case "await": return void awaitAll();
    case "certificates": return void certificates(c.size, c.each);
  }
});
process.on("disconnect", () => process.exit(0));
