// Owns the redirection inside an enrolled pod's network namespace, as text for nft and ip (protocol §5.2–5.6).
// REDIRECT matches only SYN: a connection that was open before enrolment is first seen by conntrack in mid-stream, and
// redirecting that packet would reset it.

export const OUTBOUND_PORT = 15001;
export const INBOUND_PORT = 15006;
export const HBONE_PORT = 15008;
export const DNS_PORT = 15053;
/** Set by ztunnel on all of its sockets; never captured again. */
export const ZTUNNEL_MARK = 0x539;
/** Return traffic of connections that ztunnel made with the client's own source address. */
export const RETURN_MARK = 0x111;
const MARK_MASK = 0xfff;
export const ROUTE_TABLE = 100;
const RULE_PRIORITY = 32764;

export interface PodRules {
  readonly ipv6: boolean;
  readonly dnsCapture: boolean;
  /** Annotation ambient.istio.io/bypass-inbound-capture: ingress gateways keep their own inbound. */
  readonly bypassInbound: boolean;
  readonly probeIpv4: string;
  readonly probeIpv6: string;
}

const TABLES = ["istio-ambient-mangle", "istio-ambient-nat", "istio-ambient-raw"] as const;
const hex = (n: number) => `0x${n.toString(16).padStart(8, "0")}`;
const marked = (what: "meta mark" | "ct mark", op: "==" | "!=", mark: number) => `${what} & ${hex(MARK_MASK)} ${op} ${hex(mark)}`;
const SYN = "tcp flags & (fin | syn | rst | ack) == syn";

/** One nft transaction: replaces whatever stood there, so that applying it twice changes nothing. */
export function renderPodRules(rules: PodRules): string {
  const mangle = [
    `table inet ${TABLES[0]} {`,
    "  chain prerouting { type filter hook prerouting priority -150; policy accept; jump istio-prerouting; }",
    "  chain output { type route hook output priority -150; policy accept; jump istio-output; }",
    "  chain istio-prerouting {",
    `    ${marked("meta mark", "==", ZTUNNEL_MARK)} ct mark set ct mark & ${hex(0xfffff000)} | ${hex(RETURN_MARK)}`,
    "  }",
    "  chain istio-output {",
    `    ${marked("ct mark", "==", RETURN_MARK)} meta mark set ct mark`,
    "  }",
    "}",
  ];
  const nat = [
    `table inet ${TABLES[1]} {`,
    "  chain prerouting { type nat hook prerouting priority -100; policy accept; jump istio-prerouting; }",
    "  chain output { type nat hook output priority -100; policy accept; jump istio-output; }",
    "  chain istio-prerouting {",
    ...(rules.bypassInbound ? [] : families(rules).flatMap((f) => [
      `    meta l4proto tcp ${f.ip} saddr ${f.probe} accept`,
      `    ${f.ip} daddr != ${f.loopback} tcp dport != ${HBONE_PORT} ${SYN} ${marked("meta mark", "!=", ZTUNNEL_MARK)} redirect to :${INBOUND_PORT}`,
    ])),
    "  }",
    "  chain istio-output {",
    ...families(rules).map((f) => `    meta l4proto tcp ${f.ip} daddr ${f.probe} accept`),
    ...(rules.dnsCapture ? [
      `    oifname != "lo" udp dport 53 ${marked("meta mark", "!=", ZTUNNEL_MARK)} redirect to :${DNS_PORT}`,
      ...families(rules).map((f) => `    ${f.ip} daddr != ${f.loopback} tcp dport 53 ${SYN} ${marked("meta mark", "!=", ZTUNNEL_MARK)} redirect to :${DNS_PORT}`),
    ] : []),
    `    meta l4proto tcp ${marked("meta mark", "==", RETURN_MARK)} accept`,
    ...families(rules).flatMap((f) => [
      `    oifname "lo" ${f.ip} daddr != ${f.loopback} accept`,
      `    ${f.ip} daddr != ${f.loopback} ${SYN} ${marked("meta mark", "!=", ZTUNNEL_MARK)} redirect to :${OUTBOUND_PORT}`,
    ]),
    "  }",
    "}",
  ];
  // Queries of the application and of ztunnel share ports and peers: a zone of their own keeps their conntrack entries apart.
  const raw = !rules.dnsCapture ? [] : [
    `table inet ${TABLES[2]} {`,
    "  chain prerouting { type filter hook prerouting priority -300; policy accept; jump istio-prerouting; }",
    "  chain output { type filter hook output priority -300; policy accept; jump istio-output; }",
    "  chain istio-prerouting {",
    `    udp sport 53 ${marked("meta mark", "!=", ZTUNNEL_MARK)} ct zone set 1`,
    "  }",
    "  chain istio-output {",
    `    udp dport 53 ${marked("meta mark", "==", ZTUNNEL_MARK)} ct zone set 1`,
    "  }",
    "}",
  ];
  return [...clear(), ...mangle, ...nat, ...raw, ""].join("\n");
}

/** The nft transaction that leaves no table of ours; harmless where none is. */
export const renderPodCleanup = (): string => [...clear(), ""].join("\n");

// `add` before `delete`: deleting a table that is not there would fail the whole transaction.
const clear = (): string[] => TABLES.flatMap((t) => [`table inet ${t}`, `delete table inet ${t}`]);

function families(rules: PodRules): { ip: "ip" | "ip6"; loopback: string; probe: string }[] {
  const v4 = { ip: "ip" as const, loopback: "127.0.0.1", probe: rules.probeIpv4 };
  return rules.ipv6 ? [v4, { ip: "ip6", loopback: "::1", probe: rules.probeIpv6 }] : [v4];
}

/** Shell lines that route marked return traffic to ztunnel's sockets; each may run again without harm. */
export function renderRouting(rules: Pick<PodRules, "ipv6">): string {
  return ipVersions(rules).flatMap((v) => [
    `ip ${v} route replace local ${v === "-4" ? "0.0.0.0/0" : "::/0"} dev lo table ${ROUTE_TABLE}`,
    `while ip ${v} rule del pref ${RULE_PRIORITY} 2>/dev/null; do :; done`,
    `ip ${v} rule add pref ${RULE_PRIORITY} fwmark ${RETURN_MARK}/${MARK_MASK} lookup ${ROUTE_TABLE}`,
  ]).join("\n");
}

export function renderRoutingCleanup(rules: Pick<PodRules, "ipv6">): string {
  return ipVersions(rules).flatMap((v) => [
    `while ip ${v} rule del pref ${RULE_PRIORITY} 2>/dev/null; do :; done`,
    `ip ${v} route flush table ${ROUTE_TABLE} 2>/dev/null || true`,
  ]).join("\n");
}

const ipVersions = (rules: Pick<PodRules, "ipv6">) => (rules.ipv6 ? ["-4", "-6"] : ["-4"]);
