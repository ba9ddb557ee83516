// Owns the one look at Node's own TCP handles (libuv's, below net.Socket): their shape, and whether this Node has them.
// `net` builds a stream with some forty objects on each handle; proxies that only move octets work with the handle itself (ADR 0030).

/** libuv's error numbers are negative; 0 is success. */
export type Status = number;

/** A request under way; the handle calls `oncomplete` once, unless the call said that it was done at once or failed. */
export interface Request {
  oncomplete: ((status: Status) => void) | undefined;
}

export interface HandleAddress { address?: string; family?: string; port?: number }

export interface TcpHandle {
  readonly fd: number;
  open(fd: number): Status;
  bind(ip: string, port: number): Status;
  bind6(ip: string, port: number, flags: number): Status;
  listen(backlog: number): Status;
  connect(request: Request, ip: string, port: number): Status;
  connect6(request: Request, ip: string, port: number): Status;
  getpeername(out: HandleAddress): Status;
  getsockname(out: HandleAddress): Status;
  setNoDelay(on: boolean): Status;
  setKeepAlive(on: boolean, idleSeconds: number): Status;
  readStart(): Status;
  readStop(): Status;
  /** Octets of every read go there; what `onread` returns takes its place. The handle does not keep the buffer alive. */
  useUserBuffer(buffer: Uint8Array): void;
  writeBuffer(request: Request, bytes: Uint8Array): Status;
  writev(request: Request, pieces: readonly Uint8Array[], allBuffers: true): Status;
  shutdown(request: Request): Status;
  close(done: () => void): void;
  /** Closes with a reset instead of an end. */
  reset(done: () => void): Status;
  onread: () => Uint8Array | undefined;
  onconnection: ((status: Status, client: TcpHandle | undefined) => void) | undefined;
}

export interface TcpBinding {
  readonly TCP: new (type: number) => TcpHandle;
  readonly ConnectRequest: new () => Request;
  readonly WriteRequest: new () => Request;
  readonly ShutdownRequest: new () => Request;
  readonly SOCKET: number;
  readonly SERVER: number;
  /** Results of the last call or event, by index. */
  readonly state: Int32Array;
  /** Octets read, or the error. */
  readonly READ: number;
  /** 1: the last write goes on, its request will be completed. */
  readonly WRITE_IS_ASYNC: number;
}

interface TcpWrap { TCP: TcpBinding["TCP"]; TCPConnectWrap: TcpBinding["ConnectRequest"]; constants: { SOCKET: number; SERVER: number } }
interface StreamWrap {
  WriteWrap: TcpBinding["WriteRequest"]; ShutdownWrap: TcpBinding["ShutdownRequest"]; streamBaseState: Int32Array; kReadBytesOrError: number; kLastWriteWasAsync: number;
}

const METHODS = ["open", "bind", "bind6", "listen", "connect", "connect6", "getpeername", "getsockname", "setNoDelay", "setKeepAlive", "readStart", "readStop", "useUserBuffer", "writeBuffer",
  "writev", "shutdown", "close", "reset"];

/** Undefined when this Node has no such handles, or not of the shape that we know: callers use `net` then. */
export const tcpBinding: TcpBinding | undefined = look();

function look(): TcpBinding | undefined {
  if (!("binding" in process) || typeof process.binding !== "function") return undefined;
  const load = process.binding as (name: string) => unknown;
  try {
    const tcp = load("tcp_wrap") as TcpWrap;
    const stream = load("stream_wrap") as StreamWrap;
    const known = METHODS.every((name) => name in tcp.TCP.prototype) && [stream.kReadBytesOrError, stream.kLastWriteWasAsync].every(Number.isInteger)
      && [tcp.TCPConnectWrap, stream.WriteWrap, stream.ShutdownWrap].every((x) => typeof x === "function") && stream.streamBaseState instanceof Int32Array;
    if (!known) return undefined;
    return { TCP: tcp.TCP, ConnectRequest: tcp.TCPConnectWrap, WriteRequest: stream.WriteWrap, ShutdownRequest: stream.ShutdownWrap, SOCKET: tcp.constants.SOCKET,
      SERVER: tcp.constants.SERVER, state: stream.streamBaseState, READ: stream.kReadBytesOrError, WRITE_IS_ASYNC: stream.kLastWriteWasAsync };
  } catch {
    return undefined;
  }
}
