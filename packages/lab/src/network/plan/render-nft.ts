// Owns the nftables text that makes Service addresses work on one node.
import type { FrontDoor, Target } from "./service-model.ts";

export const TABLE = "ip ambit-lab-services";
/** Marks a packet whose source must become the node's; none of the mesh's marks (0x111, 0x539 in the low 12 bits) touches it. */
const MASQUERADE_MARK = "0x4000";

const HOST_PROTOCOLS = ["tcp", "udp"];

export interface HostPort { readonly hostPort: number; readonly containerPort: number; readonly protocol: string; readonly podIP: string }
export interface RuleFacts {
  readonly doors: readonly FrontDoor[];
  readonly hostPorts: readonly HostPort[];
  readonly podCidr: string;
  /**
   * Without br_netfilter a reply between two pods of one bridge goes past the address translation: then the source must be
   * hidden on the way to a pod of the same node.
   */
  readonly bridgeFiltered: boolean;
}

/** One script that replaces the whole table in one transaction. */
export function renderServiceRules(f: RuleFacts): string {
  const services: string[] = [];
  const nodePorts: string[] = [];
  const refusedServices: string[] = [];
  const refusedPorts: string[] = [];
  const dropped: string[] = [];
  const chains: string[] = [];
  const hairpins = new Set<string>();
  // Two doors with one key would make nft refuse the whole table: the first by name has it.
  const taken = new Set<string>();
  const free = (key: string) => { if (taken.has(key)) return false; taken.add(key); return true; };
  for (const d of f.doors) {
    const keys = (d.addresses.length > 0 ? d.addresses.map((a) => `${a} . ${d.protocol} . ${d.port}`) : [`${d.protocol} . ${d.port}`]).filter(free);
    if (keys.length === 0) continue;
    if (d.targets.length === 0) {
      if (d.local) dropped.push(...(d.addresses.length > 0 ? keys : []));
      else (d.addresses.length > 0 ? refusedServices : refusedPorts).push(...keys);
      continue;
    }
    const chain = chainName(d);
    (d.addresses.length > 0 ? services : nodePorts).push(...keys.map((k) => `${k} : goto ${chain}`));
    for (const t of d.targets) hairpins.add(`${t.ip} . ${t.ip}`);
    chains.push(renderChain(chain, d.masquerade, destination(d)));
  }
  for (const p of [...f.hostPorts].sort((a, b) => a.hostPort - b.hostPort || (a.podIP < b.podIP ? -1 : 1))) {
    const chain = `hostport-${p.protocol}-${p.hostPort}`;
    if (!HOST_PROTOCOLS.includes(p.protocol) || !free(`${p.protocol} . ${p.hostPort}`)) continue;
    nodePorts.push(`${p.protocol} . ${p.hostPort} : goto ${chain}`);
    hairpins.add(`${p.podIP} . ${p.podIP}`);
    chains.push(renderChain(chain, false, `meta l4proto ${p.protocol} dnat to ${p.podIP}:${p.containerPort}`));
  }
  const lines = [
    `table ${TABLE} {}`,
    `delete table ${TABLE}`,
    `table ${TABLE} {`,
    ...map("map services", "ipv4_addr . inet_proto . inet_service : verdict", services),
    ...map("map node-ports", "inet_proto . inet_service : verdict", nodePorts),
    ...map("set refused", "ipv4_addr . inet_proto . inet_service", refusedServices),
    ...map("set refused-ports", "inet_proto . inet_service", refusedPorts),
    ...map("set dropped", "ipv4_addr . inet_proto . inet_service", dropped),
    ...map("set hairpin", "ipv4_addr . ipv4_addr", [...hairpins].sort()),
    ...chains,
    "  chain dispatch {",
    "    ip daddr . meta l4proto . th dport vmap @services",
    "    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports",
    "  }",
    "  chain prerouting {",
    "    type nat hook prerouting priority dstnat; policy accept;",
    "    jump dispatch",
    "  }",
    "  chain output {",
    "    type nat hook output priority -100; policy accept;",
    "    jump dispatch",
    "  }",
    "  chain postrouting {",
    "    type nat hook postrouting priority srcnat; policy accept;",
    `    meta mark & ${MASQUERADE_MARK} == ${MASQUERADE_MARK} masquerade`,
    "    ct status dnat ip saddr . ip daddr @hairpin masquerade",
    ...(f.bridgeFiltered ? [] : [`    ct status dnat ip saddr ${f.podCidr} ip daddr ${f.podCidr} masquerade`]),
    "  }",
    "  chain refuse {",
    "    ip daddr . meta l4proto . th dport @dropped drop",
    "    ip daddr . meta l4proto . th dport @refused goto refuse-now",
    "    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport @refused-ports goto refuse-now",
    "  }",
    "  chain refuse-now {",
    "    meta l4proto tcp reject with tcp reset",
    "    reject",
    "  }",
    ...["input", "forward", "output"].flatMap((hook) => [`  chain filter-${hook} {`, `    type filter hook ${hook} priority filter; policy accept;`, "    ct state new jump refuse", "  }"]),
    "}",
  ];
  return `${lines.join("\n")}\n`;
}

const chainName = (d: FrontDoor): string => `svc-${d.name}-${d.protocol}`;

function renderChain(name: string, masquerade: boolean, verdict: string): string {
  return [`  chain ${name} {`, ...(masquerade ? [`    meta mark set meta mark | ${MASQUERADE_MARK}`] : []), `    ${verdict}`, "  }"].join("\n");
}

function destination(d: FrontDoor): string {
  const [only] = d.targets;
  if (d.targets.length === 1 && only !== undefined) return `meta l4proto ${d.protocol} dnat to ${only.ip}:${only.port}`;
  const entries = d.targets.map((t: Target, i) => `${i} : ${t.ip} . ${t.port}`).join(", ");
  const index = d.sticky ? `jhash ip saddr mod ${d.targets.length}` : `numgen random mod ${d.targets.length}`;
  return `meta l4proto ${d.protocol} dnat ip to ${index} map { ${entries} }`;
}

function map(head: string, type: string, elements: readonly string[]): string[] {
  return [`  ${head} {`, `    type ${type}`, ...(elements.length === 0 ? [] : ["    elements = {", ...elements.map((e, i) => `      ${e}${i < elements.length - 1 ? "," : ""}`), "    }"]), "  }"];
}
