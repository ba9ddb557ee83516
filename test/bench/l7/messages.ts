// Owns what the programs of the L7 bench say to each other: over the wire, and to the one that drives them.

/** A request with the fields that a client library and a mesh give it: 8 fields, about 430 octets. */
export const FIELDS: readonly string[] = [
  "user-agent", "python-requests/2.31.0", "accept", "application/json, text/plain, */*", "accept-encoding", "gzip, deflate", "x-user", "u4", "x-route", "v9",
  "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "authorization", `Bearer ${"eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ".repeat(4)}`,
];
export const HOST = "reviews.shop.svc.cluster.local";
export const PATH = "/api/items?id=42";
export const GRPC_PATH = "/shop.Reviews/Get";
export const BODY_OCTETS = 1024;

const lines = FIELDS.flatMap((text, i) => (i % 2 === 0 ? [`${text}: ${FIELDS[i + 1] ?? ""}\r\n`] : [])).join("");
export const REQUEST = Buffer.from(`GET ${PATH} HTTP/1.1\r\nhost: ${HOST}\r\n${lines}\r\n`);
export const ANSWER = Buffer.from(`HTTP/1.1 200 OK\r\nserver: backend\r\ndate: Sat, 21 Nov 2026 15:00:00 GMT\r\ncontent-type: application/json\r\ncontent-length: ${BODY_OCTETS}\r\n\r\n${"x".repeat(BODY_OCTETS)}`);

/** A gRPC message: not compressed, its length in four octets. */
export function grpcMessage(octets: number): Uint8Array {
  const out = Buffer.alloc(octets + 5, "x");
  out.writeUInt8(0, 0);
  out.writeUInt32BE(octets, 1);
  return out;
}

export interface Pem { readonly chain: string; readonly key: string; readonly roots: string }

/** Where everything is. The tunnel's port is fixed by the protocol, so each end has a loopback address of its own. */
export const AT = { plain: "127.77.0.2", tunnel: "127.77.0.1", tunnelPort: 15008, vip: "10.96.0.3", port: 80 } as const;

export interface ProxySetup { readonly own: Pem; readonly h1: number; readonly grpc: number }
export interface ProxyPorts { readonly h1: number; readonly grpc: number; readonly hbone: number }
export interface BackendSetup { readonly own: Pem }
export interface BackendPorts { readonly h1: number; readonly grpc: number }

export interface LoadSetup {
  readonly kind: "h1" | "grpc" | "hbone";
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** Requests at once on each. */
  readonly streams: number;
  /** Requests a second of all together; 0: each as soon as the one before is answered; -1: one each, then quiet. */
  readonly rate: number;
  readonly client: Pem;
}
/** Of one window. Microseconds. */
export interface LoadResult { readonly requests: number; readonly failed: number; readonly p50: number; readonly p99: number }
