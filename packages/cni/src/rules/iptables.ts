// Owns the redirection inside an enrolled pod's network namespace as text for iptables-restore (protocol §5.4): the same decisions as
// inpod.ts, in the chains that Istio's tools and people look for. Several rules of others may share the tables: only our chains and the
// jumps to them are touched.
import { DNS_PORT, HBONE_PORT, INBOUND_PORT, MARK_MASK, OUTBOUND_PORT, RETURN_MARK, ZTUNNEL_MARK, type PodRules } from "./inpod.ts";

export type IpVersion = 4 | 6;
type Table = "raw" | "mangle" | "nat" | "filter";
interface Chain { readonly hook: string; readonly name: string; readonly rules: readonly string[] }

/** In this order a pod joins: each table is a transaction of its own, and guards refuse what nat has not translated. */
const JOINING: readonly Table[] = ["raw", "mangle", "nat", "filter"];
const LEAVING: readonly Table[] = ["filter", "nat", "raw", "mangle"];

const mask = (mark: number): string => `0x${mark.toString(16)}/0x${MARK_MASK.toString(16)}`;
const NOT_ZTUNNEL = `-m mark ! --mark ${mask(ZTUNNEL_MARK)}`;
const LOOPBACK: Readonly<Record<IpVersion, string>> = { 4: "127.0.0.1/32", 6: "::1/128" };
const probe = (rules: PodRules, v: IpVersion): string => (v === 4 ? `${rules.probeIpv4}/32` : `${rules.probeIpv6}/128`);

/** Every chain of ours, also those that stay empty: what an earlier configuration left is emptied with them. */
function chains(rules: PodRules, v: IpVersion): Readonly<Record<Table, readonly Chain[]>> {
  const away = `! -d ${LOOPBACK[v]} -p tcp`;
  const refuse = `-j REJECT --reject-with tcp-reset`;
  const guard = (device: string, self: string, more: string): readonly string[] => [
    `${device} lo -j RETURN`, "-m conntrack --ctstate DNAT -j RETURN", `${self} -p tcp -j RETURN`, `${away}${more} --syn ${NOT_ZTUNNEL} ${refuse}`,
  ];
  const dns = (lines: readonly string[]): readonly string[] => (rules.dnsCapture ? lines : []);
  const inbound = (lines: readonly string[]): readonly string[] => (rules.bypassInbound ? [] : lines);
  return {
    raw: [
      { hook: "PREROUTING", name: "ISTIO_PRERT", rules: dns([`-p udp --sport 53 ${NOT_ZTUNNEL} -j CT --zone 1`]) },
      { hook: "OUTPUT", name: "ISTIO_OUTPUT", rules: dns([ZTUNNEL_QUERY]) },
    ],
    mangle: [
      { hook: "PREROUTING", name: "ISTIO_PRERT", rules: [`-m mark --mark ${mask(ZTUNNEL_MARK)} -j CONNMARK --set-xmark ${mask(RETURN_MARK)}`] },
      { hook: "OUTPUT", name: "ISTIO_OUTPUT", rules: [`-m connmark --mark ${mask(RETURN_MARK)} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff`] },
    ],
    nat: [
      {
        hook: "PREROUTING", name: "ISTIO_PRERT", rules: [
          ...rules.virtualInterfaces.flatMap((i) => [`-i ${i} -p tcp --syn -j REDIRECT --to-ports ${OUTBOUND_PORT}`, `-i ${i} -j RETURN`]),
          ...inbound([`-s ${probe(rules, v)} -p tcp -j ACCEPT`, `${away} ! --dport ${HBONE_PORT} --syn ${NOT_ZTUNNEL} -j REDIRECT --to-ports ${INBOUND_PORT}`]),
        ],
      },
      {
        hook: "OUTPUT", name: "ISTIO_OUTPUT", rules: [
          `-d ${probe(rules, v)} -p tcp -j ACCEPT`,
          ...dns([`! -o lo -p udp --dport 53 ${NOT_ZTUNNEL} -j REDIRECT --to-ports ${DNS_PORT}`, `${away} --dport 53 --syn ${NOT_ZTUNNEL} -j REDIRECT --to-ports ${DNS_PORT}`]),
          `-p tcp -m mark --mark ${mask(RETURN_MARK)} -j ACCEPT`,
          `! -d ${LOOPBACK[v]} -o lo -j ACCEPT`,
          `${away} --syn ${NOT_ZTUNNEL} -j REDIRECT --to-ports ${OUTBOUND_PORT}`,
        ],
      },
    ],
    filter: [
      { hook: "INPUT", name: "ISTIO_GUARD_IN", rules: inbound(guard("-i", `-s ${probe(rules, v)}`, ` ! --dport ${HBONE_PORT}`)) },
      { hook: "OUTPUT", name: "ISTIO_GUARD_OUT", rules: guard("-o", `-d ${probe(rules, v)}`, "") },
    ],
  };
}

