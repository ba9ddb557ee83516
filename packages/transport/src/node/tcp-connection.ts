// Owns TCP connections as proxies need them, made from descriptors of any network namespace: accepted, or dialled.
import net from "node:net";
import { familyOf, parseIp, type SocketAddress } from "@ambit/core";
import type { ByteStream, ByteStreamHandler } from "../byte-stream.ts";
import { fromSocket } from "./socket-stream.ts";
import { tcpBinding, type TcpBinding, type TcpHandle } from "./tcp-binding.ts";
import { systemError, TcpStream } from "./tcp-stream.ts";

/** Nothing is read before `attach`. An accepted one that nobody wants is `destroy`ed; with a reason the peer sees a reset. */
export interface TcpConnection extends ByteStream {
  /** -1 when closed. */
  readonly fd: number;
  /** Undefined when the peer is gone already. A v4-mapped address is the IPv4 one. */
  readonly peer: SocketAddress | undefined;
  readonly local: SocketAddress | undefined;
  /** For TLS, which stands on net's sockets: paused, half-open. Only before `attach`; this object is over then. */
  toSocket(): net.Socket;
}

export interface DescriptorListener {
  /** As it was given; -1 when closed. */
  readonly fd: number;
  readonly local: SocketAddress | undefined;
  /** No new connections. */
  close(): void;
}

/** Takes over a bound descriptor and listens. `accepted` gets each connection with TCP_NODELAY set, and what else the descriptor has (Linux passes options on); `failed` what accept(2) says, e.g. EMFILE. */
export function listenDescriptor(fd: number, backlog: number, accepted: (connection: TcpConnection) => void, failed: (error: Error) => void): DescriptorListener {
  return tcpBinding === undefined ? listenWithNet(fd, accepted, failed) : listenWithHandle(tcpBinding, fd, backlog, accepted, failed);
}

/** Takes over the descriptor of a connection that was accepted elsewhere, in another thread of this process. */
export function adoptConnection(fd: number): TcpConnection {
  if (tcpBinding === undefined) return new SocketConnection(new net.Socket({ fd, allowHalfOpen: true, pauseOnCreate: true } as ConstructorParameters<typeof net.Socket>[0]));
  const handle = new tcpBinding.TCP(tcpBinding.SOCKET);
  must(handle.open(fd), "open");
  return new TcpStream(tcpBinding, handle);
}

/** Takes over an unconnected descriptor and connects it. Resolves connected; rejects with Node's error of connect(2), and the descriptor is closed then. */
export function connectDescriptor(fd: number, to: SocketAddress, signal: ConnectSignal): Promise<TcpConnection> {
  return tcpBinding === undefined ? connectWithNet(fd, to, signal) : connectWithHandle(tcpBinding, fd, to, signal);
}

/** How an attempt is given up: whoever owns it sets `giveUp` off, which rejects with that error. */
export interface ConnectSignal {
  giveUp: ((error: Error) => void) | undefined;
}

function listenWithHandle(binding: TcpBinding, fd: number, backlog: number, accepted: (connection: TcpConnection) => void, failed: (error: Error) => void): DescriptorListener {
  const handle = new binding.TCP(binding.SERVER);
  must(handle.open(fd), "open");
  // Linux gives it to what is accepted: a system call less for each connection.
  must(handle.setNoDelay(true), "setsockopt");
  handle.onconnection = (status, client) => {
    if (client === undefined || status < 0) return failed(systemError(status, "accept"));
    accepted(new TcpStream(binding, client));
  };
  must(handle.listen(backlog), "listen");
  const at: { address?: string; port?: number } = {};
  must(handle.getsockname(at), "getsockname");
  let open = fd;
  return { get fd() { return open; }, local: address(at.address, at.port), close: () => { open = -1; handle.close(() => undefined); } };
}

