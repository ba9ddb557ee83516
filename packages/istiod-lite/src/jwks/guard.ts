// Owns which addresses keys may be fetched from: whoever may write a RequestAuthentication must not reach what only the control plane reaches.
import { cidrContains, parseCidr, parseIp, type Cidr } from "@ambit/core";

/** This machine, its metadata service, nobody, everybody. Private ranges are not here: issuers inside the cluster are the common case. */
const ALWAYS_BLOCKED = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "fe80::/10", "ff00::/8"];
const MAPPED = /^::ffff:([0-9]{1,3}(?:\.[0-9]{1,3}){3})$/i;

export interface AddressGuard {
  /** undefined: it may be connected to. */
  refuse(address: string): string | undefined;
}

/** `more`: comma list of blocks; throws on one that is none. */
export function addressGuard(more: string, allow = ""): AddressGuard {
  const blocked = [...ALWAYS_BLOCKED.map(block), ...listOf(more)];
  const allowed = listOf(allow);
  return {
    refuse: (address) => {
      // An IPv4 address in IPv6 clothes is judged as what it is.
      const ip = parseIp(MAPPED.exec(address)?.[1] ?? address);
      if (!ip.ok) return `${address} is not an address`;
      if (allowed.some((b) => cidrContains(b, ip.value)) || !blocked.some((b) => cidrContains(b, ip.value))) return undefined;
      return `${address} is an address that keys may not be fetched from`;
    },
  };
}

const listOf = (text: string): Cidr[] => text.split(",").map((t) => t.trim()).filter((t) => t !== "").map(block);

function block(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new Error(`"${text}" is not a block of addresses: ${parsed.error}`);
  return parsed.value;
}
