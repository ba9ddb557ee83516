// Owns the libc calls that Node does not offer. Every pointer of the mesh is in this file and in message.ts.
import { constants } from "node:os";
import koffi from "koffi";

/** glibc and musl both answer to the running program's own symbols. */
const libc = koffi.load(null);

export const sys = {
  setns: libc.func("int setns(int fd, int nstype)") as (fd: number, type: number) => number,
  socket: libc.func("int socket(int domain, int type, int protocol)") as (d: number, t: number, p: number) => number,
  setsockopt: libc.func("int setsockopt(int fd, int level, int name, const void *val, uint32_t len)") as (fd: number, level: number, name: number, val: Buffer, len: number) => number,
  getsockopt: libc.func("int getsockopt(int fd, int level, int name, void *val, void *len)") as (fd: number, level: number, name: number, val: Buffer, len: Buffer) => number,
  getsockname: libc.func("int getsockname(int fd, void *addr, void *len)") as (fd: number, addr: Buffer, len: Buffer) => number,
  bind: libc.func("int bind(int fd, const void *addr, uint32_t len)") as (fd: number, addr: Buffer, len: number) => number,
  listen: libc.func("int listen(int fd, int backlog)") as (fd: number, backlog: number) => number,
  connect: libc.func("int connect(int fd, const void *addr, uint32_t len)") as (fd: number, addr: Buffer, len: number) => number,
  accept4: libc.func("int accept4(int fd, void *addr, void *len, int flags)") as (fd: number, addr: null, len: null, flags: number) => number,
  close: libc.func("int close(int fd)") as (fd: number) => number,
  // fcntl(2) takes a number with the one command that is used.
  fcntl: libc.func("int fcntl(int fd, int command, int arg)") as (fd: number, command: number, arg: number) => number,
  pipe2: libc.func("int pipe2(void *fds, int flags)") as (fds: Buffer, flags: number) => number,
  read: libc.func("long read(int fd, void *buf, size_t n)") as (fd: number, buf: Buffer, n: number) => number,
  write: libc.func("long write(int fd, const void *buf, size_t n)") as (fd: number, buf: Buffer, n: number) => number,
  poll: libc.func("int poll(void *fds, unsigned long n, int timeout)") as (fds: Buffer, n: number, timeoutMs: number) => number,
  recvmsg: libc.func("long recvmsg(int fd, void *msg, int flags)") as (fd: number, msg: Buffer, flags: number) => number,
  sendmsg: libc.func("long sendmsg(int fd, const void *msg, int flags)") as (fd: number, msg: Buffer, flags: number) => number,
  // Both are ioctl(2), which takes a pointer or a number by request.
  ioctl: libc.func("int ioctl(int fd, unsigned long request, void *arg)") as (fd: number, request: number, arg: Buffer) => number,
  ioctlNumber: libc.func("int ioctl(int fd, unsigned long request, long arg)") as (fd: number, request: number, arg: number) => number,
};

/** Looked for when they are needed: an old glibc keeps some of them in another library. Addresses of functions and names of timers are numbers here. */
export function timerCalls() {
  const dlsym = libc.func("uint64_t dlsym(uint64_t handle, const char *name)") as (handle: number, name: string) => number | bigint;
  const setvbuf = libc.func("int setvbuf(uint64_t stream, void *buf, int mode, size_t size)") as (stream: bigint, buf: null, mode: number, size: number) => number;
  const symbolOf = (name: string): bigint => {
    const at = BigInt(dlsym(0, name));
    if (at === 0n) throw new Error(`libc has no ${name}`);
    return at;
  };
  return {
    symbolOf,
    /** What C code says on stdout leaves at the end of each line. */
    lineBuffered: (): void => { setvbuf(BigInt(koffi.decode(symbolOf("stdout"), "uint64_t") as number | bigint), null, 1, 0); },
    signal: libc.func("uint64_t signal(int signum, uint64_t handler)") as (signum: number, handler: bigint) => bigint,
    create: libc.func("int timer_create(int clock, void *event, void *id)") as (clock: number, event: Buffer, id: Buffer) => number,
    setTime: libc.func("int timer_settime(uint64_t id, int flags, const void *value, void *old)") as (id: bigint, flags: number, value: Buffer, old: null) => number,
    delete: libc.func("int timer_delete(uint64_t id)") as (id: bigint) => number,
  };
}

export const addressOf = (buffer: Buffer): bigint => BigInt(koffi.address(buffer));
export const errno = (): number => koffi.errno();

export const C = {
  CLONE_NEWNET: 0x40000000,
  AF_UNIX: 1, AF_INET: 2, AF_INET6: 10,
  SOCK_STREAM: 1, SOCK_DGRAM: 2, SOCK_SEQPACKET: 5, SOCK_NONBLOCK: 0o4000, SOCK_CLOEXEC: 0o2000000,
  O_NONBLOCK: 0o4000, O_CLOEXEC: 0o2000000, F_DUPFD_CLOEXEC: 1030,
  SOL_SOCKET: 1, SO_REUSEADDR: 2, SO_TYPE: 3, SO_KEEPALIVE: 9, TCP_KEEPIDLE: 4, TCP_KEEPINTVL: 5, TCP_KEEPCNT: 6, TCP_USER_TIMEOUT: 18, SO_REUSEPORT: 15, SO_ACCEPTCONN: 30, SO_MARK: 36, SIOCGSKNS: 0x894c,
  SOL_IP: 0, IP_TRANSPARENT: 19, IP_FREEBIND: 15, IP_BIND_ADDRESS_NO_PORT: 24, SO_ORIGINAL_DST: 80,
  SOL_IPV6: 41, IPV6_V6ONLY: 26, IPV6_TRANSPARENT: 75, IP6T_SO_ORIGINAL_DST: 80,
  SCM_RIGHTS: 1, MSG_CMSG_CLOEXEC: 0x40000000, MSG_DONTWAIT: 0x40, MSG_NOSIGNAL: 0x4000, MSG_CTRUNC: 8, MSG_TRUNC: 0x20,
  POLLIN: 1, POLLERR: 8, POLLHUP: 16,
} as const;

// Two names of one number: EAGAIN, as Node's own errors say, not its alias EWOULDBLOCK.
const ERRNO_NAMES = new Map(Object.entries(constants.errno).toReversed().map(([name, n]) => [n, name]));

/** A system call that failed: `code` is the errno's name, as Node's own errors have it. */
export class SyscallError extends Error {
  readonly code: string;
  readonly syscall: string;
  constructor(syscall: string, code: string, detail: string) {
    super(`${syscall}${detail === "" ? "" : ` ${detail}`}: ${code}`);
    this.code = code;
    this.syscall = syscall;
  }
}

/** Reads errno at once: nothing may run between the call and this. */
export function check(result: number, syscall: string, detail = ""): number {
  if (Number(result) >= 0) return Number(result);
  throw new SyscallError(syscall, errnoName(errno()), detail);
}
export const errnoName = (n: number): string => ERRNO_NAMES.get(n) ?? `errno ${n}`;
