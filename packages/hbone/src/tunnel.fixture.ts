// Owns what the tests of tunnels share: a served listener with real TLS, a dialling function, and the end of everything.
import { createHash } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { err, MeshError, ok, parseIdentity, parseIp, type Identity, type Ip, type Result, type SocketAddress } from "@ambit/core";
import { fakeCa, type FakeCert } from "@ambit/testkit";
import { acceptTls, connectTls, createTlsCredentials, type ByteStream, type TlsCredentials } from "@ambit/transport";
import { X509Certificate } from "node:crypto";
import { createPool, serveTunnels, type Pool, type PoolKey, type PoolOptions, type TunnelRequest, type TunnelServerOptions, type TunnelSession } from "./index.ts";

export const ca = fakeCa();
export const credentialsOf = (cert: FakeCert): TlsCredentials => createTlsCredentials({ chain: cert.chainPem, key: cert.keyPem, roots: ca.rootPem });
export const clientCert = ca.leaf("default", "client");
export const serverCert = ca.leaf("default", "server");
const client = credentialsOf(clientCert);
const server = credentialsOf(serverCert);
export const identity = (serviceAccount: string): Identity => ({ trustDomain: "cluster.local", namespace: "default", serviceAccount });

const identityOf = (der: Uint8Array): Result<Identity, string> => parseIdentity((new X509Certificate(der).subjectAltName ?? "").replace("URI:", ""));

export class Rig {
  readonly sessions = new Set<TunnelSession>();
  readonly sockets = new Set<net.Socket>();
  readonly pools: Pool[] = [];
  readonly listeners: net.Server[] = [];
  /** TLS handshakes made by clients. */
  dials = 0;

  /** Listens and serves tunnels; returns the port. */
  async serve(onRequest: (request: TunnelRequest) => void, options: TunnelServerOptions = {}): Promise<number> {
    return this.listen((socket) => {
      void acceptTls(socket, { credentials: server, verify: identityOf }).then(({ stream, peer }) => {
        const session = serveTunnels(stream, { identity: peer, certificateFingerprint: createHash("sha256").update(clientCert.der).digest("hex"),
          remote: address(socket.remotePort ?? 0), local: address(socket.localPort ?? 0) }, options, onRequest);
        this.sessions.add(session);
        void session.closed.then(() => this.sessions.delete(session));
      }, () => {});
    });
  }

  async listen(onSocket: (socket: net.Socket) => void): Promise<number> {
    const listener = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.#track(socket);
      onSocket(socket);
    });
    this.listeners.push(listener);
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    return (listener.address() as net.AddressInfo).port;
  }

  #track(socket: net.Socket): void {
    this.sockets.add(socket);
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("error", () => {});
  }

  /** A socket of the test's own. */
  dialSocket(port: number): net.Socket {
    const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    this.#track(socket);
    return socket;
  }

  async dial(key: PoolKey, signal?: AbortSignal): Promise<ByteStream> {
    this.dials++;
    const expected = key.expected.map((e) => e.serviceAccount);
    const { stream } = await connectTls(this.dialSocket(key.nextHop.port), { credentials: client, ...(signal === undefined ? {} : { signal }),
      verify: (der) => {
        const id = identityOf(der);
        return id.ok && !expected.includes(id.value.serviceAccount) ? err(`expected ${expected.join()}, got ${id.value.serviceAccount}`) : id;
      } });
    return stream;
  }

  pool(options: Partial<PoolOptions> = {}): Pool {
    const pool = createPool({ connect: (key, signal) => this.dial(key, signal), ...options });
    this.pools.push(pool);
    return pool;
  }

  /** Ends everything and checks that nothing stays. */
  async end(): Promise<void> {
    await Promise.all(this.pools.map((p) => p.drain(0)));
    await Promise.all([...this.sessions].map((s) => { s.destroy(new MeshError("drained", "test over")); return s.closed; }));
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(this.listeners.map((l) => new Promise((resolve) => l.close(resolve))));
    await Promise.all([...this.sockets].map((s) => once(s, "close")));
  }
}

const LOOPBACK: Ip = (() => {
  const ip = parseIp("127.0.0.1");
  if (!ip.ok) throw new Error(ip.error);
  return ip.value;
})();
export const address = (port: number): SocketAddress => ({ ip: LOOPBACK, port });
export const keyFor = (port: number, expected = "server", sourceIp = "127.0.0.1"): PoolKey => ({ source: identity("client"), expected: [identity(expected)], nextHop: address(port), sourceIp });
export const okIdentity = (): Result<undefined, string> => ok(undefined);
export const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
