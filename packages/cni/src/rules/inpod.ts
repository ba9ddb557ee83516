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
export const MARK_MASK = 0xfff;
export const ROUTE_TABLE = 100;
const RULE_PRIORITY = 32764;

export interface PodRules {
  readonly ipv6: boolean;
  readonly dnsCapture: boolean;
  /** Annotation ambient.istio.io/bypass-inbound-capture: ingress gateways keep their own inbound. */
  readonly bypassInbound: boolean;
  /** Annotation istio.io/reroute-virtual-interfaces: what comes in there is the pod's own traffic (machines inside the pod). */
  readonly virtualInterfaces: readonly string[];
  readonly probeIpv4: string;
  readonly probeIpv6: string;
}

const TABLES = ["istio-ambient-mangle", "istio-ambient-nat", "istio-ambient-raw"] as const;
const hex = (n: number) => `0x${n.toString(16).padStart(8, "0")}`;
const marked = (what: "meta mark" | "ct mark", op: "==" | "!=", mark: number) => `${what} & ${hex(MARK_MASK)} ${op} ${hex(mark)}`;
const SYN = "tcp flags & (fin | syn | rst | ack) == syn";

/** One nft transaction: replaces whatever stood there, so that applying it twice changes nothing. */
export function renderPodRules(rules: PodRules): string {
  const nat = [
    `table inet ${TABLES[1]} {`,
    ...NAT_HOOKS,
    "  chain istio-prerouting {",
    ...rules.virtualInterfaces.flatMap((i) => [`    iifname "${i}" ${SYN} redirect to :${OUTBOUND_PORT}`, `    iifname "${i}" return`]),
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
    ...guards(rules),
    "}",
  ];
  return [...clear(), ...MANGLE, ...nat, ...raw(rules), ""].join("\n");
}

/**
 * For a pod that leaves: nothing new is redirected, but connections that were go on. The base chains of nat stay, because
 * without any the kernel stops translating the packets of connections it redirected, and those would hang. A DNS query may
 * reuse the port of one that was redirected half a minute ago and would follow it to ztunnel, which goes: new ones get a zone
 * of their own.
 */
export const renderDrainRules = (): string => [
  ...clear(), ...MANGLE,
  `table inet ${TABLES[1]} {`, ...NAT_HOOKS, "  chain istio-prerouting {", "  }", "  chain istio-output {", "  }", "}",
  ...rawTable(
    [`    iifname != "lo" udp sport 53 ${marked("meta mark", "!=", ZTUNNEL_MARK)} ct zone set 2`],
    [ZTUNNEL_QUERY, `    oifname != "lo" udp dport 53 ${marked("meta mark", "!=", ZTUNNEL_MARK)} ct zone set 2`],
  ), "",
].join("\n");

