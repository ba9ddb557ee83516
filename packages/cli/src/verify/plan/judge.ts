// Owns what two ztunnels' accounts of their connections prove about a pair of pods: each end is believed only together with the other.

/** As `/debug/connections` of ztunnel has them. */
export interface SeenTunnel {
  readonly direction: "inbound" | "outbound";
  readonly local?: string;
  readonly peer: string;
  readonly mutualTls?: { readonly protocol: string; readonly cipher: string; readonly local: string; readonly peer: string } | undefined;
}
export interface SeenConnection { readonly direction: "inbound" | "outbound"; readonly src: string; readonly actualDst: string; readonly protocol: string }

export interface Endpoint {
  /** NAMESPACE/NAME */
  readonly name: string;
  readonly ip: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly tunnels: readonly SeenTunnel[];
  readonly connections: readonly SeenConnection[];
}

export interface Wire { readonly from: string; readonly to: string; readonly protocol: string; readonly cipher: string; readonly client: string; readonly server: string }

/** proven: every connection seen is in a tunnel that both ends tell the same of. disproven: one is not. unknown: nothing was seen that says either. */
export type Judgement =
  | { readonly verdict: "proven"; readonly wires: readonly Wire[] }
  | { readonly verdict: "disproven"; readonly because: string }
  | { readonly verdict: "unknown"; readonly because: string };

const TUNNEL_PORT = 15008;
const TLS = "TLSv1.3";

export function judgePair(a: Endpoint, b: Endpoint): Judgement {
  const plain = inClear(a, b);
  if (plain !== undefined) return { verdict: "disproven", because: plain };
  const door = socket(b.ip, TUNNEL_PORT);
  const ours = a.tunnels.filter((t) => t.direction === "outbound" && t.peer === door);
  const wires: Wire[] = [];
  for (const mine of ours) {
    const theirs = b.tunnels.find((t) => t.direction === "inbound" && t.peer === mine.local);
    // One end has closed, or its handshake is under way: the other's word alone proves nothing.
    if (theirs?.mutualTls === undefined || mine.mutualTls === undefined || mine.local === undefined) continue;
    const wrong = disagreement(a, b, mine.mutualTls, theirs.mutualTls);
    if (wrong !== undefined) return { verdict: "disproven", because: `${mine.local} → ${door}: ${wrong}` };
    wires.push({ from: mine.local, to: door, protocol: mine.mutualTls.protocol, cipher: mine.mutualTls.cipher, client: theirs.mutualTls.peer, server: mine.mutualTls.peer });
  }
  if (wires.length > 0) return { verdict: "proven", wires };
  if (ours.length > 0) return { verdict: "unknown", because: `${a.name} has a tunnel to ${door}, but the ztunnel of ${b.name} does not tell of its other end (yet)` };
  const elsewhere = [...new Set(a.tunnels.filter((t) => t.direction === "outbound").map((t) => t.peer))];
  return { verdict: "unknown", because: `no connection from ${a.name} to ${b.name} was seen${elsewhere.length === 0 ? "" : `; its tunnels lead to ${elsewhere.slice(0, 5).join(", ")} (a waypoint stands for the pods behind it: verify each leg)`}` };
}

function inClear(a: Endpoint, b: Endpoint): string | undefined {
  const out = a.connections.find((c) => c.direction === "outbound" && c.protocol === "TCP" && hostOf(c.actualDst) === b.ip);
  if (out !== undefined) return `${out.src} → ${out.actualDst} leaves ${a.name} without a tunnel`;
  const into = b.connections.find((c) => c.direction === "inbound" && c.protocol === "TCP" && hostOf(c.src) === a.ip);
  return into === undefined ? undefined : `${into.src} → ${into.actualDst} reaches ${b.name} without a tunnel`;
}

type Tls = NonNullable<SeenTunnel["mutualTls"]>;
function disagreement(a: Endpoint, b: Endpoint, mine: Tls, theirs: Tls): string | undefined {
  if (mine.protocol !== TLS || theirs.protocol !== TLS) return `it speaks ${mine.protocol}, not ${TLS}`;
  if (mine.cipher !== theirs.cipher) return `one end says ${mine.cipher}, the other ${theirs.cipher}`;
  if (!isOf(theirs.peer, a)) return `the client proved to be ${theirs.peer}, which is not the service account of ${a.name}`;
  if (!isOf(mine.peer, b)) return `the server proved to be ${mine.peer}, which is not the service account of ${b.name}`;
  if (mine.local !== theirs.peer || theirs.local !== mine.peer) return `the ends do not tell the same: ${mine.local} and ${mine.peer} here, ${theirs.peer} and ${theirs.local} there`;
  return undefined;
}

const isOf = (identity: string, e: Endpoint): boolean => identity.startsWith("spiffe://") && identity.endsWith(`/ns/${e.namespace}/sa/${e.serviceAccount}`);
const socket = (ip: string, port: number): string => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);
const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");

/** Pairs that have to do with each other at all, by the client's and the server's name. */
export function pairsOf(endpoints: readonly Endpoint[]): (readonly [Endpoint, Endpoint])[] {
  const byIp = new Map(endpoints.map((e) => [e.ip, e]));
  return endpoints.flatMap((a) => {
    const peers = new Set([...a.tunnels.filter((t) => t.direction === "outbound").map((t) => t.peer), ...a.connections.filter((c) => c.direction === "outbound").map((c) => c.actualDst)].map(hostOf));
    return [...peers].flatMap((ip) => { const b = byIp.get(ip); return b === undefined || b === a ? [] : [[a, b] as const]; });
  }).sort(([a, b], [c, d]) => (`${a.name} ${b.name}` < `${c.name} ${d.name}` ? -1 : 1));
}
