// Owns the control plane's gRPC ports: 15012 with TLS (certificate replaced live), 15010 in plaintext where it is wanted.
import { experimental, Server, ServerCredentials, type ServerOptions, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Clock } from "@ambit/runtime";
import type { ServingCertificate } from "../ca/serving.ts";

/** As Istio's --keepaliveMaxServerConnectionAge: clients spread over replicas again, and resume is exercised all the time. */
const CONNECTION_AGE_MS = 30 * 60_000;
/** Streams get this long to end after the GOAWAY. */
const CONNECTION_AGE_GRACE_MS = 10_000;
/** Idle streams cross NAT tables that forget after minutes. */
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;
/** A reconnecting client lists every resource it holds: 100,000 names of 100 bytes and some. */
const RECEIVE_MAX_BYTES = 16 * 1024 * 1024;
/** One xDS stream and some certificate requests per connection. */
const STREAMS_PER_CONNECTION_MAX = 128;
/** How long a drain waits for calls under way. */
const DRAIN_MS = 5_000;

export interface GrpcService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

export interface GrpcOptions {
  /** 0: any free port. */
  readonly port: number;
  readonly host?: string;
  /** Plaintext with the same authentication; absent: not served. */
  readonly plaintextPort?: number | undefined;
  readonly tls: Pick<ServingCertificate, "current" | "onRotate">;
  readonly xds: GrpcService & { close(): void };
  readonly ca: GrpcService;
  /** Whatever else is answered on these ports. */
  readonly others?: readonly GrpcService[];
  readonly clock: Clock;
  readonly connectionAgeMs?: number;
}

export interface BoundGrpc {
  readonly port: number;
  readonly plaintextPort: number | undefined;
  /** Ends streams cleanly, waits for calls under way (DRAIN_MS), then closes. */
  drain(): Promise<void>;
}

/** Rejects when a port cannot be bound. */
export async function startGrpc(o: GrpcOptions): Promise<BoundGrpc> {
  const options: ServerOptions = {
    "grpc.max_connection_age_ms": o.connectionAgeMs ?? CONNECTION_AGE_MS,
    "grpc.max_connection_age_grace_ms": CONNECTION_AGE_GRACE_MS,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.max_receive_message_length": RECEIVE_MAX_BYTES,
    "grpc.max_concurrent_streams": STREAMS_PER_CONNECTION_MAX,
  };
  const server = new Server(options);
  for (const service of [o.xds, o.ca, ...(o.others ?? [])]) server.addService(service.definition, service.implementation);
  const host = o.host ?? "0.0.0.0";
  try {
    const port = await bind(server, `${host}:${o.port}`, rotatingCredentials(o.tls));
    const plaintextPort = o.plaintextPort === undefined ? undefined : await bind(server, `${host}:${o.plaintextPort}`, ServerCredentials.createInsecure());
    return { port, plaintextPort, drain: () => drain(server, o) };
  } catch (error) {
    server.forceShutdown();
    throw error;
  }
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => (error === null ? resolve(port) : reject(new Error(`cannot listen on ${address}`, { cause: error }))));
  });
}

/** New connections get the newest certificate; those open keep theirs. */
function rotatingCredentials(tls: GrpcOptions["tls"]): ServerCredentials {
  type Listener = Parameters<Parameters<typeof experimental.createCertificateProviderServerCredentials>[0]["addIdentityCertificateListener"]>[0];
  const stops = new Map<Listener, () => void>();
  const provider = {
    addCaCertificateListener: () => undefined,
    removeCaCertificateListener: () => undefined,
    addIdentityCertificateListener: (listener: Listener) => {
      const tell = (pair: { certPem: string; keyPem: string }) =>
        listener({ certificate: Buffer.from(pair.certPem), privateKey: Buffer.from(pair.keyPem) });
      stops.set(listener, tls.onRotate(tell));
      // Later, because the server counts only what it is told after it has subscribed.
      queueMicrotask(() => tell(tls.current()));
    },
    removeIdentityCertificateListener: (listener: Listener) => {
      stops.get(listener)?.();
      stops.delete(listener);
    },
  };
  // The first provider is the identity's, whatever the type declaration calls it; no client certificates are asked for.
  return experimental.createCertificateProviderServerCredentials(provider, null, false);
}

async function drain(server: Server, o: GrpcOptions): Promise<void> {
  o.xds.close();
  await new Promise<void>((resolve) => {
    // A connection that the library still counts must not keep the process: its peer may be gone without a word.
    const timer = o.clock.after(DRAIN_MS, () => {
      server.forceShutdown();
      resolve();
    }, { hold: true });
    server.tryShutdown(() => {
      timer.cancel();
      resolve();
    });
  });
}