const ZTUNNEL_QUERY = `-p udp --dport 53 -m mark --mark ${mask(ZTUNNEL_MARK)} -j CT --zone 1`;

/** Text for `iptables-restore --noflush`; `standing` is what `iptables-save` prints: jumps that are there are not written twice. */
export const renderIptables = (rules: PodRules, v: IpVersion, standing: string): string => restore(JOINING, chains(rules, v), standing);

/** For a pod that leaves: as renderDrainRules of nft. Jumps of nat stay, so that the kernel goes on translating what was redirected. */
export function renderIptablesDrain(rules: PodRules, v: IpVersion, standing: string): string {
  const { mangle, nat, filter } = chains(rules, v);
  const empty = (list: readonly Chain[]): Chain[] => list.map((c) => ({ ...c, rules: [] }));
  const raw: readonly Chain[] = [
    { hook: "PREROUTING", name: "ISTIO_PRERT", rules: [`! -i lo -p udp --sport 53 ${NOT_ZTUNNEL} -j CT --zone 2`] },
    { hook: "OUTPUT", name: "ISTIO_OUTPUT", rules: [ZTUNNEL_QUERY, `! -o lo -p udp --dport 53 ${NOT_ZTUNNEL} -j CT --zone 2`] },
  ];
  return restore(LEAVING, { raw, mangle, nat: empty(nat), filter: empty(filter) }, standing);
}

/** Takes away our chains and every jump to them, as far as they are in `standing`; empty where there is nothing to do. */
export function renderIptablesCleanup(standing: string): string {
  return LEAVING.flatMap((table) => {
    const ours = sectionOf(standing, table).filter((line) => line.includes("ISTIO_"));
    const jumps = ours.filter((line) => /^-A [A-Z]+ -j ISTIO_/.test(line)).map((line) => line.replace("-A", "-D"));
    const own = ours.flatMap((line) => /^:(ISTIO_\S+)/.exec(line)?.[1] ?? []);
    return jumps.length + own.length === 0 ? [] : [`*${table}`, ...jumps, ...own.map((name) => `-F ${name}`), ...own.map((name) => `-X ${name}`), "COMMIT", ""];
  }).join("\n");
}

/** Shell lines that print our part of every table, in the same order always; they fail where a table has none. */
export const renderIptablesInspection = (rules: PodRules): string =>
  versions(rules).flatMap((v) => JOINING.map((table) => `${program(v, "save")} -t ${table} | grep ISTIO_`)).join("\n");

export const versions = (rules: Pick<PodRules, "ipv6">): readonly IpVersion[] => (rules.ipv6 ? [4, 6] : [4]);
export const program = (v: IpVersion, what: "save" | "restore"): string => `${v === 4 ? "iptables" : "ip6tables"}-nft-${what}`;

function restore(order: readonly Table[], all: Readonly<Record<Table, readonly Chain[]>>, standing: string): string {
  return order.flatMap((table) => {
    const there = new Set(sectionOf(standing, table));
    const jumps = all[table].map((c) => `-A ${c.hook} -j ${c.name}`).filter((jump) => !there.has(jump));
    // Naming a chain makes it, or empties it.
    return [`*${table}`, ...all[table].map((c) => `:${c.name} - [0:0]`), ...jumps, ...all[table].flatMap((c) => c.rules.map((r) => `-A ${c.name} ${r}`)), "COMMIT", ""];
  }).join("\n");
}

/** The lines of one table in the output of iptables-save. */
function sectionOf(saved: string, table: Table): readonly string[] {
  const lines = saved.split("\n");
  const from = lines.indexOf(`*${table}`);
  return from < 0 ? [] : lines.slice(from + 1, lines.indexOf("COMMIT", from));
}
