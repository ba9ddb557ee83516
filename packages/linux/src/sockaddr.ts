// Owns struct sockaddr: (ip, port) to and from the kernel's bytes.
import { ipBytes, ipFromBytes, type SocketAddress } from "@ambit/core";
import { C } from "./ffi.ts";

/** Large enough for sockaddr_in6. */
export const SOCKADDR_MAX = 28;

export function encodeSockaddr(at: SocketAddress): Buffer {
  const bytes = ipBytes(at.ip);
  const v6 = bytes.length === 16;
  const out = Buffer.alloc(v6 ? SOCKADDR_MAX : 16);
  out.writeUInt16LE(v6 ? C.AF_INET6 : C.AF_INET, 0);
  out.writeUInt16BE(at.port, 2);
  out.set(bytes, v6 ? 8 : 4);
  return out;
}

export function decodeSockaddr(bytes: Buffer): SocketAddress | undefined {
  const family = bytes.readUInt16LE(0);
  if (family !== C.AF_INET && family !== C.AF_INET6) return undefined;
  const ip = ipFromBytes(family === C.AF_INET ? bytes.subarray(4, 8) : bytes.subarray(8, 24));
  return ip.ok ? { ip: ip.value, port: bytes.readUInt16BE(2) } : undefined;
}

/** struct sockaddr_un; the kernel's limit is 107 bytes of path. */
export function encodeSockaddrUn(path: string): Buffer {
  const length = Buffer.byteLength(path);
  if (length === 0 || length > 107) throw new Error(`socket path "${path}" has ${length} bytes, the kernel takes 1 to 107`);
  const out = Buffer.alloc(2 + length + 1);
  out.writeUInt16LE(C.AF_UNIX, 0);
  out.write(path, 2);
  return out;
}
