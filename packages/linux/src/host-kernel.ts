// Owns the real kernel behind the Kernel seam.
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { spawn } from "node:child_process";
import { fstatSync } from "node:fs";
import { createServer, Socket } from "node:net";
import { familyOf, parseIp, type SocketAddress } from "@ambit/core";
import { C, check, sys } from "./ffi.ts";
import { fdOf } from "./handle.ts";
import type { DialOptions, Kernel, ListenOptions, Netns, StreamListenerFacts } from "./kernel.ts";
import { adoptNetns, insideNetns, openNetns } from "./netns.ts";
import { decodeSockaddr, encodeSockaddr, SOCKADDR_MAX } from "./sockaddr.ts";

/** Same backlog as the real ztunnel would leave us overflowing at 200 new connections a second under a stall. */
const BACKLOG = 1024;
/** A rule script or a helper command that takes longer is stuck. */
const COMMAND_TIMEOUT_MS = 10_000;
/** Scripts are long, and what went wrong in them their own words tell. */
const COMMAND_SHOWN_CHARS = 80;
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;

/** struct tcp_info of linux/tcp.h, as far as tcpi_total_retrans. */
const TCP_INFO_BYTES = 104;
const TCP_INFO = 11;
const IPPROTO_TCP = 6;

const ON = int32(1);
const optionValue = int32(0);

export const hostKernel: Kernel = {
  openNetns,
  adoptNetns,
  listen(ns, at, options) {
    const fd = boundSocket(ns, at, C.SOCK_STREAM, options);
    listening(fd, options);
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    server.listen({ fd });
    return server;
  },
  bindStream: (ns, at, options) => boundSocket(ns, at, C.SOCK_STREAM, options),
  keepAlive(fd, { probes, userTimeoutMs }) {
    setOption(fd, C.SOL_SOCKET, C.SO_KEEPALIVE, probes === undefined ? 0 : 1);
    if (probes !== undefined) for (const [name, value] of [[C.TCP_KEEPIDLE, probes.idleS], [C.TCP_KEEPINTVL, probes.intervalS], [C.TCP_KEEPCNT, probes.count]] as const) setOption(fd, IPPROTO_TCP, name, value);
    setOption(fd, IPPROTO_TCP, C.TCP_USER_TIMEOUT, userTimeoutMs);
  },
  streamListener,
  bindDatagram(ns, at, options): DatagramSocket {
    const fd = boundSocket(ns, at, C.SOCK_DGRAM, options);
    const socket = createSocket(familyOf(at.ip) === 6 ? "udp6" : "udp4");
    socket.bind({ fd });
    datagramSockets.set(socket, { fd, at });
    const { close } = socket;
    socket.close = (done) => { datagramSockets.delete(socket); return close.call(socket, done); };
    return socket;
  },
  retireDatagram(socket) {
    // A connected datagram socket is not chosen for anybody but its peer, and its peer is itself.
    const bound = datagramSockets.get(socket);
    if (bound === undefined) return;
    const own = encodeSockaddr(bound.at);
    check(sys.connect(bound.fd, own, own.length), "connect", `${bound.at.ip} port ${bound.at.port}`);
  },
  unread(socket) {
    const fd = datagramSockets.get(socket)?.fd;
    if (fd === undefined) return false;
    const set = Buffer.alloc(8);
    set.writeInt32LE(fd, 0);
    set.writeInt16LE(C.POLLIN, 4);
    return sys.poll(set, 1, 0) > 0 && (set.readInt16LE(6) & C.POLLIN) !== 0;
  },
  dial(ns, to, options) {
    const fd = hostKernel.openStream(ns, to, options);
    // manualStart: nothing is read before the caller listens. IP literals only, so happy eyeballs never makes a second handle.
    const socket = new Socket({ fd, allowHalfOpen: true, manualStart: true } as ConstructorParameters<typeof Socket>[0]);
    socket.connect({ host: to.ip, port: to.port, autoSelectFamily: false, noDelay: true });
    return socket;
  },
  openStream: (ns, to, options) => insideNetns(ns, () => dialSocket(to, options)),
  // A v4-mapped peer on a dual-stack socket is tracked as IPv4, so ask that first.
  originalDestinationOf: (fd) => originalDestinationOf(fd, C.SOL_IP, C.SO_ORIGINAL_DST) ?? originalDestinationOf(fd, C.SOL_IPV6, C.IP6T_SO_ORIGINAL_DST),
  tcpInfo(socket) {
    const fd = fdOf(socket);
    if (fd === undefined) return undefined;
    const info = Buffer.alloc(TCP_INFO_BYTES);
    if (sys.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, int32(TCP_INFO_BYTES)) < 0) return undefined;
    return { unacked: info.readUInt32LE(24), rttUs: info.readUInt32LE(68), rttVarUs: info.readUInt32LE(72), retransmits: info.readUInt32LE(100) };
  },
  originalDestination(socket) {
    const fd = fdOf(socket);
    const found = fd === undefined ? undefined : hostKernel.originalDestinationOf(fd);
    if (found !== undefined) return found;
    const ip = parseIp(socket.localAddress ?? "");
    return ip.ok && socket.localPort !== undefined ? { ip: ip.value, port: socket.localPort } : undefined;
  },
  async applyRules(ns, ruleset) {
    await run(ns, ["nft", "-f", "-"], ruleset);
  },
  run,
  runAlone: (command, input) => spawned(["unshare", "--net", "--"], command, [], input),
};

