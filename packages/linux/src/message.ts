// Owns struct msghdr with SCM_RIGHTS: one packet and the descriptors that travel with it (LP64 layout).
import { addressOf, C, check, errno, errnoName, SyscallError, sys } from "./ffi.ts";

const MSGHDR_SIZE = 56;
const CMSG_HEADER = 16;
/** A peer that sends more descriptors than this loses them: the kernel truncates and we report it. */
const FDS_MAX = 8;

export interface Packet {
  readonly data: Buffer;
  readonly fds: number[];
  /** The packet or its descriptors did not fit: the protocol error is the caller's to name. */
  readonly truncated: boolean;
}

/** Reusable buffers for one reader; all four must stay referenced because the kernel sees raw addresses. */
export class PacketReader {
  readonly #data: Buffer;
  readonly #control = Buffer.alloc(CMSG_HEADER + 4 * FDS_MAX);
  readonly #iov = Buffer.alloc(16);
  readonly #header = Buffer.alloc(MSGHDR_SIZE);

  constructor(maxBytes: number) {
    this.#data = Buffer.alloc(maxBytes);
  }

  /** One packet; undefined at end of file; "again" when there is none now. */
  read(fd: number): Packet | "again" | undefined {
    this.#iov.writeBigUInt64LE(addressOf(this.#data), 0);
    this.#iov.writeBigUInt64LE(BigInt(this.#data.length), 8);
    fillHeader(this.#header, this.#iov, this.#control, this.#control.length);
    const n = Number(sys.recvmsg(fd, this.#header, C.MSG_CMSG_CLOEXEC | C.MSG_DONTWAIT));
    if (n < 0) {
      const code = errnoName(errno());
      if (code === "EAGAIN" || code === "EINTR") return "again";
      if (code === "ECONNRESET") return undefined;
      throw new SyscallError("recvmsg", code, "");
    }
    const flags = this.#header.readInt32LE(48);
    const fds = this.#descriptors(Number(this.#header.readBigUInt64LE(40)));
    if (n === 0 && fds.length === 0) return undefined;
    return { data: Buffer.from(this.#data.subarray(0, n)), fds, truncated: (flags & (C.MSG_TRUNC | C.MSG_CTRUNC)) !== 0 };
  }

  #descriptors(length: number): number[] {
    const fds: number[] = [];
    for (let at = 0; at + CMSG_HEADER <= length; ) {
      const size = Number(this.#control.readBigUInt64LE(at));
      if (size < CMSG_HEADER) break;
      if (this.#control.readInt32LE(at + 8) === C.SOL_SOCKET && this.#control.readInt32LE(at + 12) === C.SCM_RIGHTS)
        for (let i = at + CMSG_HEADER; i + 4 <= at + size; i += 4) fds.push(this.#control.readInt32LE(i));
      at += (size + 7) & ~7;
    }
    return fds;
  }
}

/** Sends one packet without waiting; throws EAGAIN when the peer's queue is full. */
export function sendPacket(fd: number, bytes: Uint8Array, fds: readonly number[] = []): void {
  const data = Buffer.from(bytes);
  const iov = Buffer.alloc(16);
  iov.writeBigUInt64LE(addressOf(data), 0);
  iov.writeBigUInt64LE(BigInt(data.length), 8);
  const size = CMSG_HEADER + 4 * fds.length;
  const control = Buffer.alloc(fds.length === 0 ? 0 : (size + 7) & ~7);
  if (fds.length > 0) {
    control.writeBigUInt64LE(BigInt(size), 0);
    control.writeInt32LE(C.SOL_SOCKET, 8);
    control.writeInt32LE(C.SCM_RIGHTS, 12);
    fds.forEach((f, i) => control.writeInt32LE(f, CMSG_HEADER + 4 * i));
  }
  const header = Buffer.alloc(MSGHDR_SIZE);
  fillHeader(header, iov, control, control.length);
  check(sys.sendmsg(fd, header, C.MSG_NOSIGNAL | C.MSG_DONTWAIT), "sendmsg");
}

function fillHeader(header: Buffer, iov: Buffer, control: Buffer, controlLength: number): void {
  header.fill(0);
  header.writeBigUInt64LE(addressOf(iov), 16);
  header.writeBigUInt64LE(1n, 24);
  if (controlLength > 0) header.writeBigUInt64LE(addressOf(control), 32);
  header.writeBigUInt64LE(BigInt(controlLength), 40);
}
