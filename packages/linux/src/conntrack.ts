// Owns deleting connection-tracking entries of a network namespace, over ctnetlink: the kernel forgets what it decided about
// connections, so that the next packet of each is decided anew.
import { C, check, errnoName, SyscallError, sys } from "./ffi.ts";
import type { Netns } from "./kernel.ts";
import { insideNetns } from "./netns.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_NETFILTER = 12;
/** NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE. Without a tuple the kernel deletes every entry that the filter matches. */
const CT_DELETE = (1 << 8) | 2;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLMSG_ERROR = 2;
const CTA_STATUS = 3;
const CTA_MARK = 8;
const CTA_MARK_MASK = 21;
const CTA_STATUS_MASK = 26;
/** The destination was rewritten (DNAT or REDIRECT). */
const IPS_DST_NAT = 1 << 5;
/** nlmsghdr and nlmsgerr with the echoed header fit many times. */
const ANSWER_MAX_BYTES = 4096;

export interface ConntrackFilter {
  /** Only entries whose destination was not rewritten. Kernels before 5.14 do not know this and delete all. */
  readonly untranslated?: boolean;
  /** Only entries with this connection mark under this mask. */
  readonly mark?: { readonly value: number; readonly mask: number };
}

/** Bytes of the request; numbers of netlink are the machine's (little-endian), those of nfnetlink attributes big-endian. */
export function encodeConntrackDelete(filter: ConntrackFilter): Buffer {
  const attributes = [
    ...(filter.untranslated === true ? [attribute(CTA_STATUS, 0), attribute(CTA_STATUS_MASK, IPS_DST_NAT)] : []),
    ...(filter.mark === undefined ? [] : [attribute(CTA_MARK, filter.mark.value), attribute(CTA_MARK_MASK, filter.mark.mask)]),
  ];
  const header = Buffer.alloc(20);
  header.writeUInt16LE(CT_DELETE, 4);
  header.writeUInt16LE(NLM_F_REQUEST | NLM_F_ACK, 6);
  header.writeUInt32LE(1, 8);
  const message = Buffer.concat([header, ...attributes]);
  message.writeUInt32LE(message.length, 0);
  return message;
}

/** Deletes the entries of `ns` that match; synchronous, a few milliseconds. Throws SyscallError, e.g. EPERM. */
export function deleteConntrackEntries(ns: Netns, filter: ConntrackFilter = {}): void {
  const fd = insideNetns(ns, () => check(sys.socket(AF_NETLINK, SOCK_RAW | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, NETLINK_NETFILTER), "socket", "netlink"));
  try {
    const message = encodeConntrackDelete(filter);
    check(sys.write(fd, message, message.length), "write", "ctnetlink");
    // The kernel works while we write: its answer is there.
    const answer = Buffer.alloc(ANSWER_MAX_BYTES);
    const n = check(sys.read(fd, answer, answer.length), "read", "ctnetlink");
    if (n < 20 || answer.readUInt16LE(4) !== NLMSG_ERROR) throw new Error("ctnetlink answered with something else than an acknowledgement");
    const code = -answer.readInt32LE(16);
    // Nothing that matches is what was asked for.
    if (code !== 0 && errnoName(code) !== "ENOENT") throw new SyscallError("ctnetlink", errnoName(code), "delete");
  } finally {
    sys.close(fd);
  }
}

function attribute(type: number, value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt16LE(8, 0);
  out.writeUInt16LE(type, 2);
  out.writeUInt32BE(value, 4);
  return out;
}