function connectWithHandle(binding: TcpBinding, fd: number, to: SocketAddress, signal: ConnectSignal): Promise<TcpConnection> {
  return new Promise((resolve, reject) => {
    const handle: TcpHandle = new binding.TCP(binding.SOCKET);
    must(handle.open(fd), "open");
    const stream = new TcpStream(binding, handle);
    let over = false;
    const end = (error: Error | undefined): void => {
      if (over) return;
      over = true;
      signal.giveUp = undefined;
      if (error === undefined) return resolve(stream);
      stream.destroy();
      reject(error);
    };
    signal.giveUp = end;
    const request = new binding.ConnectRequest();
    request.oncomplete = (status) => end(status < 0 ? systemError(status, "connect") : undefined);
    stream.noDelay();
    const status = familyOf(to.ip) === 6 ? handle.connect6(request, to.ip, to.port) : handle.connect(request, to.ip, to.port);
    if (status < 0) end(systemError(status, "connect"));
  });
}

function must(status: number, syscall: string): void {
  if (status < 0) throw systemError(status, syscall);
}

// ---- the same on net.Socket: for a Node without these handles --------------------------------------------------------------------------------

function listenWithNet(fd: number, accepted: (connection: TcpConnection) => void, failed: (error: Error) => void): DescriptorListener {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => accepted(new SocketConnection(socket)));
  server.on("error", failed);
  server.listen({ fd });
  const at = server.address();
  let open = fd;
  return { get fd() { return open; }, local: at === null || typeof at === "string" ? undefined : address(at.address, at.port), close: () => { open = -1; server.close(); } };
}

function connectWithNet(fd: number, to: SocketAddress, signal: ConnectSignal): Promise<TcpConnection> {
  return new Promise((resolve, reject) => {
    const socket = new net.Socket({ fd, allowHalfOpen: true, manualStart: true } as ConstructorParameters<typeof net.Socket>[0]);
    const fail = (error: Error): void => {
      signal.giveUp = undefined;
      socket.off("connect", onConnect).on("error", () => undefined).destroy();
      reject(error);
    };
    const onConnect = (): void => {
      signal.giveUp = undefined;
      socket.off("error", fail);
      resolve(new SocketConnection(socket));
    };
    signal.giveUp = fail;
    socket.on("connect", onConnect).on("error", fail);
    socket.connect({ host: to.ip, port: to.port, autoSelectFamily: false, noDelay: true });
  });
}

class SocketConnection implements TcpConnection {
  readonly #socket: net.Socket;
  #stream: ByteStream | undefined;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("error", ignore);
  }

  get fd(): number {
    const handle = (this.#socket as { _handle?: { fd?: unknown } | null })._handle;
    return typeof handle?.fd === "number" ? handle.fd : -1;
  }
  get peer(): SocketAddress | undefined { return address(this.#socket.remoteAddress, this.#socket.remotePort); }
  get local(): SocketAddress | undefined { return address(this.#socket.localAddress, this.#socket.localPort); }
  get closed(): boolean { return this.#stream?.closed ?? this.#socket.destroyed; }
  toSocket(): net.Socket { return this.#socket.off("error", ignore); }
  attach(handler: ByteStreamHandler): void { this.#open().attach(handler); }
  write(bytes: Uint8Array): boolean { return this.#open().write(bytes); }
  writeMany(pieces: readonly Uint8Array[]): boolean { return this.#open().writeMany(pieces); }
  pause(): void { this.#open().pause(); }
  resume(): void { this.#open().resume(); }
  end(): void { this.#open().end(); }
  destroy(reason?: Error): void { this.#open().destroy(reason); }
  #open(): ByteStream { return (this.#stream ??= fromSocket(this.#socket)); }
}

const ignore = (): void => undefined;

function address(text: string | undefined, port: number | undefined): SocketAddress | undefined {
  const ip = parseIp(text ?? "");
  return ip.ok && port !== undefined ? { ip: ip.value, port } : undefined;
}
