// Owns the node's own rule: connections of host processes (kubelet probes) to enrolled pods carry a source that the pods accept.

export interface HostProbe { readonly probeIpv4: string; readonly probeIpv6: string; readonly ipv6: boolean }

const TABLE = "istio-ambient-nat";
export const SET_V4 = "istio-inpod-probes-v4";
export const SET_V6 = "istio-inpod-probes-v6";

/**
 * Replaces the table with these pod addresses. Only packets with an owning socket have a user id, so forwarded traffic is
 * never touched: the match says "a process of this node".
 */
export function renderHostProbe(host: HostProbe, podIps: readonly string[]): string {
  const of = (v6: boolean) => [...new Set(podIps)].filter((ip) => ip.includes(":") === v6).sort();
  const set = (name: string, type: string, ips: readonly string[]) =>
    `  set ${name} { type ${type};${ips.length === 0 ? "" : ` elements = { ${ips.join(", ")} };`} }`;
  return [
    `table inet ${TABLE}`,
    `delete table inet ${TABLE}`,
    `table inet ${TABLE} {`,
    set(SET_V4, "ipv4_addr", of(false)),
    ...(host.ipv6 ? [set(SET_V6, "ipv6_addr", of(true))] : []),
    "  chain postrouting {",
    "    type nat hook postrouting priority 100; policy accept;",
    `    meta l4proto tcp meta skuid >= 0 ip daddr @${SET_V4} snat ip to ${host.probeIpv4}`,
    ...(host.ipv6 ? [`    meta l4proto tcp meta skuid >= 0 ip6 daddr @${SET_V6} snat ip6 to ${host.probeIpv6}`] : []),
    "  }",
    "}",
    "",
  ].join("\n");
}

export const renderHostCleanup = (): string => `table inet ${TABLE}\ndelete table inet ${TABLE}\n`;

/** An nft command that prints the table as it stands. */
export const HOST_INSPECTION = ["-s", "list", "table", "inet", TABLE] as const;
