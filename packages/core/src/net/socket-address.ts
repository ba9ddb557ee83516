// Owns (ip, port) pairs.
import { err, ok, type Result } from "../result.ts";
import { parseIp, type Ip } from "./ip.ts";

export interface SocketAddress {
  readonly ip: Ip;
  /** 1–65535 (0 only for "any port"). */
  readonly port: number;
}

export const formatSocketAddress = (a: SocketAddress): string => (a.ip.includes(":") ? `[${a.ip}]:${a.port}` : `${a.ip}:${a.port}`);

/** `10.0.0.1:80` or `[2001:db8::1]:80`. */
export function parseSocketAddress(text: string): Result<SocketAddress, string> {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const ip = match === null ? undefined : parseIp(match[1] ?? match[2] ?? "");
  const port = Number(match?.[3]);
  if (ip?.ok !== true || port < 1 || port > 65535 || (match?.[1] === undefined) === ip.value.includes(":"))
    return err(`"${text}" is not an address and port such as 10.0.0.1:80 or [2001:db8::1]:80`);
  return ok({ ip: ip.value, port });
}

/** `(network, ip)`: two pods in two networks may share an ip. */
export interface NetworkAddress {
  readonly network: string;
  readonly ip: Ip;
}
export const networkAddressKey = (network: string, ip: Ip): string => `${network}/${ip}`;
