// Public names of @ambit/transport.
export type { ByteStream, ByteStreamHandler } from "./byte-stream.ts";
export { connectFault, StreamFault, type StreamFaultCode } from "./fault.ts";
export { atEndOfTurn } from "./turn.ts";
export { fromSocket, type SocketStreamOptions } from "./node/socket-stream.ts";
export { originateTls, type OriginationOptions } from "./node/tls-origination.ts";
export { toDuplex } from "./node/stream-duplex.ts";
export { CONNECT_MS, dialTcp, listenTcp, type TcpListener } from "./node/tcp.ts";
export { dialStream, listenStream } from "./node/tcp-dial.ts";
export { requirePostQuantum } from "./node/key-exchange.ts";
export { acceptTls, connectTls, createTlsCredentials, type Negotiated, type TlsConnection, type TlsCredentials, type TlsOptions } from "./node/tls-handshake.ts";
export { adoptConnection, connectDescriptor, listenDescriptor, type ConnectSignal, type DescriptorListener, type TcpConnection } from "./node/tcp-connection.ts";
export { collectAfterBulk } from "./bulk.ts";
