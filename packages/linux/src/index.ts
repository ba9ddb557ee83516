// Public names of @ambit/linux.
export type { DialOptions, KeepAlive, Kernel, ListenOptions, Netns, StreamListenerFacts, TcpInfo } from "./kernel.ts";
export { hostKernel } from "./host-kernel.ts";
export { deleteConntrackEntries, encodeConntrackDelete, type ConntrackFilter } from "./conntrack.ts";
export { insideNetns, warmThreadPool } from "./netns.ts";
export { SyscallError } from "./ffi.ts";
export { connectSeqpacket, listenSeqpacket, type Channel, type ChannelHandler, type ChannelServer } from "./seqpacket.ts";
export { closeDescriptor, connectUnix, duplicateDescriptor, listenUnix, type UnixCaller } from "./unix-stream.ts";
export type { Packet } from "./message.ts";
export { openPty, type Pty } from "./pty.ts";