function boundSocket(ns: Netns | undefined, at: SocketAddress, type: number, options: ListenOptions): number {
  return insideNetns(ns, () => {
    const v6 = familyOf(at.ip) === 6;
    const fd = check(sys.socket(v6 ? C.AF_INET6 : C.AF_INET, type | C.SOCK_NONBLOCK | C.SOCK_CLOEXEC, 0), "socket");
    try {
      // "Any port" must be one that nobody has: two datagram sockets that both allow it would be given the same one.
      if (at.port !== 0) setOption(fd, C.SOL_SOCKET, C.SO_REUSEADDR);
      if (options.reusePort === true) setOption(fd, C.SOL_SOCKET, C.SO_REUSEPORT);
      if (options.mark !== undefined) setOption(fd, C.SOL_SOCKET, C.SO_MARK, options.mark);
      if (v6) setOption(fd, C.SOL_IPV6, C.IPV6_V6ONLY, 0);
      if (options.transparent === true) {
        if (v6) setOption(fd, C.SOL_IPV6, C.IPV6_TRANSPARENT);
        setOption(fd, C.SOL_IP, C.IP_TRANSPARENT);
      }
      const address = encodeSockaddr(at);
      check(sys.bind(fd, address, address.length), "bind", `${at.ip} port ${at.port}`);
      return fd;
    } catch (error) {
      sys.close(fd);
      throw error;
    }
  });
}

