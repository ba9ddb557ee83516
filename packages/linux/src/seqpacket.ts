// Owns SOCK_SEQPACKET channels with descriptor passing: the transport of ZDS.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { Worker } from "node:worker_threads";
import { C, check, sys } from "./ffi.ts";
import { sendPacket, type Packet } from "./message.ts";
import type { Command, Report } from "./seqpacket-worker.ts";
import { encodeSockaddrUn } from "./sockaddr.ts";

export interface ChannelHandler {
  /** Descriptors in the packet are the receiver's to close. */
  onPacket(packet: Packet): void;
  /** Once, at end of file or error; nothing follows. */
  onEnd(error: Error | undefined): void;
}
export interface Channel {
  /** Throws SyscallError (EAGAIN: the peer does not read; EPIPE: it is gone). */
  send(bytes: Uint8Array, fds?: readonly number[]): void;
  setHandler(handler: ChannelHandler): void;
  close(): void;
}
export interface ChannelServer { close(): Promise<void> }

/** Mode of the socket file: root only, as the real agent has it. */
const SOCKET_MODE = 0o600;
const LISTEN_BACKLOG = 16;

/** Listens on `path` (a stale socket file is replaced). Packets above `packetMaxBytes` arrive marked truncated. */
export function listenSeqpacket(path: string, packetMaxBytes: number, onConnection: (channel: Channel) => void): ChannelServer {
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  const fd = newSocket();
  const address = encodeSockaddrUn(path);
  try {
    check(sys.bind(fd, address, address.length), "bind", path);
    chmodSync(path, SOCKET_MODE);
    check(sys.listen(fd, LISTEN_BACKLOG), "listen", path);
  } catch (error) {
    sys.close(fd);
    throw error;
  }
  const poller = new Poller(fd, packetMaxBytes, onConnection);
  return {
    close: async () => {
      rmSync(path, { force: true });
      await poller.stop();
    },
  };
}

/** Connects now; throws SyscallError ENOENT or ECONNREFUSED when nobody listens. */
export function connectSeqpacket(path: string, packetMaxBytes: number): Channel {
  const fd = newSocket();
  const address = encodeSockaddrUn(path);
  try {
    check(sys.connect(fd, address, address.length), "connect", path);
  } catch (error) {
    sys.close(fd);
    throw error;
  }
  const poller = new Poller(-1, packetMaxBytes, () => undefined);
  return poller.adopt(fd, () => void poller.stop());
}

function newSocket(): number {
  return check(sys.socket(C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0), "socket");
}

interface Open {
  handler: ChannelHandler | undefined;
  /** What arrived before there was a handler. */
  queued: Report[];
  /** Closed by our side: nothing is delivered any more, and the descriptor goes when the thread has let go of it. */
  closed: boolean;
  readonly ended: () => void;
}

/** One thread in poll(2) for a listener and its connections. */
class Poller {
  readonly #worker: Worker;
  readonly #wakeFd: number;
  readonly #open = new Map<number, Open>();
  readonly #exited: Promise<void>;
  #stopped = false;

  constructor(listenFd: number, packetMaxBytes: number, onConnection: (channel: Channel) => void) {
    const pipe = Buffer.alloc(8);
    check(sys.pipe2(pipe, C.O_CLOEXEC | C.O_NONBLOCK), "pipe2");
    this.#wakeFd = pipe.readInt32LE(4);
    this.#worker = new Worker(new URL("./seqpacket-worker.ts", import.meta.url), {
      workerData: { wakeFd: pipe.readInt32LE(0), listenFd, packetMaxBytes },
    });
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => { sys.close(this.#wakeFd); resolve(); }));
    this.#worker.on("message", (report: Report) => {
      if (report.kind === "connection") onConnection(this.#channel(report.fd, () => undefined));
      else this.#deliver(report);
    });
    this.#worker.on("error", (error) => {
      for (const fd of [...this.#open.keys()]) this.#deliver({ kind: "end", fd, error: error.message });
    });
  }

  adopt(fd: number, ended: () => void): Channel {
    const channel = this.#channel(fd, ended);
    this.#command({ kind: "watch", fd });
    return channel;
  }

  /** Ends every connection; resolves when the thread is gone. */
  async stop(): Promise<void> {
    if (!this.#stopped) {
      this.#stopped = true;
      this.#command({ kind: "stop" });
    }
    await this.#exited;
  }

  #command(command: Command): void {
    this.#worker.postMessage(command);
    sys.write(this.#wakeFd, Buffer.from([1]), 1);
  }

  #channel(fd: number, ended: () => void): Channel {
    const open: Open = { handler: undefined, queued: [], closed: false, ended };
    this.#open.set(fd, open);
    return {
      send: (bytes, fds) => {
        if (open.closed || this.#open.get(fd) !== open) throw new Error("the channel is closed");
        sendPacket(fd, bytes, fds);
      },
      setHandler: (handler) => {
        open.handler = handler;
        const queued = open.queued;
        open.queued = [];
        for (const report of queued) this.#hand(handler, report);
      },
      close: () => {
        if (open.closed) return;
        open.closed = true;
        this.#command({ kind: "unwatch", fd });
      },
    };
  }

  #deliver(report: Exclude<Report, { kind: "connection" }>): void {
    const open = this.#open.get(report.fd);
    if (report.kind === "end" && open !== undefined) {
      this.#open.delete(report.fd);
      sys.close(report.fd);
      open.ended();
    }
    if (open === undefined || open.closed) {
      // Nobody will take these descriptors.
      if (report.kind === "packet") for (const fd of report.fds) sys.close(fd);
      return;
    }
    if (open.handler === undefined) open.queued.push(report);
    else this.#hand(open.handler, report);
  }

  #hand(handler: ChannelHandler, report: Report): void {
    if (report.kind === "packet") handler.onPacket({ data: Buffer.from(report.data), fds: report.fds, truncated: report.truncated });
    else if (report.kind === "end") handler.onEnd(report.error === undefined ? undefined : new Error(report.error));
  }
}
