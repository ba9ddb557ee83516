// Owns pictures of a cluster, of its nodes and of pods' networks, as text to compare: what an uninstall must give back.
import assert from "node:assert/strict";
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import type { TestKube } from "../e2e/kube.fixture.ts";

/** Section → lines. */
export type Picture = ReadonlyMap<string, readonly string[]>;

/** What comes and goes by itself; kubelets and controllers say it anew all the time. */
const VOLATILE_KINDS: ReadonlySet<string> = new Set(["Event", "Lease", "EndpointSlice", "Endpoints", "ComponentStatus", "PodMetrics", "NodeMetrics"]);
const VOLATILE_METADATA = ["resourceVersion", "managedFields", "generation", "creationTimestamp", "uid"];

/** Everything that can be listed, without status. */
export async function pictureOfCluster(kube: TestKube, ignore: (o: KubeObject) => boolean): Promise<Picture> {
  const picture = new Map<string, readonly string[]>();
  for (const path of await groupPaths(kube)) {
    const { resources } = await kube.client.request<{ resources: { name: string; kind: string; verbs: string[] }[] }>("GET", path);
    for (const { name, kind, verbs } of resources) {
      if (name.includes("/") || !verbs.includes("list") || VOLATILE_KINDS.has(kind)) continue;
      const { items } = await kube.client.request<{ items: KubeObject[] }>("GET", `${path}/${name}`);
      picture.set(`${path} ${kind}`, items.filter((o) => !ignore(o)).map(lineOf).sort());
    }
  }
  return picture;
}

async function groupPaths(kube: TestKube): Promise<string[]> {
  const { groups } = await kube.client.request<{ groups: { preferredVersion: { groupVersion: string } }[] }>("GET", "/apis");
  return ["/api/v1", ...groups.map((g) => `/apis/${g.preferredVersion.groupVersion}`)].sort();
}

function lineOf(o: KubeObject): string {
  const { status: _status, ...rest } = o as KubeObject & { status?: unknown };
  const metadata = Object.fromEntries(Object.entries(o.metadata).filter(([k]) => !VOLATILE_METADATA.includes(k)));
  return `${o.metadata.namespace ?? ""}/${o.metadata.name} ${sorted({ ...rest, metadata })}`;
}
const sorted = (v: unknown): string => JSON.stringify(v, (_key, x: unknown) => (typeof x === "object" && x !== null && !Array.isArray(x) ? Object.fromEntries(Object.entries(x).sort(([a], [b]) => (a < b ? -1 : 1))) : x));

const NETWORK = `
echo "## links"; ip -o link show
echo "## addresses"; ip -o addr show
echo "## rules"; ip rule show; ip -6 rule show
echo "## routes"; ip -o route show table all; ip -6 -o route show table all
echo "## nft"; nft -s list ruleset
echo "## iptables-legacy"; if [ -s /proc/net/ip_tables_names ]; then iptables-legacy-save; fi
echo "## settings"; cd /proc/sys/net; for f in $(find ipv4 ipv6 netfilter core -type f | sort); do v=; read -r v < $f 2>/dev/null || :; echo "$f = $v"; done
`;
/** Below /host, the node's own root. */
const FILES = `
echo "## mounts"; while read -r _ _ _ root at _; do echo "$root $at"; done < /proc/1/mountinfo | sort
echo "## CNI files"; find /host/etc/cni/net.d /host/opt/cni/bin -printf '%p %y %m\\n' | sort; find /host/etc/cni/net.d /host/opt/cni/bin -type f | sort | while read -r f; do sha256sum "$f"; done
echo "## run"; find /host/run /host/var/run/ -xdev -printf '%p %y %m\\n' | sort
echo "## library"; find /host/var/lib/cni -printf '%p %y\\n' 2>/dev/null | sort
`;

const STILL_MS = 2_000;
const STILL_LIMIT_MS = 30_000;
/** Settings that move by themselves. */
const MOVING = [/^ipv4\/tcp_(fastopen_key|mem)/, /^ipv4\/neigh|^ipv6\/neigh/, /nf_conntrack_count/, /^core\/(rmem|wmem|netdev_rss_key)/, /^ipv6\/conf\/[^/]+\/(stable_secret|mtu)/, /^ipv4\/(fib_sync_mem|inet_peer)/, /^ipv6\/route\/flush|^ipv4\/route\/flush/];

/** Once it holds still: addresses are tentative for a moment, kube-proxy follows Services. */
export async function still(look: () => Promise<Picture>): Promise<Picture> {
  const end = Date.now() + STILL_LIMIT_MS;
  for (let before = await look(); ; ) {
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
    const now = await look();
    if (Date.now() > end || JSON.stringify([...now]) === JSON.stringify([...before])) return now;
    before = now;
  }
}

export async function pictureOfNode(kube: TestKube, node: string): Promise<Picture> {
  return sections(await kube.run(node, "sh", "-c", `${NETWORK}${FILES}`));
}

export async function pictureOfPod(kube: TestKube, namespace: string, name: string): Promise<Picture> {
  const pod = await kube.client.get<Pod>(KINDS.pods, namespace, name);
  return sections(await kube.inPodNetwork(pod, "sh", "-c", NETWORK));
}

function sections(text: string): Picture {
  const picture = new Map<string, string[]>();
  let lines: string[] = [];
  for (const raw of text.split("\n")) {
    const line = raw.replace(/counter packets \d+ bytes \d+/g, "counter").replace(/(preferred|valid)_lft \S+/g, "").replace(/\bexpires \S+/g, "").trimEnd();
    if (line.startsWith("## ")) picture.set(line.slice(3), lines = []);
    else if (line !== "" && !MOVING.some((m) => m.test(line)) && !OWN_TRACE.test(line)) lines.push(line);
  }
  // Chains of kube-proxy stand in the order in which Services came.
  for (const [name, of] of picture) if (name === "links" || name === "addresses") of.sort();
  const nft = picture.get("nft");
  if (nft !== undefined) picture.set("nft", blocks(nft));
  return picture;
}

/** What containerd keeps of a command that somebody runs in a container: of ours. */
const OWN_TRACE = /\/run\/containerd\/.*(\/io\/\d+|\/[0-9a-f]{64}\.pid)/;

/** A chain or set a line, with the table it is in; sorted, since the order of chains says nothing. */
function blocks(lines: readonly string[]): string[] {
  const found: string[] = [];
  let table = "";
  let block: string[] = [];
  for (const line of lines) {
    if (line.startsWith("table ")) { table = line.replace(" {", ""); continue; }
    if (line === "}") continue;
    block.push(line.trim());
    if (!/^\t\}$/.test(line)) continue;
    // kube-proxy writes the rules of all Services in any order.
    found.push(`${table} ${(block[0]?.startsWith("chain KUBE-") === true ? block.sort() : block).join(" ; ")}`);
    block = [];
  }
  return found.sort();
}

/** Fails with every line that is there and was not, or was and is not. */
export function assertSame(what: string, before: Picture, after: Picture): void {
  const changes: string[] = [];
  for (const section of new Set([...before.keys(), ...after.keys()])) {
    const [was, is] = [new Set(before.get(section) ?? []), new Set(after.get(section) ?? [])];
    for (const line of is) if (!was.has(line)) changes.push(`${section}: + ${line}`);
    for (const line of was) if (!is.has(line)) changes.push(`${section}: - ${line}`);
  }
  assert.deepEqual(changes.map((c) => c.slice(0, 600)), [], `${what} is not as it was before`);
}