function listening(fd: number, options: ListenOptions): void {
  try {
    check(sys.listen(fd, options.backlog ?? BACKLOG), "listen");
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}

function dialSocket(to: SocketAddress, options: DialOptions): number {
  const v6 = familyOf(to.ip) === 6;
  const fd = check(sys.socket(v6 ? C.AF_INET6 : C.AF_INET, C.SOCK_STREAM | C.SOCK_NONBLOCK | C.SOCK_CLOEXEC, 0), "socket");
  try {
    if (options.mark !== undefined) setOption(fd, C.SOL_SOCKET, C.SO_MARK, options.mark);
    if (options.transparent === true) {
      if (v6) setOption(fd, C.SOL_IPV6, C.IPV6_TRANSPARENT);
      else setOption(fd, C.SOL_IP, C.IP_TRANSPARENT);
      if (v6) setOption(fd, C.SOL_IP, C.IP_FREEBIND); // of IPv4, IP_TRANSPARENT says as much
    }
    if (options.source !== undefined) {
      // The port is chosen at connect time, against the full four-tuple: binding early would exhaust ports.
      setOption(fd, C.SOL_IP, C.IP_BIND_ADDRESS_NO_PORT);
      const address = encodeSockaddr({ ip: options.source, port: 0 });
      check(sys.bind(fd, address, address.length), "bind", options.source);
    }
    return fd;
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}

/** Descriptors of datagram sockets that are open: Node shows none. */
const datagramSockets = new WeakMap<DatagramSocket, { readonly fd: number; readonly at: SocketAddress }>();

const answer = Buffer.alloc(SOCKADDR_MAX);
const answerSize = Buffer.alloc(4);

function originalDestinationOf(fd: number, level: number, name: number): SocketAddress | undefined {
  answerSize.writeInt32LE(SOCKADDR_MAX);
  return sys.getsockopt(fd, level, name, answer, answerSize) < 0 ? undefined : decodeSockaddr(answer);
}

function streamListener(fd: number): StreamListenerFacts | undefined {
  if (option(fd, C.SOL_SOCKET, C.SO_TYPE) !== C.SOCK_STREAM || option(fd, C.SOL_SOCKET, C.SO_ACCEPTCONN) !== 1) return undefined;
  const address = Buffer.alloc(SOCKADDR_MAX);
  if (sys.getsockname(fd, address, int32(SOCKADDR_MAX)) < 0) return undefined;
  const local = decodeSockaddr(address);
  const netns = sys.ioctlNumber(fd, C.SIOCGSKNS, 0);
  if (netns < 0) return undefined;
  const netnsInode = fstatSync(netns, { bigint: true }).ino;
  sys.close(netns);
  if (local === undefined) return undefined;
  return {
    local, netnsInode, transparent: option(fd, C.SOL_IP, C.IP_TRANSPARENT) === 1, reusePort: option(fd, C.SOL_SOCKET, C.SO_REUSEPORT) === 1,
    mark: option(fd, C.SOL_SOCKET, C.SO_MARK) ?? 0,
  };
}

function option(fd: number, level: number, name: number): number | undefined {
  const value = Buffer.alloc(4);
  return sys.getsockopt(fd, level, name, value, int32(4)) < 0 ? undefined : value.readInt32LE(0);
}

function setOption(fd: number, level: number, name: number, value = 1): void {
  if (value !== 1) optionValue.writeInt32LE(value | 0);
  if (sys.setsockopt(fd, level, name, value === 1 ? ON : optionValue, 4) < 0) check(-1, `setsockopt(${level},${name})`);
}

function int32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeInt32LE(value);
  return out;
}

function run(ns: Netns, command: readonly string[], input?: string): Promise<string> {
  return spawned(["nsenter", "--net=/proc/self/fd/3", "--"], command, [ns.fd], input);
}

function spawned(entering: readonly [string, ...string[]], command: readonly string[], descriptors: readonly number[], input = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(entering[0], [...entering.slice(1), ...command], { stdio: ["pipe", "pipe", "pipe", ...descriptors], timeout: COMMAND_TIMEOUT_MS });
    const out: Buffer[] = [];
    let errors = "";
    let size = 0;
    child.stdout?.on("data", (b: Buffer) => { size += b.length; if (size <= OUTPUT_MAX_BYTES) out.push(b); });
    child.stderr?.on("data", (b: Buffer) => { errors = (errors + b.toString("utf8")).slice(-4096); });
    child.on("error", (cause) => reject(new Error(`cannot run ${command[0]}`, { cause })));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(Buffer.concat(out).toString("utf8"));
      else reject(new Error(`${command.join(" ").slice(0, COMMAND_SHOWN_CHARS)} failed (${signal ?? `exit ${code}`}): ${errors.trim()}`));
    });
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}
