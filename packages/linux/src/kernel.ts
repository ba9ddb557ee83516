// Owns the seam to the kernel: every trick it plays for the mesh, and nothing else. Real in host-kernel.ts; tests of others pass their own.
import type { Socket, Server } from "node:net";
import type { Socket as DatagramSocket } from "node:dgram";
import type { SocketAddress } from "@ambit/core";

/** A network namespace kept open by a file descriptor. */
export interface Netns extends Disposable {
  /** Throws once it is disposed of. */
  readonly fd: number;
  /** Two handles are the same namespace exactly when their inodes are equal. */
  readonly inode: bigint;
}

export interface ListenOptions {
  /** IP_TRANSPARENT: lets sockets made from this listener's process bind foreign sources. */
  readonly transparent?: boolean;
  /** SO_REUSEPORT: an old and a new ztunnel overlap. */
  readonly reusePort?: boolean;
  /** SO_MARK, e.g. 0x539. */
  readonly mark?: number;
  readonly backlog?: number;
}

/** When a peer that says nothing is asked whether it is there, and when it is given up. */
export interface KeepAlive {
  /** Undefined: it is not asked. */
  readonly probes: { readonly idleS: number; readonly intervalS: number; readonly count: number } | undefined;
  /** TCP_USER_TIMEOUT: what was sent and not acknowledged for so long ends the connection. 0: the kernel's own patience. */
  readonly userTimeoutMs: number;
}

/** What a descriptor from elsewhere is, as the kernel says. */
export interface StreamListenerFacts {
  readonly local: SocketAddress;
  /** Of the namespace that it listens in, see Netns. */
  readonly netnsInode: bigint;
  readonly transparent: boolean;
  readonly reusePort: boolean;
  readonly mark: number;
}

export interface DialOptions {
  readonly mark?: number;
  /** Source address to keep (port 0): needs `transparent` when it is not local. */
  readonly source?: SocketAddress["ip"];
  readonly transparent?: boolean;
}

/** What the kernel measured on one TCP connection. */
export interface TcpInfo {
  /** Smoothed round trip and its variation, microseconds. */
  readonly rttUs: number;
  readonly rttVarUs: number;
  /** Segments sent again since it began. */
  readonly retransmits: number;
  /** Segments sent and not acknowledged. */
  readonly unacked: number;
}

export interface Kernel {
  /** Throws SyscallError ENOENT and the like, naming the path. */
  openNetns(path: string): Netns;
  /** Takes ownership of a descriptor received over ZDS. */
  adoptNetns(fd: number): Netns;
  /** A listening server in `ns` (undefined: our own namespace). Connections arrive paused, half-open allowed, TCP_NODELAY set. */
  listen(ns: Netns | undefined, at: SocketAddress, options: ListenOptions): Server;
  /** A bound stream descriptor in `ns`, not listening yet: for engines of their own. The caller closes it. */
  bindStream(ns: Netns | undefined, at: SocketAddress, options: ListenOptions): number;
  /** Of a stream descriptor: what a listener accepts from now on is the same. */
  keepAlive(fd: number, how: KeepAlive): void;
  /** Undefined when it is no listening TCP socket, or the kernel does not tell. */
  streamListener(fd: number): StreamListenerFacts | undefined;
  bindDatagram(ns: Netns | undefined, at: SocketAddress, options: ListenOptions): DatagramSocket;
  /** From now on the other sockets of its SO_REUSEPORT group get what is sent to its address. What waits in it can be read, and it can answer. */
  retireDatagram(socket: DatagramSocket): void;
  /** Datagrams wait in the kernel that were not read yet. */
  unread(socket: DatagramSocket): boolean;
  /** Starts a connection from inside `ns`; the socket emits connect or error. */
  dial(ns: Netns | undefined, to: SocketAddress, options: DialOptions): Socket;
  /** A stream descriptor made in `ns`, ready for connect(2). The caller closes it. */
  openStream(ns: Netns | undefined, to: SocketAddress, options: DialOptions): number;
  /** SO_ORIGINAL_DST of a descriptor, if it has one. */
  originalDestinationOf(fd: number): SocketAddress | undefined;
  /** TCP_INFO of a live socket; undefined when it is closed or not TCP. */
  tcpInfo(socket: Socket): TcpInfo | undefined;
  /** SO_ORIGINAL_DST, else the socket's own local address. */
  originalDestination(socket: Socket): SocketAddress | undefined;
  /** Applies an nft script atomically inside `ns`. Rejects with nft's own words. */
  applyRules(ns: Netns, ruleset: string): Promise<void>;
  /** Runs a command inside `ns` and returns its stdout; rejects with its stderr. */
  run(ns: Netns, command: readonly string[], input?: string): Promise<string>;
  /** The same in a new, empty namespace that ends with the command. */
  runAlone(command: readonly string[], input?: string): Promise<string>;
}