const MANGLE: readonly string[] = [
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

const NAT_HOOKS: readonly string[] = [
  "  chain prerouting { type nat hook prerouting priority -100; policy accept; jump istio-prerouting; }",
  "  chain output { type nat hook output priority -100; policy accept; jump istio-output; }",
];

/**
 * A new connection may reuse the ports of one from before enrolment that the kernel still remembers, untranslated, or takes for
 * an invalid part of it; nat chains see neither. It is reset rather than let past ztunnel, in clear and without policy. Kept in
 * nat's table, so that whoever removes the redirection removes the guard with it.
 */
function guards(rules: PodRules): string[] {
  const refused = (f: Family, more: string) => `    ${f.ip} daddr != ${f.loopback} ${more}${SYN} ${marked("meta mark", "!=", ZTUNNEL_MARK)} reject with tcp reset`;
  return [
    ...(rules.bypassInbound ? [] : [
      "  chain guard-input {",
      "    type filter hook input priority 0; policy accept;",
      `    iifname "lo" accept`,
      "    ct status dnat accept",
      ...families(rules).flatMap((f) => [`    meta l4proto tcp ${f.ip} saddr ${f.probe} accept`, refused(f, `tcp dport != ${HBONE_PORT} `)]),
      "  }",
    ]),
    "  chain guard-output {",
    "    type filter hook output priority 0; policy accept;",
    `    oifname "lo" accept`,
    "    ct status dnat accept",
    ...families(rules).flatMap((f) => [`    meta l4proto tcp ${f.ip} daddr ${f.probe} accept`, refused(f, "")]),
    "  }",
  ];
}

const ZTUNNEL_QUERY = `    udp dport 53 ${marked("meta mark", "==", ZTUNNEL_MARK)} ct zone set 1`;

/** Queries of the application and of ztunnel share ports and peers: a zone of their own keeps their conntrack entries apart. */
const raw = (rules: PodRules): string[] => !rules.dnsCapture ? [] : rawTable([`    udp sport 53 ${marked("meta mark", "!=", ZTUNNEL_MARK)} ct zone set 1`], [ZTUNNEL_QUERY]);

function rawTable(prerouting: readonly string[], output: readonly string[]): string[] {
  return [
    `table inet ${TABLES[2]} {`,
    "  chain prerouting { type filter hook prerouting priority -300; policy accept; jump istio-prerouting; }",
    "  chain output { type filter hook output priority -300; policy accept; jump istio-output; }",
    "  chain istio-prerouting {", ...prerouting, "  }",
    "  chain istio-output {", ...output, "  }",
    "}",
  ];
}

/** The nft transaction that leaves no table of ours; harmless where none is. */
export const renderPodCleanup = (): string => [...clear(), ""].join("\n");

// `add` before `delete`: deleting a table that is not there would fail the whole transaction.
const clear = (): string[] => TABLES.flatMap((t) => [`table inet ${t}`, `delete table inet ${t}`]);

interface Family { readonly ip: "ip" | "ip6"; readonly loopback: string; readonly probe: string }

function families(rules: PodRules): Family[] {
  const v4: Family = { ip: "ip", loopback: "127.0.0.1", probe: rules.probeIpv4 };
  return rules.ipv6 ? [v4, { ip: "ip6", loopback: "::1", probe: rules.probeIpv6 }] : [v4];
}

type Versions = Pick<PodRules, "ipv6">;
const MARKED = `fwmark ${`0x${RETURN_MARK.toString(16)}/0x${MARK_MASK.toString(16)}`}`;
const LO_IPV6 = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";
/** Some shells read byte by byte, and find an end after the first one of these files: that is no failure. True in a namespace whose loopback has IPv6: elsewhere ztunnel listens on IPv4 only, and a route to ::1 cannot be. */
const HAS_IPV6 = `[ -r ${LO_IPV6} ] && { read -r off < ${LO_IPV6} || :; } && [ "$off" = 0 ]`;

function perVersion(rules: Versions, lines: (version: string, all: string) => readonly string[]): string {
  const v6 = rules.ipv6 ? [`if ${HAS_IPV6}; then`, ...lines("-6", "::/0"), "fi"] : [];
  return [...lines("-4", "0.0.0.0/0"), ...v6].join("\n");
}

/**
 * Connections from before are no business of conntrack's: were they picked up in mid-stream (the kernel's default), their entries would
 * stand for minutes after they ended, and a new connection on the same ports would be taken for a part of them and not be redirected.
 * Where the kernel or a read-only /proc/sys does not allow it, guards reset such a connection.
 */
const LOOSE = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose";
/**
 * When one ztunnel ends after another has come, connections that nobody accepted yet move to the listeners of the other instead of
 * being reset. ztunnel's own container may not write here.
 */
const MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req";
/** A container without all privileges sees its own /proc/sys read-only. The node's own it sees with the right to trace; both are of the namespace that asks. */
const NODE_ROOT = "/host/proc/1/root";
const setKnob = (knob: string, value: 0 | 1): string => `for f in ${knob} ${NODE_ROOT}${knob}; do if [ -w $f ]; then echo ${value} > $f; break; fi; done`;
export const renderTracking = (): string => `${setKnob(LOOSE, 0)}\n${setKnob(MIGRATE, 1)}`;
export const renderTrackingCleanup = (): string => `${setKnob(LOOSE, 1)}\n${setKnob(MIGRATE, 0)}`;

/**
 * Shell lines that route marked return traffic to ztunnel's sockets; run again they change nothing, not even for a moment: the kernel
 * refuses a rule that it has. Few programs, here and below: each costs milliseconds of a pod's way into the mesh.
 */
export const renderRouting = (rules: Versions): string => perVersion(rules, (v, all) => [
  `ip ${v} route replace local ${all} dev lo table ${ROUTE_TABLE}`,
  `ip ${v} rule add pref ${RULE_PRIORITY} ${MARKED} lookup ${ROUTE_TABLE} 2>/dev/null || ip ${v} rule show pref ${RULE_PRIORITY} | grep -q '${MARKED} lookup ${ROUTE_TABLE}'`,
]);

export const renderRoutingCleanup = (rules: Versions): string => perVersion(rules, (v, all) => [
  `while ip ${v} rule del pref ${RULE_PRIORITY} ${MARKED} lookup ${ROUTE_TABLE} 2>/dev/null; do :; done`,
  `ip ${v} route del local ${all} dev lo table ${ROUTE_TABLE} 2>/dev/null || true`,
]);

/** Shell lines that print what `renderPodRules` sets, always in the same words; they fail where a table is missing. */
export const renderInspection = (rules: PodRules): string => TABLES.filter((t) => rules.dnsCapture || t !== TABLES[2]).map((t) => `nft -s list table inet ${t}`).join("\n");

/** The same for `renderRouting` and `renderTracking`. */
export const renderRoutingInspection = (rules: Versions): string => [
  perVersion(rules, (v) => [`printf 'rule show pref ${RULE_PRIORITY}\\nroute show table ${ROUTE_TABLE}\\n' | ip ${v} -batch -`]),
  ...[LOOSE, MIGRATE].map((knob) => `[ ! -r ${knob} ] || { read -r knob < ${knob} || :; echo "$knob"; }`),
].join("\n");
