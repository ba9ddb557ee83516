// Owns the shape of a lab: names, addresses and paths, computed from the number of nodes and the state folder.
import { homedir } from "node:os";
import { join } from "node:path";

export const SERVICE_CIDR = "10.96.0.0/16";
export const CLUSTER_DNS = "10.96.0.10";
export const FABRIC_ADDRESS = "172.30.0.1";
export const FABRIC_PREFIX = 24;
export const APISERVER_PORT = 6443;
/** Node N has fabric address 172.30.0.(10+N) and pods 10.244.N.0/24. */
export const NODES_MAX = 200;

export interface NodeLayout {
  readonly name: string;
  readonly index: number;
  readonly ip: string;
  readonly podCidr: string;
  /** State of this node's kubelet; `root` below it is the node's own view of /etc/cni, /run/netns and the like. */
  readonly state: string;
  readonly netns: string;
}
export interface LabLayout {
  readonly state: string;
  readonly pki: string;
  readonly data: string;
  readonly images: string;
  readonly logs: string;
  /** The API server's TLS socket inside the state folder, relayed to a port of the host. */
  readonly apiSocket: string;
  /** What `kubectl --kubeconfig` on the host uses. */
  readonly kubeconfig: string;
  /** What processes on the fabric use. */
  readonly adminKubeconfig: string;
  readonly record: string;
  readonly nodes: readonly NodeLayout[];
}

/** Root: /var/lib/ambit/lab; others: $XDG_STATE_HOME or ~/.local/state. `AMBIT_LAB_DIR` overrides. */
export function defaultStateDir(env: NodeJS.ProcessEnv, uid: number): string {
  const explicit = env["AMBIT_LAB_DIR"];
  if (explicit !== undefined && explicit !== "") return explicit;
  if (uid === 0) return "/var/lib/ambit/lab";
  return join(env["XDG_STATE_HOME"] ?? join(env["HOME"] ?? homedir(), ".local", "state"), "ambit", "lab");
}

export function layoutOf(state: string, nodeCount: number): LabLayout {
  if (!Number.isInteger(nodeCount) || nodeCount < 1 || nodeCount > NODES_MAX) throw new Error(`a lab has 1 to ${NODES_MAX} nodes, not ${nodeCount}`);
  const nodes = Array.from({ length: nodeCount }, (_, i): NodeLayout => {
    const index = i + 1;
    const name = `node-${index}`;
    return {
      name, index, ip: `172.30.0.${10 + index}`, podCidr: `10.244.${index}.0/24`,
      state: join(state, "nodes", name), netns: `/run/netns/${name}`,
    };
  });
  return {
    state, nodes,
    pki: join(state, "pki"), data: join(state, "apiserver"), images: join(state, "images"), logs: join(state, "logs"),
    apiSocket: join(state, "apiserver.sock"), kubeconfig: join(state, "kubeconfig"), adminKubeconfig: join(state, "pki", "admin.kubeconfig"),
    record: join(state, "lab.json"),
  };
}

/** One `ip -batch` script that builds the fabric: a bridge here, and per node a namespace joined to it. */
export function fabricScript(layout: LabLayout): string {
  const lines = [
    "link set lo up",
    "link add fabric0 type bridge forward_delay 0",
    `addr add ${FABRIC_ADDRESS}/${FABRIC_PREFIX} dev fabric0`,
    "link set fabric0 up",
  ];
  for (const node of layout.nodes) {
    const port = `port-${node.index}`;
    lines.push(
      `netns add ${node.name}`,
      `link add ${port} type veth peer name eth0 netns ${node.name}`,
      `link set ${port} master fabric0 up`,
      // The API server answers pods too: it needs the way back to them.
      `route add ${node.podCidr} via ${node.ip} dev fabric0`,
    );
  }
  return `${lines.join("\n")}\n`;
}

export function nodeScript(node: NodeLayout): string {
  return ["link set lo up", `addr add ${node.ip}/${FABRIC_PREFIX} dev eth0`, "link set eth0 up", `route add default via ${FABRIC_ADDRESS}`].join("\n") + "\n";
}
