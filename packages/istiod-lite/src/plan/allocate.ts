// Owns which addresses ServiceEntry hosts without any get (protocol.md §9.7). Pure: all entries in, every entry's addresses out.
import { cidrContains, familyOf, parseCidr, parseIp, type Cidr, type Ip } from "@ambit/core";

export interface AllocationInput {
  /** `namespace/name`. */
  readonly key: string;
  readonly created: string;
  /** Hosts that should have addresses; empty: none should. */
  readonly hosts: readonly string[];
  /** Addresses that its user chose: they win over every allocation. */
  readonly chosen: readonly Cidr[];
  /** What its status says now. */
  readonly current: readonly Allocated[];
}
export interface Allocated { readonly host: string; readonly value: string }

const RANGES = { 4: block("240.240.0.0/16"), 6: block("2001:2::/48") } as const;
/** Of each range the first 65,534 addresses after the network's own: one number names the pair of a host. */
const NUMBERS = 65_534;

/**
 * What stands and is right stays, the oldest entry first; a host's new number follows from its name, so that two replicas or a
 * lost status come to the same addresses unless they collide. Hosts beyond the range get nothing.
 */
export function allocate(inputs: readonly AllocationInput[]): Map<string, readonly Allocated[]> {
  const chosen = inputs.flatMap((i) => i.chosen).filter((c) => c.prefix > 0 && (cidrContains(RANGES[4], c.ip) || cidrContains(RANGES[6], c.ip)));
  const taken = new Set<string>();
  const free = (ip: Ip): boolean => !taken.has(ip) && !chosen.some((c) => cidrContains(c, ip));
  const order = [...inputs].sort((a, b) => (a.created < b.created ? -1 : a.created > b.created ? 1 : a.key < b.key ? -1 : 1));
  const kept = new Map<string, Map<string, Map<4 | 6, Ip>>>();
  for (const input of order) kept.set(input.key, keep(input, free, taken));
  const out = new Map<string, readonly Allocated[]>();
  for (const input of order) {
    const standing = kept.get(input.key);
    out.set(input.key, [...new Set(input.hosts)].flatMap((host): Allocated[] => {
      const own = standing?.get(host) ?? new Map<4 | 6, Ip>();
      const addresses = ([4, 6] as const).map((family) => own.get(family) ?? take(family, `${input.key}/${host}`, free, taken));
      return addresses.flatMap((ip) => (ip === undefined ? [] : [{ host, value: ip }]));
    }));
  }
  return out;
}

function keep(input: AllocationInput, free: (ip: Ip) => boolean, taken: Set<string>): Map<string, Map<4 | 6, Ip>> {
  const out = new Map<string, Map<4 | 6, Ip>>();
  for (const { host, value } of input.current) {
    const ip = parseIp(value);
    if (!ip.ok || !input.hosts.includes(host)) continue;
    const family = familyOf(ip.value);
    const own = out.get(host) ?? new Map<4 | 6, Ip>();
    if (own.has(family) || !cidrContains(RANGES[family], ip.value) || !free(ip.value)) continue;
    taken.add(ip.value);
    out.set(host, own.set(family, ip.value));
  }
  return out;
}

function take(family: 4 | 6, name: string, free: (ip: Ip) => boolean, taken: Set<string>): Ip | undefined {
  const start = numberOf(name);
  for (let step = 0; step < NUMBERS; step++) {
    const ip = addressOf(family, 1 + ((start + step) % NUMBERS));
    if (!free(ip)) continue;
    taken.add(ip);
    return ip;
  }
  return undefined;
}

function addressOf(family: 4 | 6, n: number): Ip {
  const ip = parseIp(family === 4 ? `240.240.${n >> 8}.${n & 255}` : `2001:2::${n.toString(16)}`);
  if (!ip.ok) throw new Error(`defect: ${ip.error}`);
  return ip.value;
}

/** FNV-1a: spreads names evenly, and the same in every process. */
function numberOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return hash % NUMBERS;
}

function block(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new Error(`defect: ${parsed.error}`);
  return parsed.value;
}
