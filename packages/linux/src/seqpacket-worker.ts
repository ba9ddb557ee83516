// Owns the thread that waits in poll(2) for SOCK_SEQPACKET sockets, which libuv cannot watch. Descriptors are process-wide,
// so only numbers and bytes cross to the main thread.
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { C, errno, errnoName, sys } from "./ffi.ts";
import { PacketReader } from "./message.ts";

export type Command = { kind: "watch"; fd: number } | { kind: "unwatch"; fd: number } | { kind: "stop" };
export type Report =
  | { kind: "connection"; fd: number }
  | { kind: "packet"; fd: number; data: Uint8Array; fds: number[]; truncated: boolean }
  /** Not watched any more. The main thread closes it: only then may its number name something else. */
  | { kind: "end"; fd: number; error: string | undefined };

/** The thread looks up at least this often, so that ending the process never waits longer for it. */
const POLL_TIMEOUT_MS = 500;

const { wakeFd, listenFd, packetMaxBytes } = workerData as { wakeFd: number; listenFd: number; packetMaxBytes: number };
const port = parentPort;
if (port === null) throw new Error("seqpacket-worker runs only as a worker thread");
const report = (r: Report) => port.postMessage(r);
const reader = new PacketReader(packetMaxBytes);
const watched = new Set<number>();

function obey(): boolean {
  for (let m = receiveMessageOnPort(port!); m !== undefined; m = receiveMessageOnPort(port!)) {
    const command = m.message as Command;
    if (command.kind === "stop") return false;
    if (command.kind === "watch") watched.add(command.fd);
    else if (watched.has(command.fd)) end(command.fd, undefined);
  }
  return true;
}

function readAll(fd: number): void {
  try {
    for (;;) {
      const packet = reader.read(fd);
      if (packet === "again") return;
      if (packet === undefined) return end(fd, undefined);
      report({ kind: "packet", fd, ...packet });
    }
  } catch (error) {
    end(fd, error instanceof Error ? error.message : String(error));
  }
}

function end(fd: number, error: string | undefined): void {
  watched.delete(fd);
  report({ kind: "end", fd, error });
}

const drain = Buffer.alloc(64);
while (obey()) {
  const fds = [wakeFd, ...(listenFd >= 0 ? [listenFd] : []), ...watched];
  const set = Buffer.alloc(8 * fds.length);
  fds.forEach((fd, i) => { set.writeInt32LE(fd, 8 * i); set.writeInt16LE(C.POLLIN, 8 * i + 4); });
  const n = sys.poll(set, fds.length, POLL_TIMEOUT_MS);
  if (n < 0 && errnoName(errno()) !== "EINTR") break;
  if (n <= 0) continue;
  fds.forEach((fd, i) => {
    if (set.readInt16LE(8 * i + 6) === 0) return;
    if (fd === wakeFd) sys.read(wakeFd, drain, drain.length);
    else if (fd === listenFd) {
      const accepted = sys.accept4(listenFd, null, null, C.SOCK_CLOEXEC);
      if (accepted >= 0) { watched.add(accepted); report({ kind: "connection", fd: accepted }); }
    } else readAll(fd);
  });
}
for (const fd of [...watched]) end(fd, undefined);
if (listenFd >= 0) sys.close(listenFd);
sys.close(wakeFd);
