// Owns stream sockets of the Unix kind that give descriptors away: the listening end on libuv, the asking end for short talks. No thread is needed.
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { once } from "node:events";
import { dirname } from "node:path";
import { createServer, type Socket } from "node:net";
import { C, check, SyscallError, sys } from "./ffi.ts";
import { fdOf } from "./handle.ts";
import { PacketReader, sendPacket, type Packet } from "./message.ts";
import { encodeSockaddrUn } from "./sockaddr.ts";
import type { Channel, ChannelServer } from "./seqpacket.ts";

/** Who may open it may be given descriptors: root only. */
const SOCKET_MODE = 0o600;

/**
 * Listens at `path` in place of whoever did before, whose end does not take it away from us. Octets come as they come (descriptors
 * of a peer are not taken); what is sent together with descriptors arrives in one piece at `connectUnix`.
 */
export async function listenUnix(path: string, onConnection: (channel: Channel) => void): Promise<ChannelServer> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    onConnection(channelOf(socket));
  });
  mkdirSync(dirname(path), { recursive: true });
  // libuv unlinks the name that it bound when it closes: that must never be the name of a successor's socket.
  const bound = `${path}.${randomBytes(6).toString("hex")}`;
  server.listen(bound);
  await once(server, "listening");
  chmodSync(bound, SOCKET_MODE);
  const { ino } = statSync(bound);
  renameSync(bound, path);
  return {
    async close() {
      try {
        if (statSync(path).ino === ino) rmSync(path);
      } catch { /* nobody's any more */ }
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function channelOf(socket: Socket): Channel {
  let error: Error | undefined;
  socket.on("error", (e) => { error = e; });
  return {
    send(bytes, fds) {
      const fd = fdOf(socket);
      if (fd === undefined) throw new SyscallError("sendmsg", "EBADF", "the socket is closed");
      sendPacket(fd, bytes, fds);
    },
    setHandler(handler) {
      socket.on("data", (data: Buffer) => handler.onPacket({ data, fds: [], truncated: false }));
      socket.once("close", () => handler.onEnd(error));
    },
    close: () => socket.destroy(),
  };
}

/** Of a descriptor that came from elsewhere and that nothing of Node's has taken over. */
export function closeDescriptor(fd: number): void {
  sys.close(fd);
}

/** A second number for the same open file: what is closed under one goes on under the other. The caller closes it. */
export function duplicateDescriptor(fd: number): number {
  return check(sys.fcntl(fd, C.F_DUPFD_CLOEXEC, 0), "fcntl", `F_DUPFD_CLOEXEC ${fd}`);
}

/** Libuv would drop descriptors that come along: whoever waits for an answer looks for it from time to time. */
export interface UnixCaller extends Disposable {
  send(bytes: Uint8Array): void;
  /** What came in one piece, with its descriptors (the caller's to close); "again": nothing yet; undefined: the peer hung up. */
  receive(): Packet | "again" | undefined;
}

/** Connects now; throws SyscallError ENOENT or ECONNREFUSED when nobody listens. */
export function connectUnix(path: string, packetMaxBytes: number): UnixCaller {
  const fd = check(sys.socket(C.AF_UNIX, C.SOCK_STREAM | C.SOCK_CLOEXEC, 0), "socket");
  const address = encodeSockaddrUn(path);
  try {
    check(sys.connect(fd, address, address.length), "connect", path);
  } catch (error) {
    sys.close(fd);
    throw error;
  }
  const reader = new PacketReader(packetMaxBytes);
  let open = true;
  return {
    send: (bytes) => { if (open) sendPacket(fd, bytes); },
    receive: () => (open ? reader.read(fd) : undefined),
    [Symbol.dispose]: () => {
      if (open) sys.close(fd);
      open = false;
    },
  };
}
