// Owns the list of images: what each is made of, who it runs as, and why.

/** A program of the machine, with what it may be called besides. */
export interface Program { readonly path: string; readonly names?: readonly string[] }

export interface Component {
  readonly name: "istiod-lite" | "ztunnel" | "waypoint" | "cni";
  readonly description: string;
  /** Files of the source, by the name their bundle gets in /app. Threads have bundles of their own. */
  readonly bundles: Readonly<Record<string, string>>;
  readonly user: string;
  /** Whether koffi, the one native library, is called. */
  readonly native: boolean;
  /** Programs that it runs. */
  readonly programs: readonly Program[];
  /** Folders with files that a program loads at run time, unseen by its dynamic section. */
  readonly modules: readonly string[];
  /** Carries the CNI plugin as an executable of its own, for nodes without Node. */
  readonly plugin?: string;
}

/** As Istio's proxies do. */
const NOBODY = "1337:1337";
/** Capabilities of others than uid 0 do not survive exec. */
const ROOT = "0:0";
const SEQPACKET = { "seqpacket-worker": "packages/linux/src/seqpacket-worker.ts" };

export const COMPONENTS: readonly Component[] = [
  { name: "istiod-lite", description: "Ambit's control plane", bundles: { main: "packages/istiod-lite/src/main.ts" }, user: NOBODY, native: false, programs: [], modules: [] },
  { name: "waypoint", description: "Ambit's L7 proxy", bundles: { main: "packages/waypoint/src/main.ts" }, user: NOBODY, native: false, programs: [], modules: [] },
  {
    name: "ztunnel", description: "Ambit's L4 proxy of a node", bundles: { main: "packages/ztunnel/src/main.ts", worker: "packages/ztunnel/src/workers/worker.ts", ...SEQPACKET },
    user: ROOT, native: true, programs: [], modules: [],
  },
  {
    name: "cni", description: "Ambit's node agent, and its CNI plugin", bundles: { main: "packages/cni/src/main.ts", ...SEQPACKET },
    user: ROOT, native: true,
    // Rules are written by a script within a pod's network namespace.
    programs: [
      { path: "/bin/sh" }, { path: "/bin/grep" }, { path: "/usr/bin/nsenter" }, { path: "/usr/bin/unshare" }, { path: "/sbin/ip" }, { path: "/usr/sbin/nft" },
      { path: "/usr/sbin/xtables-nft-multi", names: ["iptables-nft-save", "iptables-nft-restore", "ip6tables-nft-save", "ip6tables-nft-restore"] },
    ],
    modules: ["xtables"], plugin: "packages/cni/src/plugin/main.ts",
  },
];
